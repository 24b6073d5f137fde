"""Hard tanhs compute the same, value and gradient, while they keep nothing but their output."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from fvis.capture import Network, bytes_kept
from fvis.hardtanh import keeping_outputs
from fvis.models import Model, Preprocessing
from fvis.models.layers import survey
from fvis.randomness import random_generator

SIDE = 32  # px


class Lazy(nn.Module):
    """Relies on its activation's working in place: what it returns is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3), nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv(x)
        self.act(made)
        return made * made


class Shifted(nn.ReLU6):
    """An activation that derives from ReLU6 and computes otherwise."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input + 1)


def plain(act: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), act, nn.Conv2d(8, 8, 3), act)


def passed(module: nn.Module, rgb: Tensor) -> tuple[Tensor, Tensor]:
    """What a network returns for pictures, and a gradient of it."""
    leaf = rgb.clone().requires_grad_(True)
    output: Tensor = module(leaf)
    output = output * 1  # a network's last tensor may be one that it needs for the gradient
    (gradient,) = torch.autograd.grad(output.sin().sum(), leaf)
    return output.detach(), gradient


@pytest.mark.parametrize(
    "build",
    [
        lambda: plain(nn.ReLU6()),
        lambda: plain(nn.ReLU6(inplace=True)),
        lambda: plain(nn.Hardtanh(-0.1, 0.2, inplace=True)),
        lambda: plain(Shifted()),
        Lazy,
        lambda: timm.create_model("mobilenetv2_035"),
    ],
)
def test_value_and_gradient_are_the_same_to_the_bit(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    module = build().eval().requires_grad_(False)
    rgb = 40 * torch.randn(2, 3, SIDE, SIDE, generator=random_generator("rgb"))
    before = passed(module, rgb)
    with keeping_outputs(module), keeping_outputs(module):
        during = passed(module, rgb)
    assert before[1].any()
    assert all(map(torch.equal, before, during))
    assert not any("forward" in part.__dict__ for part in module.modules())


@pytest.mark.parametrize("in_place", [False, True])
def test_a_network_keeps_each_map_once(in_place: bool) -> None:
    module = plain(nn.ReLU6(in_place)).eval()
    size = Preprocessing(SIDE, SIDE, None, (0.5,) * 3, (0.25,) * 3)
    model = Model(module, "net", size, None, "", "")
    maps = [8 * (SIDE - 2) ** 2, 8 * (SIDE - 4) ** 2]  # of the two convolutions
    network = Network(model, [survey(model)["logits"]])
    kept, _ = bytes_kept(network, size.shape)
    assert kept <= 4 * (sum(maps) + 4 * 3 * SIDE**2), "the maps, and the picture a few times"
