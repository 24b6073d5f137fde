"""Latents of sparse autoencoders as the units of a layer: `target.dictionary`.

Bricken et al., "Towards Monosemanticity", 2023; TopK: Gao et al. 2024 (arXiv 2406.04093); JumpReLU:
Rajamanoharan et al. 2024 (arXiv 2407.14435); gated: Rajamanoharan et al. 2024 (arXiv 2404.16014).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fvis.errors import RequestError
from fvis.models.checkpoints import is_plain, read_content, sha256_of_file
from fvis.models.layers import Layer

NORMALISATIONS = ("none", "expected_average_only_in", "constant_norm_rescale", "layer_norm")
KINDS = ("standard", "topk", "jumprelu", "gated")
EPSILON = 1e-5  # added to the standard deviation by `layer_norm`, as SAELens does
CONFIGS = ("cfg.json", "config.json")  # of SAELens, of ViT-Prisma
WEIGHTS = "sae_weights.safetensors"  # of a SAELens folder
LARGEST_CONFIG = 1 << 20  # bytes


@dataclass(frozen=True)
class Dictionary:
    """K latents over the C channels of a layer: max(0, a) where a = (n(x) - centre) W + bias.

    `read` says what a latent's value is: `pre`, a itself; `post`, its activation, which is zero
    unless a exceeds the latent's `threshold` and, with `most`, is among that many highest ones of
    its position; or `decoder`, the projection of x onto the latent's decoder vector of length 1.

    Attributes:
        file: the name of the file.
        sha256: its hash.
        read: pre, post or decoder.
        normalisation: n, one of `NORMALISATIONS`.
        encoder: W, transposed, (K, C).
        bias: (K,).
        centre: (C,), subtracted from the normalised values.
        threshold: (K,).
        most: how many latents may be active at a position; None: all.
    """

    file: str
    sha256: str
    read: str
    normalisation: str = "none"
    encoder: Tensor = field(default_factory=Tensor, repr=False)
    bias: Tensor = field(default_factory=Tensor, repr=False)
    centre: Tensor = field(default_factory=Tensor, repr=False)
    threshold: Tensor = field(default_factory=Tensor, repr=False)
    most: int | None = None

    @property
    def content(self) -> str:
        """The hexadecimal SHA-256 of its tensors, which depend on more than the weights' file."""
        tensors = (self.encoder, self.bias, self.centre, self.threshold)
        return hashlib.sha256(b"".join(t.cpu().numpy().tobytes() for t in tensors)).hexdigest()

    @property
    def count(self) -> int:
        """The number K of latents."""
        return len(self.encoder)

    def to(self, device: torch.device) -> "Dictionary":
        """The dictionary with its tensors on a device, that of the values it is to read."""
        names = ("encoder", "bias", "centre", "threshold")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def latents(self, values: Tensor) -> Tensor:
        """The values (B, K, ...) of all latents for a layer's values (B, C, ...)."""
        every = torch.arange(self.count, device=values.device)
        pre = torch.einsum("bc...,kc->bk...", self._centred(values), self.encoder)
        pre = pre + _beside(self.bias[None], pre)
        return pre if self.read != "post" else self._active(pre, every[None])

    def latent(self, values: Tensor, rows: Tensor) -> Tensor:
        """The value (B, ...) of latent `rows[b]` (B,) in row b of a layer's values (B, C, ...)."""
        if self.read == "post" and self.most is not None:  # which ones are active, all decide
            places = rows.view(-1, *[1] * (values.dim() - 1)).expand(-1, 1, *values.shape[2:])
            return self.latents(values).gather(1, places)[:, 0]
        pre = torch.einsum("bc...,bc->b...", self._centred(values), self.encoder[rows])[:, None]
        pre = pre + _beside(self.bias[rows][:, None], pre)
        return (pre if self.read != "post" else self._active(pre, rows[:, None]))[:, 0]

    def _centred(self, values: Tensor) -> Tensor:
        """The normalised values (B, C, ...) less `centre`."""
        if self.normalisation == "constant_norm_rescale":
            values = values * (values.shape[1] ** 0.5 / values.norm(dim=1, keepdim=True))
        elif self.normalisation == "layer_norm":
            away = values - values.mean(1, keepdim=True)
            values = away / (away.std(1, keepdim=True) + EPSILON)
        return values - _beside(self.centre[None], values)

    def _active(self, pre: Tensor, index: Tensor) -> Tensor:
        """The activations of latents `index` (B, k), whose values a are `pre` (B, k, ...).

        Where only `most` of them may be active, they are all latents.
        """
        is_on = pre > _beside(self.threshold[index], pre)
        if self.most is not None:
            is_on &= pre >= pre.topk(self.most, dim=1).values[:, -1:]
        return torch.where(is_on, pre.clamp_min(0), 0)


