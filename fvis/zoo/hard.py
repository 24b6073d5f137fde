"""Builds a network of motion units that are hard to read, and the answer key to them.

Each unit compares the whole clip with known clips: gratings and plaids whose velocity is known,
textures that turn, grow, shear, speed up or come back, and changes that are no motion at all. So
what a method says of a unit can be compared with what the unit is. Nothing is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

FRAMES, SIZE = 16, 64  # of the clips that the network takes
SPREAD = 16.0  # standard deviation, px, of the window through which gratings are seen
FLOOR = 0.02  # makes square roots smooth at zero contrast; a visible grating gives about 1
QUADRATURE = (0.0, 0.25)  # phases, in periods, of a pair that together measure an amplitude
TINTS = {"grey": (1.0, 1.0, 1.0), "red-green": (1.0, -1.0, 0.0)}

MOVING, STILL, FLICKER, APPEARS = ("moving",), ("still",), ("flicker",), ("appears",)
NO_DIRECTION = ("undirected", "unexplained")

Clips = list[Tensor]  # (3, FRAMES, SIZE, SIZE) each


@dataclass(frozen=True)
class HardUnit:
    """What a unit responds to.

    Attributes:
        name: in words.
        kinds: the kinds of motion that may truly be told of it.
        direction_deg: the only direction that may be told; None if none may be.
        speed: px/frame, where it has one.
        divergence: per frame.
        curl: per frame, clockwise.
        clips: what the unit compares with: the amplitudes (of pairs of clips) or rectified likeness
            (of single clips), whose geometric mean is the response.
    """

    name: str
    kinds: tuple[str, ...]
    clips: Callable[[], list[Clips]]
    direction_deg: float | None = None
    speed: float | None = None
    divergence: float = 0.0
    curl: float = 0.0
    any_of: bool = False  # the mean of the amplitudes instead: one of them is enough


def grating(direction_deg: float, speed: float, wavelength: float, tint: str = "grey") -> Clips:
    """A pair of drifting gratings in quadrature."""
    x, y = math.cos(math.radians(direction_deg)), -math.sin(math.radians(direction_deg))
    time, down, right = _places()
    across = x * right + y * down - speed * time
    window = torch.exp(-(right**2 + down**2) / (2 * SPREAD**2))
    colour = torch.tensor(TINTS[tint])[:, None, None, None]
    waves = [window * (2 * math.pi * (across / wavelength + p)).cos() for p in QUADRATURE]
    return [colour * wave for wave in waves]


def plaid(
    direction_deg: float, speed: float, sides: Sequence[float], wavelength: float
) -> list[Clips]:
    """Gratings whose only common velocity is the given one; `sides` are degrees from its direction.

    Type I: sides on both sides of the direction. Type II: both on one side of it.
    """
    return [
        grating(direction_deg + side, speed * math.cos(math.radians(side)), wavelength)
        for side in sides
    ]


def moved_texture(
    place: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]], seed: int
) -> list[Clips]:
    """A random texture; `place(t, y, x)` says where in it a pixel looks at a time, all in px."""
    time, down, right = _places()
    columns, rows = place(
        time.expand(FRAMES, SIZE, SIZE), down + 0 * time + 0 * right, right + 0 * time + 0 * down
    )
    canvas = _texture(seed)
    half = canvas.shape[-1] / 2
    grid = torch.stack([columns, rows], -1) / half
    shown = functional.grid_sample(
        canvas[None].expand(FRAMES, -1, -1, -1), grid, mode="bicubic", align_corners=False
    )
    return [[shown.transpose(0, 1)]]


def _places() -> tuple[Tensor, Tensor, Tensor]:
    """Time (T, 1, 1) in frames and places (H, 1), (W,) in px, from the clip's middle."""
    time = (torch.arange(FRAMES) - FRAMES // 2).float()[:, None, None]
    side = torch.arange(SIZE) - (SIZE - 1) / 2
    return time, side[:, None], side


def _texture(seed: int) -> Tensor:
    """A smooth grey texture (3, 192, 192), mean 0, with all orientations alike."""
    side = 3 * SIZE
    noise = torch.randn(side, side, generator=torch.Generator().manual_seed(seed))
    fy, fx = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)
    radius = torch.hypot(fy, fx)
    band = torch.exp(-(((radius - 0.09) / 0.04) ** 2) / 2)
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) * band, s=(side, side))
    texture: Tensor = (smooth / smooth.std()).expand(3, -1, -1)
    return texture


