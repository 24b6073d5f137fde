"""Guided sampling: diffusers' models draw, the score leads, each row for itself."""

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from fvis.compose import compose
from fvis.context import Context
from fvis.errors import RequestError
from fvis.priors.diffusion import DiffusionPrior
from fvis.priors.pipelines import DiffusionModel
from fvis.randomness import random_generator
from fvis.runner import prepare
from fvis.schema import DiffusionConfig, EngineConfig, TransformsConfig, parse
from fvis.transforms import Transforms
from tests.priors.runs import png, resumed_after, solved

CPU = torch.device("cpu")
SHAPE = (3, 8, 8)
MEAN, SPREAD = 0.2, 0.3  # of the known model's pictures, per number: normal and independent


def known(kind: str = "epsilon", mean: float = MEAN) -> DiffusionModel:
    """The perfect model of independent normal numbers, for which everything is known."""
    alphas = torch.cos(torch.linspace(0.02, 1.55, 200, dtype=torch.float64)).square()

    def denoiser(noisy: Tensor, time: int) -> Tensor:
        a = alphas[time].item()
        signal, noise = math.sqrt(a), math.sqrt(1 - a)
        gain = signal * SPREAD**2 / (a * SPREAD**2 + 1 - a)
        clean = mean + gain * (noisy - signal * mean)
        told = (noisy - signal * clean) / noise
        return {"epsilon": told, "sample": clean, "v_prediction": signal * told - noise * clean}[
            kind
        ]

    return DiffusionModel(denoiser, kind, alphas, SHAPE, lambda latents: latents / 2 + 0.5)


def sampled(
    model: DiffusionModel, keys: list[int], strength: float = 0.0, steps: int = 100
) -> Tensor:
    """The latents of rows that are led towards brightness on their left."""
    prior = DiffusionPrior(DiffusionConfig(strength=strength), model)
    picture = prior.start([random_generator(key) for key in keys], SHAPE, CPU)
    engine = EngineConfig(steps=steps)
    views = Transforms(TransformsConfig(), [random_generator(0)] * len(keys), steps, SHAPE, CPU)

    def score(rgb: Tensor) -> Tensor:
        return rgb[..., :4].mean((1, 2, 3))

    prior.ascent(picture, score, views, [], engine).run()
    return picture.parameters[0].detach()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_unguided_it_draws_from_the_models_own_pictures(kind: str) -> None:
    latents = sampled(known(kind), list(range(24)))
    assert latents.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert latents.std().item() == pytest.approx(SPREAD, abs=0.03)


def test_the_three_kinds_of_prediction_are_one_model() -> None:
    drawn = [sampled(known(kind), [1, 2], 0.2) for kind in ("epsilon", "v_prediction", "sample")]
    for other in drawn[1:]:
        assert torch.allclose(drawn[0], other, atol=1e-3)


def test_the_score_leads_what_it_sees_and_more_with_more_strength() -> None:
    means = []
    for strength in (0.0, 0.1, 0.4):
        latents = sampled(known(), list(range(8)), strength)
        left, right = latents[..., :4].mean().item(), latents[..., 4:].mean().item()
        assert right == pytest.approx(MEAN, abs=0.06)  # what the score does not see stays
        means.append(left)
    assert means[0] + 0.05 < means[1] < means[2] - 0.05


def test_no_row_depends_on_the_others() -> None:
    together = sampled(known(), [5, 6, 7], 0.2)
    assert torch.allclose(together[2:], sampled(known(), [7], 0.2), atol=1e-5)
    assert not torch.allclose(together[1], together[2], atol=0.1)


def test_a_gradient_that_is_not_finite_leads_nowhere() -> None:
    prior = DiffusionPrior(DiffusionConfig(), known())
    picture = prior.start([random_generator(0), random_generator(1)], SHAPE, CPU)
    views = Transforms(TransformsConfig(), [random_generator(0)] * 2, 10, SHAPE, CPU)

    def score(rgb: Tensor) -> Tensor:
        return rgb.mean((1, 2, 3)) * torch.tensor([math.nan, 1.0])

    prior.ascent(picture, score, views, [], EngineConfig(steps=10)).run()
    assert bool(picture.parameters[0].isfinite().all())


# --- pipelines as diffusers saves them, with random weights


def tiny_unet(**settings: Any) -> Any:
    diffusers = pytest.importorskip("diffusers", reason="pip install 'fvis[diffusion]'")
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        **{
            "sample_size": 8, "in_channels": 3, "out_channels": 3, "layers_per_block": 1,
            "block_out_channels": (4, 8), "norm_num_groups": 4, "attention_head_dim": 4,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), **settings,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pixel-space pipeline, as of DDPM."""
    unet = tiny_unet()
    from diffusers import DDPMPipeline, DDPMScheduler

    folder = tmp_path_factory.mktemp("pixels")
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-conditional pipeline of latents, as of DiT."""
    pytest.importorskip("diffusers", reason="pip install 'fvis[diffusion]'")
    from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        sample_size=4, num_layers=1, patch_size=2, attention_head_dim=4, num_attention_heads=2,
        in_channels=4, out_channels=8, attention_bias=True, num_embeds_ada_norm=10,
        norm_elementwise_affine=False,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(4, 4), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
        sample_size=8,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("latents")
    DiTPipeline(transformer, vae, DDIMScheduler()).save_pretrained(folder)
    return folder


