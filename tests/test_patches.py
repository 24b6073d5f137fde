"""Patches lie where a layer's units see, and show what moves them."""

import pytest
import torch
from torch import nn

from fvis.capture import Network
from fvis.models import Model, Preprocessing
from fvis.objectives import resolve
from fvis.patches import Patches, patches_of
from fvis.schema import TargetConfig

HEIGHT, WIDTH = 64, 80  # px
SPOT = 6  # px, the side of what the unit responds to


def patches(layer: nn.Module, height: int = HEIGHT, width: int = WIDTH) -> tuple[Patches, Model]:
    size = Preprocessing(height, width, None, (0.0,) * 3, (1.0,) * 3)
    model = Model(nn.Sequential(layer).eval(), "net", size, None, "", "")
    targets = resolve(TargetConfig(layer="0", units=[0]), model, 0)
    with Network(model, targets.layers) as network:
        return patches_of(targets, network), model


def spotter(kernel: int, **settings: int) -> nn.Conv2d:
    """A convolution that responds to a bright spot in the middle of its kernel."""
    conv = nn.Conv2d(3, 1, kernel, bias=False, **settings)  # type: ignore[arg-type]
    edge = (kernel - SPOT) // 2
    with torch.no_grad():
        conv.weight.fill_(-0.01)
        conv.weight[:, :, edge : edge + SPOT, edge : edge + SPOT] = 1.0
    return conv


@pytest.mark.parametrize(
    "settings", [{}, {"padding": 10}, {"stride": 3}, {"stride": 2, "padding": 4}, {"dilation": 1}]
)
@pytest.mark.parametrize("centre", [(13, 13), (13, 66), (50, 13), (50, 66), (32, 40)])
def test_the_patch_around_the_peak_holds_what_was_planted(
    settings: dict[str, int], centre: tuple[int, int]
) -> None:
    found, model = patches(spotter(20, **settings))
    y, x = centre
    rgb = torch.zeros(1, 3, HEIGHT, WIDTH)
    rgb[..., y - SPOT // 2 : y + SPOT // 2, x - SPOT // 2 : x + SPOT // 2] = 1
    left, top, width, height = found.box(int(model.module(rgb).flatten().argmax()))
    assert left <= x - SPOT // 2 and left + width >= x + SPOT // 2
    assert top <= y - SPOT // 2 and top + height >= y + SPOT // 2
    assert abs(left + width / 2 - x) <= 2.5 and abs(top + height / 2 - y) <= 2.5


@pytest.mark.parametrize("kernel", [1, 9, 21])
def test_a_patch_is_as_large_as_what_moves_the_unit(kernel: int) -> None:
    torch.manual_seed(0)
    found, _ = patches(nn.Conv2d(3, 32, kernel))
    assert all(max(4, 0.85 * kernel) <= side <= max(4, kernel) for side in found.sides)


def test_where_units_see_everything_cells_are_even() -> None:
    found, _ = patches(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(1, 8)))
    assert found == Patches.evenly((HEIGHT, WIDTH), (HEIGHT, WIDTH))


@pytest.mark.parametrize("place", range(0, 64, 7))
def test_patches_lie_inside_the_picture(place: int) -> None:
    x, y, width, height = Patches.evenly((8, 8), (30, 50)).box(place)
    assert 0 <= x <= 50 - width and 0 <= y <= 30 - height
    assert (width, height) == (25, 15)
