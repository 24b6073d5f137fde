"""What the shipped networks promise: that they load, know their subject and fit the package."""

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

from fvis.zoo import NETWORKS, drifts, glyphs

if TYPE_CHECKING:
    from torch import Tensor

GLYPH_NETWORKS = ("glyph_cnn", "glyph_vit")
TRAINED = (*GLYPH_NETWORKS, "drift_r3d")
BACKWARDS = {
    "right": "left",
    "up right": "down left",
    "up": "down",
    "up left": "down right",
    "expanding": "contracting",
    "clockwise": "counterclockwise",
}
MIRRORED = {
    "right": "left",
    "up right": "up left",
    "down right": "down left",
    "clockwise": "counterclockwise",
}


def _shipped(name: str) -> nn.Module:
    network = NETWORKS[name].build()
    network.load_state_dict(load_file(NETWORKS[name].weights), strict=True)
    return network.eval()


def _accuracy(name: str, pictures: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        scores = _shipped(name)(_normalised(name, pictures))
    return float((scores.argmax(1) == labels).float().mean())


def _normalised(name: str, pictures: Tensor) -> Tensor:
    shape = (3,) + (1,) * (pictures.dim() - 2)
    mean = torch.tensor(NETWORKS[name].mean).view(shape)
    std = torch.tensor(NETWORKS[name].std).view(shape)
    return (pictures - mean) / std


def _exchanged(labels: Tensor, pairs: dict[str, str]) -> Tensor:
    """The labels with the classes of each pair exchanged, the others as they are."""
    both = {**pairs, **{back: forth for forth, back in pairs.items()}}
    order = [drifts.CLASSES.index(both.get(name, name)) for name in drifts.CLASSES]
    return torch.tensor(order)[labels]


@pytest.fixture(scope="module")
def drawn() -> tuple[Tensor, Tensor]:
    """400 pictures of a seed that neither training nor validation used, and their labels."""
    generator = torch.Generator().manual_seed(777)
    labels = glyphs.draw_labels(400, generator)
    return glyphs.draw(labels, generator), labels


@pytest.fixture(scope="module")
def clips() -> tuple[Tensor, Tensor]:
    """280 clips of such a seed, 20 of each class, and their labels."""
    generator = torch.Generator().manual_seed(778)
    labels = torch.arange(280) % len(drifts.CLASSES)
    return drifts.draw(labels, generator), labels


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


@pytest.mark.slow
def test_shipped_weights_know_fresh_clips(clips: tuple[Tensor, Tensor]) -> None:
    assert _accuracy("drift_r3d", *clips) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("axis", "pairs"), [(2, BACKWARDS), (4, MIRRORED)])
def test_a_clip_turned_around_shows_the_motion_turned_around(
    clips: tuple[Tensor, Tensor], axis: int, pairs: dict[str, str]
) -> None:
    drawn, labels = clips[0][:140], clips[1][:140]
    assert _accuracy("drift_r3d", drawn.flip(axis), _exchanged(labels, pairs)) > 0.95


@pytest.mark.slow
def test_frames_out_of_order_show_no_direction(clips: tuple[Tensor, Tensor]) -> None:
    drawn, labels = clips
    moving = labels < len(drifts.DIRECTIONS)
    order = torch.randperm(drifts.FRAMES, generator=torch.Generator().manual_seed(0))
    shuffled, wanted = drawn[moving][:80, :, order], labels[moving][:80]
    assert _accuracy("drift_r3d", shuffled, wanted) < 0.4


@pytest.mark.parametrize("name", ["right", "left"])
def test_a_clip_can_be_moved_towards_a_direction_everywhere(
    name: str, clips: tuple[Tensor, Tensor]
) -> None:
    """What ascent needs: from still clips, every frame and quarter of the picture gets a pull."""
    still = clips[0][clips[1] == drifts.CLASSES.index("still")][:4]
    still.requires_grad_()
    logit = _shipped("drift_r3d")(_normalised("drift_r3d", still))[:, drifts.CLASSES.index(name)]
    (gradient,) = torch.autograd.grad(logit.sum(), still)
    pull = gradient.abs().mean(0)
    frames = pull.mean((0, 2, 3))
    quarters = pull.mean((0, 1)).unfold(0, 32, 32).unfold(1, 32, 32).mean((2, 3))
    assert float(frames.min()) > 0.05 * float(frames.max())
    assert float(quarters.min()) > 0.3 * float(quarters.max())


@pytest.mark.parametrize("name", TRAINED)
def test_the_file_records_how_it_was_made(name: str) -> None:
    with safe_open(NETWORKS[name].weights, "pt") as file:
        record = file.metadata()
    assert float(record["accuracy"]) > 0.95
    kind = "pictures" if NETWORKS[name].frames is None else "clips"
    assert int(record[f"validation_{kind}"]) >= 2000
    assert tuple(json.loads(record["classes"])) == NETWORKS[name].classes
    assert {"seed", "steps", "torch"} <= record.keys()


def test_all_weights_together_stay_under_three_megabytes() -> None:
    folder = NETWORKS["glyph_cnn"].weights.parent
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.safetensors")}
    assert sizes.keys() >= {f"{name}.safetensors" for name in TRAINED}
    assert sum(sizes.values()) < 3e6


def test_every_network_goes_by_its_own_name() -> None:
    assert all(name == network.name for name, network in NETWORKS.items())
    assert {name for name, network in NETWORKS.items() if network.trained} == set(TRAINED)


def test_listing_the_networks_does_not_import_model_libraries() -> None:
    code = "import sys, fvis.zoo; sys.exit(bool({'timm', 'torchvision'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