def read_dictionary(path: Path, read: str, layer: Layer) -> Dictionary:
    """The dictionary in a file or a SAELens folder, for the channels of `layer`.

    It may be: a folder of SAELens (`cfg.json`, `sae_weights.safetensors`); a .safetensors or .pt
    file with W_enc (C, K) and W_dec (K, C), read as `cfg.json` or `config.json` beside it says (as
    ViT-Prisma writes them); or the decoder's vectors alone (K, C), as .npy, .pt or .safetensors,
    which `read=decoder` takes. No code is run. Raises `RequestError` for what does not fit.
    """
    path = weights_of(path)
    if not path.is_file():
        raise RequestError(f"no file {str(path)!r} for target.dictionary")
    tensors, settings = _tensors(path), _settings(path)
    kind = str(settings.get("architecture", "standard"))
    if kind not in KINDS:
        raise RequestError(f"{path}: no autoencoder of kind {kind!r} is known, only {_list(KINDS)}")
    found = Dictionary(path.name, sha256_of_file(path), read)
    if read == "decoder":
        return _decoder(found, _part(tensors, "W_dec", path, layer, 1), path)
    return _encoder(found, tensors, settings, kind, path, layer)


def weights_of(path: Path) -> Path:
    """The file that holds a dictionary: in a SAELens folder, or the path itself."""
    return path / WEIGHTS if path.is_dir() else path


def files_of(path: Path) -> list[Path]:
    """All files that a dictionary is read from: that of `weights_of`, and the configs beside it."""
    weights = weights_of(path)
    configs = (weights.with_name(name) for name in CONFIGS)
    return [weights, *(config for config in configs if config.is_file())]


def _decoder(found: Dictionary, vectors: Tensor, path: Path) -> Dictionary:
    lengths = vectors.norm(dim=1, keepdim=True)
    if not bool((lengths > 0).all()):
        raise RequestError(f"{path}: W_dec has a vector that is zero")
    zeros = vectors.new_zeros(len(vectors))
    return replace(
        found, encoder=vectors / lengths, bias=zeros, threshold=zeros, centre=zeros.new_zeros(1)
    )


def _encoder(
    found: Dictionary,
    tensors: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    kind: str,
    path: Path,
    layer: Layer,
) -> Dictionary:
    encoder = _part(tensors, "W_enc", path, layer, 0).T
    count = len(encoder)

    def vector(name: str, default: float | None = 0.0) -> Tensor:
        if name not in tensors and default is not None:
            return torch.full((count,), default)
        given = tensors.get(name, torch.empty(0)).flatten()
        if len(given) != count:
            raise RequestError(f"{path}: {name} has {len(given)} numbers for {count} latents")
        return given

    bias, threshold, most = vector("b_enc"), torch.zeros(count), None
    if kind == "gated":  # open where x W + b_gate > 0; its value is x W exp(r_mag) + b_mag
        scale, bias = vector("r_mag", None).exp(), vector("b_mag", None)
        encoder = encoder * scale[:, None]
        threshold = bias - vector("b_gate", None) * scale
    elif kind == "jumprelu":
        threshold = vector("threshold", None)
    function = str(settings.get("activation_fn_str", settings.get("activation_fn", "relu")))
    if kind == "topk" or function == "topk":
        most = _most(settings, count, path)
    elif function != "relu" and found.read == "post":
        raise RequestError(f"{path}: activation function {function!r} is not known: read=pre")
    if settings.get("rescale_acts_by_decoder_norm"):
        lengths = _part(tensors, "W_dec", path, layer, 1).norm(dim=1)
        encoder, bias = encoder * lengths[:, None], bias * lengths
    normalisation = str(settings.get("normalize_activations", "none"))
    if normalisation not in NORMALISATIONS:
        known = _list(NORMALISATIONS)
        raise RequestError(f"{path}: normalize_activations={normalisation} is not one of: {known}")
    return replace(
        found, encoder=encoder.contiguous(), bias=bias, threshold=threshold, most=most,
        normalisation=normalisation, centre=_centre(tensors, settings, encoder.shape[1], path),
    )  # fmt: skip


