"""Clips parametrized by one texture and a smooth velocity, for the factored ascent.

The velocity is a cosine series over frames, rows and columns. The amplitudes of its terms fall with
their frequency, as those of a Fourier parametrization do: the ascent finds common motion first, no
penalty is needed to keep the field smooth, and the clip is a moving texture by construction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from fvis.motion.decomposition import Decomposition
from fvis.parametrizations import PARAMETRIZATIONS, Parametrization
from fvis.parametrizations.base import UpdateRule, leaf
from fvis.schema import ParametrizationConfig, VelocityConfig

STARTS = 5  # how many velocities `starting_velocities` gives


@dataclass(frozen=True)
class Factored:
    """Textures (B) and their velocities, as parameters and as the clips that they render.

    `terms` (B, 2, T-1, K, K) are the free coefficients of the velocity's cosine series, `scales`
    (T-1, K, K) their amplitudes in px/frame, and `bases` the cosines over frames, rows and columns.
    `offset` (B, 2) px, [x, y], is where the frame's corner lies in the texture.
    """

    texture: Parametrization
    terms: Tensor
    scales: Tensor
    bases: tuple[Tensor, ...]
    offset: Tensor
    weight_decay: float

    @property
    def uniform_velocity(self) -> Tensor:
        """The constant term (B, 2) of the velocity, px/frame: the same everywhere at all times."""
        return (self.terms * self.scales)[..., 0, 0, 0].detach()

    @property
    def picture(self) -> Parametrization:
        """The clips (B, 3, T, H, W) of the textures as they move."""
        texture_rules = (UpdateRule(),) * len(self.texture.parameters)
        return Parametrization(
            parameters=(*self.texture.parameters, self.terms),
            render=lambda: self.decomposition().render(),
            update_rules=(*texture_rules, UpdateRule(self.weight_decay, rowwise=True)),
        )

    def decomposition(self) -> Decomposition:
        """The textures and their displacements, which are zero in the middle frame."""
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
    """Textures as `parametrization` initialises them, each with its guessed uniform velocity.

    Args:
        parametrization: settings of the textures.
        velocity: settings of the cosine series.
        margin: how far the textures reach beyond the frame, in frame sides.
        guess: velocities (B, 2), [vx, vy] px/frame.
        generators: one per row; row b starts from generator b alone.
        shape: one clip's, (3, T, H, W).
        device: where the parameters are put.
    """
    _, t, h, w = shape
    below, beside = round(margin * h), round(margin * w)
    canvas = (3, h + 2 * below, w + 2 * beside)
    kind = PARAMETRIZATIONS[parametrization.name]
    texture = kind(parametrization, generators, canvas, device)
    scales = term_scales(velocity, t - 1).to(device)
    start = torch.zeros(len(generators), 2, *scales.shape)
    start[..., 0, 0, 0] = guess.cpu() / velocity.scale
    terms = leaf(start, device)
    bases = tuple(
        cosines(n, k).to(device) for n, k in zip((t - 1, h, w), scales.shape, strict=True)
    )
    offset = torch.tensor([[beside, below]], dtype=torch.float32, device=device)
    return Factored(
        texture, terms, scales, bases, offset.expand(len(generators), 2), velocity.weight_decay
    )


def starting_velocities(guess: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    """Velocities (B, 2), px/frame, to start from: a guess, then right, up, left and down.

    An ascent rarely reverses a texture's motion, and a guess from a clip that excites its unit only
    weakly often has the wrong direction. At the four fixed velocities the texture moves by half of
    the frame's height during the clip.
    """
    _, t, h, _ = shape
    ways = guess.new_tensor([[1, 0], [0, -1], [-1, 0], [0, 1]]) * h / (2 * t)
    return [guess, *(way.expand_as(guess) for way in ways)]


def term_scales(velocity: VelocityConfig, intervals: int) -> Tensor:
    """The amplitude (T - 1, K, K), px/frame, of each term for a coefficient of 1."""
    k = torch.arange(velocity.terms, dtype=torch.float32)
    spatial = 1 + torch.hypot(k[:, None], k[None, :])
    temporal = 1 + torch.arange(intervals, dtype=torch.float32)
    falls: Tensor = velocity.scale * (temporal[:, None, None] * spatial).pow(-velocity.decay)
    return falls


def cosines(places: int, terms: int) -> Tensor:
    """A cosine basis (places, terms): term k has k half periods over `places` sample points."""
    middle = (torch.arange(places) + 0.5) / places
    return torch.cos(math.pi * middle[:, None] * torch.arange(terms))
