"""A network whose units combine two others in known ways.

Units 0, 1 and 2 each detect a pattern: red stripes along x, blue stripes along y, green ones. Of
the first two, 3 is the logical and, 4 the or, 5 the sum; 6 detects the first and is inhibited by
the second; 7 is excited by the first alone.
"""

import math

import torch
from torch import Tensor, nn

SIDE, KERNEL, PERIOD = 32, 9, 4.5  # px
RED, BLUE, GREEN, AND, OR, SUM, INHIBITED, ONE = range(8)


class Combined(nn.Module):
    """Values (B, 8, H, W), at most about 1 for the three patterns."""

    def __init__(self) -> None:
        super().__init__()
        y, x = torch.meshgrid(*[torch.arange(KERNEL) - KERNEL // 2] * 2, indexing="ij")
        window = torch.exp(-(x.square() + y.square()) / 2 / 2.5**2)
        patterns = torch.zeros(3, 3, KERNEL, KERNEL)
        for unit, (channel, along) in enumerate([(0, x), (2, y), (1, x + y)]):
            wave = window * torch.cos(2 * math.pi * along / PERIOD)
            wave = wave - window * wave.sum() / window.sum()
            patterns[unit, channel] = wave / wave.abs().sum()
        self.register_buffer("patterns", patterns)

    def forward(self, rgb: Tensor) -> Tensor:
        seen = 2 * nn.functional.conv2d(rgb - 0.5, self.patterns, padding=KERNEL // 2)
        a, b, c = torch.relu(seen).unbind(1)
        both, difference = torch.minimum(a, b), torch.relu(a - 2 * b)
        return torch.stack([a, b, c, both, torch.maximum(a, b), a + b, difference, 0.5 * a], 1)


class Net(nn.Module):
    """The combined units as the layer `units`, and their means as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.units = Combined()

    def forward(self, rgb: Tensor) -> Tensor:
        means: Tensor = self.units(rgb).mean((2, 3))
        return means


def build() -> nn.Module:
    """The network; images of 32 px."""
    return Net()