def _centre(
    tensors: Mapping[str, Tensor], settings: Mapping[str, Any], channels: int, path: Path
) -> Tensor:
    """What is subtracted: the decoder's bias, unless the settings or their absence say not."""
    subtracted = settings.get("apply_b_dec_to_input", bool(settings))
    if not subtracted or "b_dec" not in tensors:
        return torch.zeros(channels)
    centre = tensors["b_dec"].flatten()
    if len(centre) != channels:
        raise RequestError(f"{path}: b_dec has {len(centre)} numbers for {channels} channels")
    return centre


def _most(settings: Mapping[str, Any], count: int, path: Path) -> int:
    more = settings.get("activation_fn_kwargs")
    given = settings.get("k", more.get("k") if isinstance(more, dict) else None)
    if type(given) is not int or not 0 < given <= count:  # true is an int, too
        raise RequestError(f"{path}: topk needs k, from 1 to {count}; its config has {given!r}")
    return given


def _part(
    tensors: Mapping[str, Tensor], name: str, path: Path, layer: Layer, channels_at: int
) -> Tensor:
    """A matrix of the file whose axis `channels_at` has one entry for each channel of the layer."""
    if name not in tensors:
        hint = ": it takes target.read=decoder" if "W_dec" in tensors else ""
        raise RequestError(f"{path} holds no {name}, but {_list(sorted(tensors))}{hint}")
    matrix = tensors[name]
    if matrix.dim() != 2 or not matrix.numel():
        raise RequestError(f"{path}: {name} has shape {tuple(matrix.shape)}, not two axes")
    if matrix.shape[channels_at] != layer.units:
        raise RequestError(
            f"{path}: {name} is for {matrix.shape[channels_at]} channels; "
            f"{layer.path} has {layer.units}"
        )
    return matrix


def _tensors(path: Path) -> dict[str, Tensor]:
    """The file's tensors by name, in float32; a lone one is the decoder."""
    content = read_content(path)
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    named = content if isinstance(content, dict) else {"W_dec": content}
    if len(named) == 1 and "W_enc" not in named:
        named = {"W_dec": next(iter(named.values()))}
    found = {}
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor) or not is_plain(tensor):
            raise RequestError(f"{path}: {name} holds no plain real numbers")
        found[str(name)] = tensor.float()
        if not bool(found[str(name)].isfinite().all()):
            raise RequestError(f"{path}: {name} holds numbers that are not finite")
    return found


def _settings(path: Path) -> dict[str, Any]:
    """The autoencoder's settings in a config beside its file; empty if there is none."""
    for name in CONFIGS:
        place = path.with_name(name)
        if not place.is_file():
            continue
        try:
            if place.stat().st_size > LARGEST_CONFIG:
                raise ValueError("it is too large")
            content = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RequestError(f"{place} is no readable config: {error}") from None
        if isinstance(content, dict) and "d_sae" in content:
            return content
    return {}


def _beside(vector: Tensor, values: Tensor) -> Tensor:
    """A vector (B or 1, n) with the positions' axes of `values` (B, n, ...)."""
    return vector.view(*vector.shape, *[1] * (values.dim() - 2))


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(str, names)) or "nothing"
