"""Receptive fields are those that arithmetic gives, whatever the weights are."""

import pytest
import torch
from torch import Tensor, nn

from fvis.capture import Network
from fvis.models import Model, Preprocessing
from fvis.models.layers import survey
from fvis.receptive_field import ReceptiveField, receptive_field

HEIGHT, WIDTH = 40, 48


def field_of(layers: list[nn.Module], index: tuple[int, int]) -> ReceptiveField | None:
    """The receptive field of the last of `layers`."""
    torch.manual_seed(0)
    size = Preprocessing(HEIGHT, WIDTH, None, (0.5,) * 3, (0.25,) * 3)
    model = Model(nn.Sequential(*layers).eval(), "net", size, None, "", "")
    layer = survey(model)[str(len(layers) - 1)]
    with Network(model, [layer]) as network, torch.no_grad():
        return receptive_field(network, 0, index)


def strided() -> list[nn.Module]:
    """A field of 3 + 2 * 2 = 7 px that moves by 2 px and begins 3 px before the position."""
    return [nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU6(), nn.Conv2d(4, 5, 3, 1, 1)]


class Scaled(nn.Module):
    """A convolution beside an identity, scaled by zero, as residual branches often start."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 5, 1, 2)
        self.norm = nn.BatchNorm2d(3)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(x))


class Excited(nn.Module):
    """Channels that are scaled by their means over all positions: squeeze and excite."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


def test_a_field_of_clips_is_that_of_their_rows_and_columns() -> None:
    size = Preprocessing(HEIGHT, WIDTH, 6, (0.5,) * 3, (0.25,) * 3)
    module = nn.Sequential(nn.Conv3d(3, 4, (3, 3, 5), (1, 2, 1), (1, 1, 2)), nn.ReLU())
    model = Model(module.eval(), "net", size, None, "", "")
    with Network(model, [survey(model)["1"]]) as network, torch.no_grad():
        field = receptive_field(network, 0, (4, 10, 20))
    assert field == ReceptiveField(((19, 22), (18, 23)), (2, 1))


def test_a_field_is_where_arithmetic_says() -> None:
    field = field_of(strided(), (5, 9))
    assert field == ReceptiveField(((7, 14), (15, 22)), (2, 2))
    assert field.length == 7


@pytest.mark.parametrize(
    ("index", "extents"), [((0, 0), ((0, 4), (0, 4))), ((19, 23), ((35, 40), (43, 48)))]
)
def test_a_field_is_cut_off_at_the_edge_of_the_input(
    index: tuple[int, int], extents: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    assert field_of(strided(), index) == ReceptiveField(extents, (2, 2))


def test_weights_of_zero_hide_nothing() -> None:
    field = field_of([Scaled()], (10, 10))
    assert field == ReceptiveField(((8, 13), (8, 13)), (1, 1))


def test_units_that_see_everything_have_no_field() -> None:
    assert field_of([*strided(), Excited()], (5, 5)) is None
    assert field_of([*strided(), nn.AdaptiveAvgPool2d(1)], (0, 0)) is None


def test_max_pooling_and_leaps_are_followed() -> None:
    field = field_of([nn.MaxPool2d(3, 3), nn.Conv2d(3, 4, 3, 2)], (1, 2))
    assert field == ReceptiveField(((6, 15), (12, 21)), (6, 6))
