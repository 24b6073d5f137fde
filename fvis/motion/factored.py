"""Clips parametrized by one texture and a smooth velocity, for the factored ascent.

The velocity is an affine flow (growth, rotation and shear) plus a cosine series over frames, rows
and columns. The amplitudes of the series' terms fall with their frequency, as those of a Fourier
parametrization do: the ascent finds common motion first, no penalty is needed to keep the field
smooth, and the clip is a moving texture by construction.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from fvis.motion.decomposition import Decomposition
from fvis.parametrizations import PARAMETRIZATIONS, Parametrization
from fvis.parametrizations.base import UpdateRule, leaf
from fvis.schema import ParametrizationConfig, VelocityConfig

STARTS = 11  # how many motions `starting_motions` gives
SLOPES = 4  # coefficients of the affine flow, which come before those of the series
FURTHEST = 1e4  # px; an ascent whose steps are too large would displace further, up to infinity


@dataclass(frozen=True)
class Factored:
    """Textures (B) and their velocities, as parameters and as the clips that they render.

    `coefficients` (B, 4 + 2 (T-1) K K) are those of the affine flow's slopes, row by row, and then
    of the velocity's cosine series. `steepness`, per frame, is the amplitude of a slope, and
    `scales` (T-1, K, K), px/frame, are those of the terms. `bases` are the cosines over frames,
    rows and columns. `offset` (B, 2) px, [x, y], is where the frame's corner lies in the texture.
    """

    texture: Parametrization
    coefficients: Tensor
    steepness: float
    scales: Tensor
    bases: tuple[Tensor, ...]
    offset: Tensor
    weight_decay: float

    @property
    def slopes(self) -> Tensor:
        """The slopes d v_i / d place_j (B, 2, 2) of the affine flow, per frame."""
        return self.coefficients[:, :SLOPES].view(-1, 2, 2) * self.steepness

    @property
    def terms(self) -> Tensor:
        """The terms (B, 2, T-1, K, K) of the cosine series, px/frame."""
        return self.coefficients[:, SLOPES:].view(-1, 2, *self.scales.shape) * self.scales

    @property
    def motion(self) -> Tensor:
        """The affine flow with the series' constant term (B, 2, 3): see `starting_motions`."""
        uniform = self.terms[..., 0, 0, 0, None]
        return torch.cat([self.slopes, uniform], 2).detach()

    def picture(self, mirror_steps: int = 0) -> Parametrization:
        """The clips (B, 3, T, H, W) of the textures as they move.

        In the first `mirror_steps` of an ascent every other step shows the textures, not how they
        move, mirrored left to right: what tells left from right must then be in the motion.
        """

        def climbing(step: int) -> Tensor:
            parts = self.decomposition()
            if step < mirror_steps and step % 2 == 0:
                parts = dataclasses.replace(parts, texture=parts.texture.flip(3))
            return parts.render()

        texture_rules = (UpdateRule(),) * len(self.texture.parameters)
        return Parametrization(
            parameters=(*self.texture.parameters, self.coefficients),
            render=lambda: self.decomposition().render(),
            update_rules=(*texture_rules, UpdateRule(self._decays(), rowwise=True)),
            render_at=climbing if mirror_steps else None,
        )

    def _decays(self) -> Tensor:
        """Each coefficient's weight decay: none of the slopes', which would cost growth and turns.

        They are few, and a start at rest lets those that the unit does not ask for stay small.
        """
        decays = torch.full_like(self.coefficients[0].detach(), self.weight_decay)
        decays[:SLOPES] = 0
        return decays

    def decomposition(self) -> Decomposition:
        """The textures and their displacements, which are zero in the middle frame."""
        velocity = torch.einsum("bctyx,ft,hy,wx->bcfhw", self.terms, *self.bases)
        moved = torch.cat([torch.zeros_like(velocity[:, :, :1]), -velocity.cumsum(2)], 2)
        middle = moved.shape[2] // 2
        displacement = moved - moved[:, :, middle : middle + 1] + self._turned()
        within = displacement.nan_to_num(0, FURTHEST, -FURTHEST).clamp(-FURTHEST, FURTHEST)
        return Decomposition(self.texture.render(), self.offset, within)

    def _turned(self) -> Tensor:
        """What the affine flow adds to the displacement: exact for any angle and growth."""
        t, h, w = (len(basis) + extra for basis, extra in zip(self.bases, (1, 0, 0), strict=True))
        device = self.scales.device
        time = torch.arange(t, device=device) - t // 2
        maps = torch.linalg.matrix_exp(-self.slopes[:, None] * time[:, None, None])
        y, x = (torch.arange(n, device=device) - (n - 1) / 2 for n in (h, w))
        change = maps - torch.eye(2, device=device)
        columns = change[..., 0, None, None] * x + change[..., 1, None, None] * y[:, None]
        displaced: Tensor = columns.transpose(1, 2)
        return displaced


