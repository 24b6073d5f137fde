"""With the embedded diffusion model, class pictures are glyphs; the other network says which."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fvis import models
from fvis.artifacts import read_png
from fvis.compose import compose
from fvis.context import Context
from fvis.runner import prepare
from fvis.schema import parse
from fvis.zoo import NETWORKS
from tests.priors.runs import png, solved

pytest.importorskip("diffusers", reason="pip install 'fvis[diffusion]'")

DRAWN = ("experiment=glyph_diffusion", "prior.compare=false")
CLASSES = torch.arange(0, 12, 2)
OTHER = {"glyph_cnn": "glyph_vit", "glyph_vit": "glyph_cnn"}


def context(model: str, *words: str) -> Context:
    return prepare(parse(compose([f"model={model}", "engine.device=cpu", *words])))


def saved(given: Context, folder: Path) -> Tensor:
    """The pictures (B, 3, H, W) of all units, as read back from their files."""
    pictures = []
    for result in solved(given):
        png(result, folder)
        pictures.append(torch.from_numpy(read_png(folder / "image.png")))
    return torch.stack(pictures)


def recognised(pictures: Tensor, judge: str) -> int:
    """How many pictures, of CLASSES in order, a network takes for what they are."""
    model = models.load(parse(compose([f"model={judge}"])).model)
    with torch.no_grad():
        told = model.module(model.preprocessing.normalise(pictures)).argmax(1)
    return int((told == CLASSES).sum())


def flatness(pictures: Tensor) -> float:
    """The median step between neighbouring pixels: 0 for flat areas with edges between them."""
    return (pictures[..., 1:] - pictures[..., :-1]).abs().median().item()


def test_the_record_names_the_embedded_weights(tmp_path: Path) -> None:
    (result,) = solved(context("glyph_cnn", *DRAWN, "target.units=4", "engine.steps=4"))
    prior = result.record.prior
    assert prior is not None and prior.weights is not None
    assert prior.weights.of == "glyph_diffusion" and len(prior.weights.sha256) == 64


@pytest.mark.slow
def test_of_12_class_pictures_11_are_recognised_and_they_are_clean(tmp_path: Path) -> None:
    right = 0
    for model, judge in OTHER.items():
        assert len(NETWORKS[model].classes) == 12
        drawn = saved(context(model, *DRAWN, f"target.units={CLASSES.tolist()}"), tmp_path)
        right += recognised(drawn, judge)
        free = saved(context(model, "target.units=[0,4,8]", "engine.steps=100"), tmp_path)
        assert flatness(drawn) < 0.7 * flatness(free)
    assert right >= 11
