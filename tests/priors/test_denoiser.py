"""A denoiser's residuals pull pictures, measured against those of photographs."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fvis.compose import compose
from fvis.errors import RequestError
from fvis.methods import METHODS
from fvis.optimization import run_stage
from fvis.priors.denoiser import DenoiserPrior
from fvis.randomness import random_generator
from fvis.regularizers import total_variation
from fvis.runner import prepare
from fvis.schema import DenoiserConfig, parse

CODE = """
from torch.nn import functional

def blur():
    return lambda x, sigma: functional.avg_pool2d(
        functional.pad(x, (2, 2, 2, 2), mode="replicate"), 5, 1)

def same():
    return lambda x, sigma: x
"""


def blur(x: Tensor, sigma: float) -> Tensor:
    """A denoiser that trusts a picture the less, the more noise it is told of."""
    smooth = functional.avg_pool2d(functional.pad(x, (2,) * 4, mode="replicate"), 5, 1)
    return torch.lerp(x, smooth, min(1.0, 5 * sigma))


def pictures(rows: int = 3) -> Tensor:
    coarse = torch.rand(rows, 3, 6, 6, generator=random_generator("photographs"))
    return functional.interpolate(coarse, (48, 48), mode="bicubic").clamp(0, 1)


def test_photographs_are_pulled_with_the_weight_and_noise_harder() -> None:
    photographs = pictures()
    prior = DenoiserPrior(DenoiserConfig(factory="blur", weight=0.7), blur, photographs)
    for progress in (0.0, 1 / 3, 1.0):
        lengths = prior.gradient(photographs, progress).flatten(1).norm(dim=1)
        assert lengths.square().mean().sqrt().item() == pytest.approx(0.7, rel=1e-4)
    noisy = photographs + 0.1 * torch.randn(photographs.shape, generator=random_generator(0))
    harder = prior.gradient(noisy, 0.5).flatten(1).norm(dim=1)
    assert bool((harder > 2 * prior.gradient(photographs, 0.5).flatten(1).norm(dim=1)).all())
    # Against the gradient lies the denoised picture.
    way = prior.gradient(noisy, 0.5)
    residual = noisy - blur(noisy, 0.08)
    assert functional.cosine_similarity(way.flatten(1), residual.flatten(1)).min() > 0.999


def test_sigma_falls_from_the_first_to_the_last_step() -> None:
    told: list[float] = []

    def note(x: Tensor, sigma: float) -> Tensor:
        told.append(sigma)
        return blur(x, sigma)

    prior = DenoiserPrior(DenoiserConfig(factory="note", sigma=[0.2, 0.05]), note, pictures())
    assert told[0] == pytest.approx(0.2) and told[-1] == pytest.approx(0.05)
    told.clear()
    (pull,) = prior.pulls(5)
    for step in range(5):
        pull.gradient(pictures(1), step)
    assert told == pytest.approx([0.2 * (0.05 / 0.2) ** (step / 4) for step in range(5)])


def test_rows_and_frames_are_pulled_each_for_itself() -> None:
    prior = DenoiserPrior(DenoiserConfig(factory="blur"), blur, pictures())
    noisy = torch.rand(4, 3, 16, 16, generator=random_generator(1))
    together = prior.gradient(noisy, 0.5)
    assert torch.allclose(together[2:3], prior.gradient(noisy[2:3], 0.5), atol=1e-7)
    clip = noisy.movedim(0, 1)[None]  # the same pictures as the frames of one clip
    frames = prior.gradient(clip, 0.5)[0].movedim(1, 0)
    assert torch.allclose(frames * math.sqrt(4), together, atol=1e-6)


def test_pictures_get_smoother_and_still_excite_their_unit(tmp_path: Path) -> None:
    (tmp_path / "denoisers.py").write_text(CODE)
    words = ("target.units=4", "engine.steps=24", "engine.device=cpu", "parametrization=pixel")
    prior = ("prior=denoiser", f"prior.factory={tmp_path}/denoisers.py:blur", "prior.compare=false")
    found = []
    for more in ((), prior, (*prior, "prior.weight=2")):
        method = METHODS["activation_maximization"](prepare(parse(compose([*words, *more]))))
        (group,) = method.groups
        ends: list[Tensor] = []

        def run(stage: str, ascent: object, ends: list[Tensor] = ends) -> None:
            run_stage(stage, ascent)  # type: ignore[arg-type]
            ends.append(torch.sigmoid(ascent.state_dict()["parameters"][0]))  # type: ignore[attr-defined]

        (result,) = method.solve(group, run)
        activation = result.record.activation
        assert activation.final is not None and activation.initial is not None
        assert activation.final > activation.initial
        found.append(total_variation(ends[0]).item())
    assert found[2] < found[1] < found[0]


def test_a_denoiser_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "denoisers.py").write_text(CODE)
    words = ["prior=denoiser", f"prior.factory={tmp_path}/denoisers.py:same"]
    with pytest.raises(RequestError, match=r"changes photographs by 0 for sigma=0\.16"):
        prepare(parse(compose(words)))
    with pytest.raises(RequestError, match=r"prior\.sigma is \[0.1\]"):
        parse(compose([*words, "prior.sigma=[0.1]"]))
    with pytest.raises(RequestError, match=r"prior=denoiser needs prior\.factory"):
        parse(compose(["prior=denoiser"]))


def test_a_denoiser_of_the_wrong_signature_is_refused_in_a_line() -> None:
    with pytest.raises(RequestError, match="fails for photographs") as caught:
        DenoiserPrior(DenoiserConfig(factory="d.py:f"), lambda x: x, pictures())  # type: ignore
    assert "\n" not in str(caught.value)
