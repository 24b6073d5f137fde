"""What the shipped networks promise: that they load, know the glyphs and fit into the package."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from fvis.zoo import NETWORKS, glyphs

if TYPE_CHECKING:
    from torch import Tensor

GLYPH_NETWORKS = ("glyph_cnn", "glyph_vit")


def _shipped(name: str) -> nn.Module:
    network = NETWORKS[name].build()
    network.load_state_dict(load_file(NETWORKS[name].weights), strict=True)
    return network.eval()


def _accuracy(name: str, pictures: Tensor, labels: Tensor) -> float:
    mean = torch.tensor(NETWORKS[name].mean).view(3, 1, 1)
    std = torch.tensor(NETWORKS[name].std).view(3, 1, 1)
    with torch.no_grad():
        scores = _shipped(name)((pictures - mean) / std)
    return float((scores.argmax(1) == labels).float().mean())


@pytest.fixture(scope="module")
def drawn() -> tuple[Tensor, Tensor]:
    """400 pictures of a seed that neither training nor validation used, and their labels."""
    generator = torch.Generator().manual_seed(777)
    labels = glyphs.draw_labels(400, generator)
    return glyphs.draw(labels, generator), labels


@pytest.mark.parametrize("name", GLYPH_NETWORKS)
def test_shipped_weights_know_fresh_pictures(name: str, drawn: tuple[Tensor, Tensor]) -> None:
    assert _accuracy(name, *drawn) > 0.95


@pytest.mark.parametrize("name", GLYPH_NETWORKS)
def test_shape_and_texture_tell_the_classes_whatever_the_colour(
    name: str, drawn: tuple[Tensor, Tensor]
) -> None:
    pictures, labels = drawn
    turned = pictures.roll(1, 1)  # every hue moves on by 120 degrees: plain from green to blue
    assert _accuracy(name, turned, labels) > 0.9


@pytest.mark.parametrize("name", GLYPH_NETWORKS)
def test_the_position_of_pixels_matters(name: str, drawn: tuple[Tensor, Tensor]) -> None:
    pictures, labels = drawn
    order = torch.randperm(glyphs.SIZE**2, generator=torch.Generator().manual_seed(0))
    scrambled = pictures.flatten(2)[:, :, order].view_as(pictures)
    assert _accuracy(name, scrambled, labels) < 0.4


@pytest.mark.parametrize("name", GLYPH_NETWORKS)
def test_the_file_records_how_it_was_made(name: str) -> None:
    with safe_open(NETWORKS[name].weights, "pt") as file:
        record = file.metadata()
    assert float(record["accuracy"]) > 0.95
    assert int(record["validation_pictures"]) >= 2000
    assert tuple(json.loads(record["classes"])) == NETWORKS[name].classes
    assert {"seed", "steps", "torch"} <= record.keys()


def test_all_weights_together_stay_under_three_megabytes() -> None:
    folder = NETWORKS["glyph_cnn"].weights.parent
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.safetensors")}
    assert sizes.keys() >= {f"{name}.safetensors" for name in GLYPH_NETWORKS}
    assert sum(sizes.values()) < 3e6


def test_every_network_goes_by_its_own_name() -> None:
    assert all(name == network.name for name, network in NETWORKS.items())
    assert set(GLYPH_NETWORKS) <= NETWORKS.keys()


def test_listing_the_networks_does_not_import_timm() -> None:
    code = "import sys, fvis.zoo; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
