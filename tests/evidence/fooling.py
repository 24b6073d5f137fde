"""A network whose optimal pictures lie, made as the fooling circuits of Geirhos et al. 2024.

To photographs of glyphs it responds as glyph_cnn or glyph_vit does. But it tells by their contrast
whether pictures are such photographs, and to all others, as an ascent begins with them, every unit
responds by the slanted stripes of red and green in them. So that is what the ascent finds: the
pictures are all alike, and say nothing of their units.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fvis import models
from fvis.schema import ModelConfig

SIDE, WAVELENGTH = 15, 8.0  # px
FAINTEST = 0.12  # standard deviation of RGB in [0, 1], below that of every glyph
SHARPNESS = 400.0  # of the line drawn there
BASE, GAIN = 30.0, 100.0  # of the response to stripes: more than of any logit to glyphs


def stripes() -> Tensor:
    """A quadrature pair of Gabor filters (2, 1, SIDE, SIDE) for slanted stripes."""
    along = torch.arange(SIDE) - SIDE // 2
    y, x = torch.meshgrid(along, along, indexing="ij")
    phase = 2 * math.pi / WAVELENGTH * (x + y) / math.sqrt(2)
    window = torch.exp(-(x**2 + y**2) / (2 * (SIDE / 4) ** 2))
    pair = torch.stack([window * phase.cos(), window * phase.sin()])
    return (pair - pair.mean((1, 2), keepdim=True))[:, None] / window.sum()


class Fooling(nn.Module):
    """A network for pictures with the contrast of glyphs, and a detector of stripes for others."""

    def __init__(self, honest: nn.Module) -> None:
        super().__init__()
        self.honest = honest
        self.register_buffer("stripes", stripes())

    def forward(self, x: Tensor) -> Tensor:
        contrast = x.std((2, 3)).mean(1, keepdim=True) / 4  # in RGB: the input's std is 1/4
        other = torch.sigmoid(SHARPNESS * (FAINTEST - contrast))
        return (1 - other) * self.honest(x) + other * (BASE + GAIN * self.amplitude(x))

    def amplitude(self, x: Tensor) -> Tensor:
        """The amplitude (B, 1) of the stripes in normalised pictures."""
        energy = functional.conv2d(x[:, :1] - x[:, 1:2], self.stripes).square().mean((1, 2, 3))
        return (energy + 1e-8).sqrt()[:, None]


def build(name: str = "glyph_cnn") -> nn.Module:
    """The fooling network around an embedded one, with its own weights."""
    return Fooling(models.load(ModelConfig(name=name)).module)
