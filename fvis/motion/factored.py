"""A clip described as one texture and a smooth velocity: what the factored ascent moves.

The velocity is a cosine series over frames, rows and columns. Like the amplitudes of a Fourier
parametrization its terms fall with their frequency: what moves together is found first, no penalty
has to hold the field smooth, and the clip is a moving texture by construction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from fvis.motion.decomposition import Decomposition
from fvis.parametrizations import PARAMETRIZATIONS, Parametrization
from fvis.parametrizations.base import Pace, leaf
from fvis.schema import ParametrizationConfig, VelocityConfig

STARTS = 5  # how many velocities `starting_velocities` gives


@dataclass(frozen=True)
class Factored:
    """Textures and velocities as a `picture` for the ascent, and the decomposition they are."""

    texture: Parametrization
    terms: Tensor
    scales: Tensor
    bases: tuple[Tensor, ...]
    offset: Tensor
    shrink: float

    @property
    def uniform_velocity(self) -> Tensor:
        """The velocity (B, 2), px/frame, that all places share at all times."""
        return (self.terms * self.scales)[..., 0, 0, 0].detach()

    @property
    def picture(self) -> Parametrization:
        """The clips (B, 3, T, H, W) of the textures as they move."""
        numbers = (*self.texture.numbers, self.terms)
        paces = (*(Pace() for _ in self.texture.numbers), Pace(self.shrink, as_one=True))
        return Parametrization(numbers, lambda: self.decomposition().render(), paces)

    def decomposition(self) -> Decomposition:
        """The textures, and displacements that are zero in the middle frame."""
        velocity = torch.einsum("bctyx,ft,hy,wx->bcfhw", self.terms * self.scales, *self.bases)
        moved = torch.cat([torch.zeros_like(velocity[:, :, :1]), -velocity.cumsum(2)], 2)
        middle = moved.shape[2] // 2
        displacement = moved - moved[:, :, middle : middle + 1]
        return Decomposition(self.texture.render(), self.offset, displacement)


def build(
    parametrization: ParametrizationConfig,
    velocity: VelocityConfig,
    margin: float,
    guess: Tensor,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    device: torch.device,
) -> Factored:
    """Textures as `parametrization` starts them, each moving as a whole as guessed.

    `guess` (B, 2) is in px/frame, `shape` one clip's, (3, T, H, W). The textures reach `margin`
    sides beyond the frame. Row b
    starts from generator b alone.
    """
    _, t, h, w = shape
    below, beside = round(margin * h), round(margin * w)
    canvas = (3, h + 2 * below, w + 2 * beside)
    kind = PARAMETRIZATIONS[parametrization.name]
    texture = kind(parametrization, generators, canvas, device)
    scales = term_scales(velocity, t - 1).to(device)
    start = torch.zeros(len(generators), 2, *scales.shape)
    start[..., 0, 0, 0] = guess.cpu() / velocity.scale
    numbers = leaf(start, device)
    bases = tuple(
        cosines(n, k).to(device) for n, k in zip((t - 1, h, w), scales.shape, strict=True)
    )
    offset = torch.tensor([[beside, below]], dtype=torch.float32, device=device)
    return Factored(
        texture, numbers, scales, bases, offset.expand(len(generators), 2), velocity.shrink
    )


def starting_velocities(guess: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    """Velocities (B, 2), px/frame, worth trying: a guess, and four ways across the frame.

    An ascent rarely turns a texture's motion around, and what excites a unit a little moves the
    wrong way as often as not. The four cross half of the frame's height over the clip.
    """
    _, t, h, _ = shape
    ways = guess.new_tensor([[1, 0], [0, -1], [-1, 0], [0, 1]]) * h / (2 * t)
    return [guess, *(way.expand_as(guess) for way in ways)]


def term_scales(velocity: VelocityConfig, intervals: int) -> Tensor:
    """The amplitude (T - 1, K, K), px/frame, of each term of the series per unit of its number."""
    k = torch.arange(velocity.terms, dtype=torch.float32)
    spatial = 1 + torch.hypot(k[:, None], k[None, :])
    temporal = 1 + torch.arange(intervals, dtype=torch.float32)
    falls: Tensor = velocity.scale * (temporal[:, None, None] * spatial).pow(-velocity.decay)
    return falls


def cosines(places: int, terms: int) -> Tensor:
    """The cosines (places, terms) of 0, 1, 2... half periods over `places` sample points."""
    middle = (torch.arange(places) + 0.5) / places
    return torch.cos(math.pi * middle[:, None] * torch.arange(terms))