def build(
    parametrization: ParametrizationConfig,
    velocity: VelocityConfig,
    margin: float,
    start: Tensor,
    generators: Sequence[Generator],
    frame: tuple[int, ...],
    size: tuple[int, int],
    device: torch.device,
    textures: Tensor | None = None,
) -> Factored:
    """Textures as `parametrization` initialises them, each with the motion that it starts with.

    Clips smaller than the network's input show the middle of what would fill it. So their textures
    and velocities are as fine as its own: a small texture would have few spatial frequencies, far
    from one another, and waves in it would lie along its sides.

    Args:
        parametrization: settings of the textures.
        velocity: settings of the cosine series.
        margin: how far the textures reach beyond the frame, in frame sides.
        start: motions (B, 2, 3), as `starting_motions` gives them.
        generators: one per row; row b starts from generator b alone.
        frame: the shape of the network's input, (3, T, H, W).
        size: the clips' height and width (h, w), at most H and W.
        device: where the parameters are put.
        textures: what the textures (B, 3, H', W') in [0, 1] are at first; None: drawn at random.
    """
    _, t, *sides = frame
    reach = [side + 2 * round(margin * side) for side in sides]
    kind = PARAMETRIZATIONS[parametrization.name]
    given = () if textures is None else (textures,)  # other packages' need not take any
    texture = kind(parametrization, generators, (3, *reach), device, *given)
    scales = term_scales(velocity, t - 1).to(device)
    # A slope's amplitude at the frame's edge is twice that of the term with half a period in the
    # frame: a turn or growth must come about before the texture has settled on something else.
    steepness = 2 * velocity.scale * 2**-velocity.decay / (min(sides) / 2)
    terms = torch.zeros(len(generators), 2, *scales.shape)
    terms[..., 0, 0, 0] = start[..., 2].cpu() / velocity.scale
    slopes = start[..., :2].cpu() / steepness
    coefficients = leaf(torch.cat([slopes.flatten(1), terms.flatten(1)], 1), device)
    bases = tuple(
        _middle(cosines(whole, k), shown).to(device)
        for whole, shown, k in zip((t - 1, *sides), (t - 1, *size), scales.shape, strict=True)
    )
    y, x = ((whole - shown) // 2 for whole, shown in zip(reach, size, strict=True))
    offset = torch.tensor([[x, y]], dtype=torch.float32, device=device)
    offsets = offset.expand(len(generators), 2)
    return Factored(texture, coefficients, steepness, scales, bases, offsets, velocity.weight_decay)


def starting_motions(guess: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    """Motions (B, 2, 3) to start from, since an ascent rarely turns one kind into another.

    `motion[:, :, :2] @ place + motion[:, :, 2]` is the velocity, px/frame, at a place in px from
    the frame's middle. They are: a guessed uniform velocity (B, 2); half of the frame's height a
    clip to the right, up, left and down; rest; a fortieth of the height in the guess's direction;
    clockwise and counter-clockwise rotation, expansion and contraction, each with the guessed
    velocity at the frame's middle (so that they may turn or grow about another point).
    """
    _, t, h, _ = shape
    ways = guess.new_tensor([[1, 0], [0, -1], [-1, 0], [0, 1]]) * h / (2 * t)
    towards = guess / guess.norm(dim=1, keepdim=True).clamp_min(1e-12)
    uniform = [guess, *(way.expand_as(guess) for way in ways), 0 * guess, towards * h / (40 * t)]
    rate = 0.75 / t
    flows = guess.new_tensor([[[0, -1], [1, 0]], [[0, 1], [-1, 0]], [[1, 0], [0, 1]]]) * rate
    rest = guess.new_zeros(len(guess), 2, 1)
    moving = [torch.cat([rest, rest, velocity[..., None]], 2) for velocity in uniform]
    about = guess[..., None]
    turned = [torch.cat([flow.expand(len(guess), 2, 2), about], 2) for flow in (*flows, -flows[2])]
    return [*moving, *turned]


def term_scales(velocity: VelocityConfig, intervals: int) -> Tensor:
    """The amplitude (T - 1, K, K), px/frame, of each term for a coefficient of 1."""
    k = torch.arange(velocity.terms, dtype=torch.float32)
    spatial = 1 + torch.hypot(k[:, None], k[None, :])
    temporal = 1 + torch.arange(intervals, dtype=torch.float32)
    falls: Tensor = velocity.scale * (temporal[:, None, None] * spatial).pow(-velocity.decay)
    return falls


def _middle(basis: Tensor, count: int) -> Tensor:
    """The `count` places in the middle of a basis (places, terms)."""
    first = (len(basis) - count) // 2
    return basis[first : first + count]


def cosines(places: int, terms: int) -> Tensor:
    """A cosine basis (places, terms): term k has k half periods over `places` sample points."""
    middle = (torch.arange(places) + 0.5) / places
    return torch.cos(math.pi * middle[:, None] * torch.arange(terms))