def context(model: Path, *words: str) -> Context:
    settings = ("prior=diffusion", "engine.steps=5", "engine.device=cpu", "prior.compare=false")
    return prepare(parse(compose([*settings, f"prior.model={model}", *words])))


def test_a_saved_pipeline_draws_for_a_network_of_another_size(pixels: Path, tmp_path: Path) -> None:
    one, two = solved(context(pixels, "target.units=[4,9]"))
    assert one.record.prior is not None and one.record.prior.weights is not None
    assert one.record.prior.name == "diffusion" and len(one.record.prior.weights.sha256) == 64
    assert one.record.activation.final is not None and math.isfinite(one.record.activation.final)
    assert png(one, tmp_path) != png(two, tmp_path)
    (resumed, _) = resumed_after(
        3, lambda: context(pixels, "target.units=[4,9]"), tmp_path / "state.pt"
    )
    assert png(resumed, tmp_path) == png(one, tmp_path)


def test_latents_are_decoded_with_a_class_and_without(latents: Path, tmp_path: Path) -> None:
    (plain,) = solved(context(latents, "target.units=4"))
    (labelled,) = solved(context(latents, "target.units=4", "prior.label=3", "prior.guidance=3"))
    assert png(plain, tmp_path) != png(labelled, tmp_path)
    with pytest.raises(RequestError, match=r"prior\.label: .* one of its 10 classes"):
        context(latents, "prior.label=11")
    with pytest.raises(RequestError, match="takes no text"):
        context(latents, "prior.prompt=zebra")


def test_free_guidance_goes_on_beyond_what_is_wanted(latents: Path) -> None:
    from fvis.priors.pipelines import load

    def told(**settings: Any) -> Tensor:
        model = load(DiffusionConfig(model=str(latents), **settings), CPU)
        noisy = torch.ones(1, *model.shape)
        return model.denoiser(noisy, 500)

    wanted, none = told(label=3), told()
    assert torch.allclose(told(label=3, guidance=2.5), none + 2.5 * (wanted - none), atol=1e-5)


def test_a_model_of_text_is_told_what_is_wanted_and_what_is_not() -> None:
    pytest.importorskip("diffusers", reason="pip install 'fvis[diffusion]'")
    from diffusers import DDIMScheduler, UNet2DConditionModel

    from fvis.priors.pipelines import of_pipeline

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=8,
        attention_head_dim=2, in_channels=4, out_channels=4,
    )  # fmt: skip

    class Pipeline:
        """What the sampler asks of a pipeline with a text encoder."""

        text_encoder = torch.nn.Linear(1, 1)
        components: ClassVar[dict[str, Any]] = {"unet": unet, "scheduler": DDIMScheduler()}

        def encode_prompt(self, prompt: str, device: Any, *rest: Any) -> tuple[Tensor, Tensor]:
            words = (prompt, rest[-1])
            return tuple(torch.full((1, 3, 8), float(len(word))) for word in words)  # type: ignore

    def predicted(**settings: Any) -> Tensor:
        model = of_pipeline(Pipeline(), DiffusionConfig(model="m", **settings), CPU, [])
        assert model.shape == (4, 8, 8)
        return model.denoiser(torch.ones(2, *model.shape), 500)

    wanted, unwanted = predicted(prompt="zebra"), predicted(prompt="dog")
    assert not torch.allclose(wanted, unwanted, atol=1e-4)
    guided = predicted(prompt="zebra", negative="dog", guidance=3)
    assert torch.allclose(guided, unwanted + 3 * (wanted - unwanted), atol=1e-4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prior=diffusion"], "needs prior.model=FOLDER"),
        (["prior=diffusion", "prior.model=m", "engine.canvas=32"], "makes whole pictures"),
        (["prior=diffusion", "method=texture_motion"], "activation_maximization alone"),
        (["prior=diffusion", "prior.strength=-1"], "prior.strength is -1"),
    ],
)
def test_a_wrong_request_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(compose(words))
    assert says in str(caught.value)


def test_a_model_that_is_not_there_and_a_network_of_clips_are_refused() -> None:
    with pytest.raises(RequestError, match=r"prior\.model=nowhere: no such folder"):
        prepare(parse(compose(["prior=diffusion", "prior.model=nowhere"])))
    with pytest.raises(RequestError, match="draws images"):
        prepare(parse(compose(["prior=diffusion", "prior.model=m", "model=planted_motion"])))


def test_a_model_that_predicts_no_noise_is_refused(tmp_path: Path) -> None:
    unet = tiny_unet()
    from diffusers import DDPMPipeline, ScoreSdeVeScheduler

    DDPMPipeline(unet=unet, scheduler=ScoreSdeVeScheduler()).save_pretrained(tmp_path)
    with pytest.raises(RequestError, match="no model that predicts noise"):
        context(tmp_path)