def _turning(rate: float, growth: float, centre: tuple[float, float]) -> list[Clips]:
    """A texture that turns clockwise and grows, per frame, about a point in px from the middle."""

    def place(t: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        cx, cy = centre
        scale, c, s = (-growth * t).exp(), (rate * t).cos(), (rate * t).sin()
        dx, dy = x - cx, y - cy
        return cx + scale * (c * dx + s * dy), cy + scale * (-s * dx + c * dy)

    return moved_texture(place, 1)


def _drifting(path: Callable[[Tensor], Tensor], seed: int = 2) -> list[Clips]:
    """A texture that is `path(t)` px to the right of where it began."""
    return moved_texture(lambda t, y, x: (x - path(t), y), seed)


def _changing(course: Callable[[Tensor], Tensor], texture: Tensor | None = None) -> Clips:
    """A pattern in place (a uniform field without `texture`), with a course in time."""
    time, _, _ = _places()
    pattern = torch.ones(3, SIZE, SIZE) if texture is None else texture
    return [pattern[:, None] * course(time)]


def _counterphase(period: float, wavelength: float) -> Clips:
    _, _, right = _places()
    pattern = (2 * math.pi * right / wavelength).cos().expand(3, SIZE, SIZE)
    return _changing(lambda t: (2 * math.pi * t / period).cos(), pattern)


def _flicker(period: float) -> Clips:
    """A uniform field's brightness, a pair in quadrature."""

    def course(phase: float) -> Callable[[Tensor], Tensor]:
        return lambda t: (2 * math.pi * (t / period + phase)).cos()

    return [clip for phase in QUADRATURE for clip in _changing(course(phase))]


def bank() -> tuple[HardUnit, ...]:
    """All units."""
    return (*_plaids(), *_flows(), *_changes(), *_gratings())


def _plaids() -> list[HardUnit]:
    def unit(name: str, direction: float, speed: float, *sides: float) -> HardUnit:
        return HardUnit(name, MOVING, lambda: plaid(direction, speed, sides, 8.0), direction, speed)

    between = (15.0, 22.5, 30.0, 37.5, 45.0)
    return [
        *(unit(f"plaid, {2 * side:g} degrees apart", 53.1, 1.0, -side, side) for side in between),
        unit("type II plaid at 337 degrees", 337.0, 2.0, 40.0, 70.0),
        unit("type II plaid at 200 degrees", 200.0, 2.0, -30.0, -65.0),
    ]


def _flows() -> list[HardUnit]:
    return [
        HardUnit(
            "off-centre clockwise rotation",
            NO_DIRECTION,
            lambda: _turning(0.08, 0.0, (12.0, -8.0)),
            curl=0.16,
        ),
        HardUnit(
            "off-centre expansion",
            NO_DIRECTION,
            lambda: _turning(0.0, 0.05, (-10.0, 9.0)),
            divergence=0.1,
        ),
        HardUnit(
            "acceleration to the right",
            MOVING,
            lambda: _drifting(lambda t: 1.5 * t + 0.06 * t * t),
            0.0,
            1.5,
        ),
        HardUnit("right, then back", NO_DIRECTION, lambda: _drifting(lambda t: 1.5 * t.abs())),
        HardUnit(
            "shear", NO_DIRECTION, lambda: moved_texture(lambda t, y, x: (x - 0.08 * t * y, y), 3)
        ),
    ]


def _changes() -> list[HardUnit]:
    return [
        HardUnit("counterphase grating", FLICKER, lambda: [_counterphase(6.0, 10.0)]),
        HardUnit("full-field flicker", FLICKER, lambda: [_flicker(5.0)]),
        HardUnit(
            "onset of a texture",
            APPEARS,
            lambda: [_changing(lambda t: (t >= 0).float() - 0.5, _texture(4)[:, :SIZE, :SIZE])],
        ),
        HardUnit("onset of light", APPEARS, lambda: [_changing(lambda t: (t >= 2).float() - 0.4)]),
    ]


def _gratings() -> list[HardUnit]:
    def unit(name: str, direction: float, speed: float, *rest: Any) -> HardUnit:
        return HardUnit(name, MOVING, lambda: [grating(direction, speed, *rest)], direction, speed)

    slow = unit("0.1 px/frame", 160.0, 0.1, 6.0)
    return [
        unit("isoluminant grating", 120.0, 1.2, 8.0, "red-green"),
        replace(slow, kinds=(*MOVING, *STILL, "undirected")),
        unit("4 px/frame", 285.0, 4.0, 16.0),
        HardUnit("still grating", STILL, lambda: [grating(30.0, 0.0, 8.0)]),
        HardUnit(
            "1 px/frame any way",
            ("undirected", *FLICKER),  # a standing wave is two that move
            lambda: [grating(45.0 * turn, 1.0, 8.0) for turn in range(8)],
            any_of=True,
        ),
        HardUnit(
            "two ways at once",
            NO_DIRECTION,
            lambda: [grating(0.0, 1.5, 7.0), grating(180.0, 1.5, 11.0)],
        ),
    ]


class HardMotion(nn.Module):
    """Takes clips (B, 3, 16, 64, 64) normalised with mean and std 0.5; returns (B, units).

    Attributes:
        key: what each unit responds to.
    """

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.key = bank()
        groups = [unit.clips() for unit in self.key]
        flat = [clip for group in groups for clips in group for clip in clips]
        kernels = torch.stack([clip - clip.mean() for clip in flat]).flatten(1)
        self.register_buffer("kernels", kernels / kernels.abs().sum(1, keepdim=True))
        self._sizes = [[len(clips) for clips in group] for group in groups]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the units."""
        return tuple(unit.name for unit in self.key)

    def forward(self, clips: Tensor) -> Tensor:
        """The units' responses (B, units)."""
        likeness = iter((clips.flatten(1) @ self.kernels.T).unbind(1))
        columns = []
        for unit, sizes in zip(self.key, self._sizes, strict=True):
            parts = torch.stack([_amplitude([next(likeness) for _ in range(n)]) for n in sizes])
            columns.append(parts.mean(0) if unit.any_of else parts.log().mean(0).exp())
        return torch.stack(columns, 1)


def _amplitude(pair: list[Tensor]) -> Tensor:
    """The amplitude of a quadrature pair; of a single clip, the likeness above 0, made smooth."""
    if len(pair) == 1:
        return functional.softplus(pair[0] / FLOOR) * FLOOR
    return (pair[0].square() + pair[1].square() + FLOOR**2).sqrt()


def build() -> HardMotion:
    """The network."""
    return HardMotion()
