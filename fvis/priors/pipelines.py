"""Diffusion models of `diffusers`, of pixels or of latents, in one form: noise and picture.

The samplers of diffusers' pipelines are left alone; `fvis.priors.diffusion` has its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fvis.errors import RequestError, described
from fvis.models import hub
from fvis.models.checkpoints import check_finite, sha256_of_state
from fvis.paths import expand, with_suffix
from fvis.priors.base import bytes_of, frozen
from fvis.record.unit import WeightsRecord
from fvis.schema import DiffusionConfig
from fvis.zoo import GLYPH_DIFFUSION

MODELS = ("unet", "transformer")  # the part that predicts the noise
CODECS = ("vae", "vqvae")  # the part that turns latents into pictures
KINDS = ("epsilon", "v_prediction", "sample")
SUFFIXES = frozenset({".json"})  # of the settings; weights are hashed as they are loaded


@dataclass(frozen=True)
class DiffusionModel:
    """A diffusion model x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, of pictures or of their latents.

    Attributes:
        denoiser: predicts what `kind` says, of noisy latents (B, C, H, W) and a time.
        kind: epsilon (the noise), v_prediction (Salimans & Ho 2022) or sample (x_0).
        alphas: a_t of each time (T,), falling.
        shape: of one latent, (C, H, W); of one picture in a pixel-space model.
        decode: makes latents (B, C, H, W) RGB pictures (B, 3, h, w), about in [0, 1].
        clips: by how much x_0 is limited, either way; None: not at all.
        weights, bytes, files: as of `Prior`.
    """

    denoiser: Callable[[Tensor, int], Tensor]
    kind: str
    alphas: Tensor
    shape: tuple[int, ...]
    decode: Callable[[Tensor], Tensor]
    clips: float | None = None
    weights: WeightsRecord | None = None
    bytes: int = 0
    files: list[Path] = field(default_factory=list)

    def estimate(self, noisy: Tensor, time: int) -> tuple[Tensor, Tensor]:
        """The estimates of x_0 and of the noise in latents (B, C, H, W) at a time."""
        alpha = self.alphas[time]
        signal, noise = alpha.sqrt().item(), (1 - alpha).sqrt().item()
        predicted = self.denoiser(noisy, time)
        if self.kind == "v_prediction":
            clean = signal * noisy - noise * predicted
        elif self.kind == "epsilon":
            clean = (noisy - noise * predicted) / signal
        else:
            clean = predicted
        if self.clips is not None:
            clean = clean.clamp(-self.clips, self.clips)
        return clean, (noisy - signal * clean) / noise


def load(config: DiffusionConfig, device: torch.device) -> DiffusionModel:
    """The model that `prior.model` names, on `device` in float32.

    Raises `RequestError` where diffusers is not installed, where there is no such model, and for
    one of another kind than the sampler is for.
    """
    assert config.model, "schema.parse() refuses a diffusion prior without it"
    place = _place(config.model)
    try:
        from diffusers import DiffusionPipeline
    except ImportError:
        raise RequestError(
            "prior=diffusion needs the package diffusers: pip install 'fvis[diffusion]'"
        ) from None
    # What is in the cache may do where the hub does not answer.
    offline = isinstance(place, Path) or not hub.hugging_face_answers()
    try:
        pipeline: Any = DiffusionPipeline.from_pretrained(
            str(place),
            use_safetensors=True,
            low_cpu_mem_usage=False,
            local_files_only=offline,
        )
    except Exception as error:  # diffusers' and the hub's errors are of every kind
        if offline and not isinstance(place, Path):
            raise RequestError(
                f"prior.model={config.model}: the hub gives no answer, and its cache has no such "
                "pipeline: give the folder of one that is on disk"
            ) from error
        raise RequestError(f"prior.model={config.model}: {described(error)}") from error
    files = with_suffix(place.rglob("*"), SUFFIXES) if isinstance(place, Path) else []
    return of_pipeline(pipeline, config, device, files)


def of_pipeline(
    pipeline: Any, config: DiffusionConfig, device: torch.device, files: list[Path]
) -> DiffusionModel:
    """A pipeline of diffusers as a `DiffusionModel`; `files` are those that it was read from."""
    assert config.model
    parts: Mapping[str, Any] = pipeline.components
    name = next((name for name in MODELS if parts.get(name) is not None), None)
    schedule = parts["scheduler"]
    kind = schedule.config.get("prediction_type", "epsilon")
    if name is None or not hasattr(schedule, "alphas_cumprod") or kind not in KINDS:
        raise RequestError(
            f"prior.model={config.model}: {type(pipeline).__name__} with "
            f"{type(schedule).__name__} is no model that predicts noise, as DDPM does"
        )
    network: Any = frozen(parts[name].float(), device)
    check_finite(network, config.model)
    codec = next(
        (frozen(parts[c].float(), device) for c in CODECS if parts.get(c) is not None), None
    )
    side = network.config.sample_size
    size = (side, side) if isinstance(side, int) else tuple(side)
    used = nn.ModuleList([m for m in (network, codec, parts.get("text_encoder")) if m is not None])
    return DiffusionModel(
        denoiser=_denoiser(pipeline, network, config, device),
        kind=kind,
        alphas=schedule.alphas_cumprod.to(torch.float64),
        shape=(network.config.in_channels, *size),
        decode=_decoder(codec),
        clips=schedule.config.clip_sample_range if schedule.config.get("clip_sample") else None,
        weights=WeightsRecord(sha256_of_state(used), Path(config.model).name),
        bytes=bytes_of(used),
        files=files,
    )


def _place(model: str) -> Path | str:
    """The folder of a model, which may be the embedded one; the name of one on the hub as it is."""
    path = GLYPH_DIFFUSION if model == GLYPH_DIFFUSION.name else expand(model)
    if path.is_dir():
        return path
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise RequestError(
            f"prior.model={model}: no such folder, no owner/name of the hub, "
            f"and not {GLYPH_DIFFUSION.name}, which comes with the package"
        )
    return model


def _decoder(codec: Any) -> Callable[[Tensor], Tensor]:
    if codec is None:
        return lambda latents: latents / 2 + 0.5
    scale = codec.config.scaling_factor
    shift = codec.config.get("shift_factor") or 0.0

    def decode(latents: Tensor) -> Tensor:
        rgb: Tensor = codec.decode(latents / scale + shift).sample
        return rgb / 2 + 0.5

    return decode


def _denoiser(
    pipeline: Any, network: Any, config: DiffusionConfig, device: torch.device
) -> Callable[[Tensor, int], Tensor]:
    """The network as it predicts under the config's prompt or label, with free guidance.

    Classifier-free guidance (Ho & Salimans 2022) goes from what is predicted without, or under
    `config.negative`, through what is predicted with them, as far as `config.guidance` says.
    """
    wanted, unwanted = _conditions(pipeline, network, config, device)

    def predict(noisy: Tensor, time: int, condition: Mapping[str, Tensor]) -> Tensor:
        rows = {name: c.expand(len(noisy), *c.shape[1:]) for name, c in condition.items()}
        times = torch.full((len(noisy),), time, device=noisy.device)
        predicted: Tensor = network(noisy, timestep=times, **rows).sample
        return predicted[:, : noisy.shape[1]].float()  # further channels tell the variance

    def denoise(noisy: Tensor, time: int) -> Tensor:
        predicted = predict(noisy, time, wanted)
        if config.guidance == 1:
            return predicted
        without = predict(noisy, time, unwanted)
        return without + config.guidance * (predicted - without)

    return denoise


def _conditions(
    pipeline: Any, network: Any, config: DiffusionConfig, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the network is told besides the noisy picture: what is wanted, and what is not."""
    if getattr(pipeline, "text_encoder", None) is not None:
        pipeline.text_encoder.to(device)
        encode = pipeline.encode_prompt
        wanted, unwanted = encode(config.prompt, device, 1, True, config.negative)[:2]
        return {"encoder_hidden_states": wanted}, {"encoder_hidden_states": unwanted}
    if config.prompt or config.negative:
        raise RequestError(f"prior.prompt: {config.model} takes no text")
    classes = network.config.get("num_embeds_ada_norm") or network.config.get("num_class_embeds")
    if classes is None:
        if config.label is not None or config.guidance != 1:
            raise RequestError(f"prior.label and guidance: {config.model} knows no classes")
        return {}, {}
    null = classes if "num_embeds_ada_norm" in network.config else None  # DiT has one class more
    label = null if config.label is None else config.label
    if label is None or not 0 <= label <= (classes - 1 if null is None else null):
        raise RequestError(f"prior.label: {config.model} needs one of its {classes} classes")
    if null is None and config.guidance != 1:
        raise RequestError(f"prior.guidance: {config.model} predicts nothing without a class")
    labels = (torch.tensor([one], device=device) for one in (label, null or 0))
    wanted, unwanted = ({"class_labels": one} for one in labels)
    return wanted, unwanted
