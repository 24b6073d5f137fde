"""Builds a network whose motion units are known by construction, and the answer key to them.

Each unit of the layer `energy` is a quadrature pair of spatio-temporal Gabor kernels that measures
the energy of one moving wave (Adelson & Bergen 1985, "Spatiotemporal energy models for the
perception of motion"). The four units of the layer `rings` combine eight directions around a ring
into expansion, contraction and rotation. Nothing is trained, so what a method finds out about a
unit can be compared with what the unit is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

LUMINANCE = (0.2126, 0.7152, 0.0722)  # Rec. 709; the units respond to brightness only
# With even extents and a stride of 2, the central position is at the middle of a 16x64x64 clip.
EXTENT, STRIDE, SPREAD = 16, 2, 4.0  # of the kernels in space, pixels; SPREAD: standard deviation
FRAMES, DURATION = 8, 2.2  # of the kernels in time, frames; DURATION: standard deviation
RING_RADIUS, RING_WIDTH = 7.0, 1.0  # in positions of the energy maps, which are 2 pixels apart
RING_EXTENT, RING_FRAMES = 19, 9  # in positions; 9 is all that a 16-frame clip has in time
FLOOR = 0.1  # makes the square root smooth at zero contrast; a visible wave gives about 40
FASTEST, SHORTEST = 2.0, 4.0  # speed in pixels per frame; wavelength in pixels
MOST_CYCLES = 0.35  # cycles per frame; from 0.5 on, aliasing makes motion appear reversed

Numbers = float | Sequence[float]


@dataclass(frozen=True)
class EnergyUnit:
    """What one unit of `energy` responds to most: a plane wave that drifts across its crests.

    Attributes:
        direction_deg: direction of drift: 0 right, 90 up, counter-clockwise on the screen. For a
            still unit (speed 0), the direction across the crests, which equals its opposite.
        speed: pixels per frame.
        wavelength: pixels.
    """

    direction_deg: float
    speed: float
    wavelength: float

    @property
    def velocity(self) -> tuple[float, float]:
        """The velocity (x right, y down) of the drift, pixels per frame."""
        x, y = _screen(self.direction_deg)
        return self.speed * x, self.speed * y

    @property
    def temporal_frequency(self) -> float:
        """Cycles per frame."""
        return self.speed / self.wavelength

    @property
    def name(self) -> str:
        """For example `90 deg at 1 px/frame, 8 px`."""
        return f"{self.direction_deg:g} deg at {self.speed:g} px/frame, {self.wavelength:g} px"


@dataclass(frozen=True)
class RingUnit:
    """What one unit of `rings` responds to most: a flow around its middle.

    Attributes:
        name: expanding, contracting, clockwise or counterclockwise.
        divergence: the sign of d(vx)/dx + d(vy)/dy, 0 for rotation.
        curl: the sign of d(vy)/dx - d(vx)/dy with y pointing down: 1 is clockwise on the screen, 0
            for expansion and contraction.
    """

    name: str
    divergence: int
    curl: int


@dataclass(frozen=True)
class AnswerKey:
    """What every unit of a network responds to, in the order of the layers' channels.

    Attributes:
        energy: the units of the layer `energy`.
        rings: the units of the layer `rings`.
    """

    energy: tuple[EnergyUnit, ...]
    rings: tuple[RingUnit, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the network's outputs."""
        return (*(unit.name for unit in self.energy), *(unit.name for unit in self.rings))


# The angle, in degrees, from the outward direction to the one that a ring unit prefers there.
_RINGS = {
    RingUnit("expanding", 1, 0): 0.0,
    RingUnit("contracting", -1, 0): 180.0,
    RingUnit("clockwise", 0, 1): -90.0,
    RingUnit("counterclockwise", 0, -1): 90.0,
}

RING_BANK = tuple(EnergyUnit(45.0 * turn, 1.0, 8.0) for turn in range(8))
"""The energy units that the rings combine; appended to every bank that lacks them."""

DEFAULT_BANK = (
    *RING_BANK,
    *(EnergyUnit(90.0 * turn, 2.0, 10.0) for turn in range(4)),
    *(EnergyUnit(45.0 + 90.0 * turn, 0.5, 6.0) for turn in range(4)),
    *(EnergyUnit(45.0 * turn, 0.0, 8.0) for turn in range(4)),
)
"""Units of eight directions at medium speed, then four fast, four slow and four still ones."""


def build(
    angles_deg: Numbers | None = None,
    speeds: Numbers | None = None,
    wavelengths: Numbers | None = None,
    reverse_time: bool = False,
) -> PlantedMotion:
    """Build the network of a bank of units; without arguments, of `DEFAULT_BANK`.

    Unit i has the i-th number of each list. A single number applies to all units.

    Args:
        angles_deg: directions of drift, 0 right, 90 up; by default the eight of `RING_BANK`.
        speeds: pixels per frame, from 0 to 2; by default 1.
        wavelengths: pixels, from 4 to 16; by default 8.
        reverse_time: flip the kernels in time, which reverses the motion that each unit prefers.

    Raises:
        ValueError: lists of unequal length, or a wave too fast or too short to be sampled.
    """
    return PlantedMotion(_bank(angles_deg, speeds, wavelengths), reverse_time)


def answer_key(
    angles_deg: Numbers | None = None,
    speeds: Numbers | None = None,
    wavelengths: Numbers | None = None,
    reverse_time: bool = False,
) -> AnswerKey:
    """Return what the units of the network `build(...)` with the same arguments respond to.

    Raises:
        ValueError: as `build` does.
    """
    key = AnswerKey(_bank(angles_deg, speeds, wavelengths), tuple(_RINGS))
    return _reversed(key) if reverse_time else key


class PlantedMotion(nn.Module):
    """Energy units and, on top of them, ring units; see `build`.

    It takes normalised clips (B, 3, T, H, W) of at least 16 frames and 52x52 pixels. It returns
    (B, K): each energy unit's mean over all positions, then the ring units at the central position.

    Attributes:
        key: what each unit responds to.
        energy: maps clips to energies (B, units, T', H', W'), at least 0, of 9x25x25 positions for
            a 16x64x64 clip.
        rings: maps energies to (B, 4, T'', H'', W''), of 1x7x7 positions for such a clip: the
            energy of motion as the unit prefers it around the ring, minus that of opposite motion.
    """

    def __init__(self, bank: tuple[EnergyUnit, ...], reverse_time: bool = False) -> None:
        super().__init__()
        key = AnswerKey(bank, tuple(_RINGS))
        self.key = _reversed(key) if reverse_time else key
        self.energy = MotionEnergy(bank, reverse_time)
        self.rings = Rings([bank.index(unit) for unit in RING_BANK])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return self.key.classes

    def forward(self, clips: Tensor) -> Tensor:
        """Return (B, K) outputs for normalised clips (B, 3, T, H, W)."""
        energy = self.energy(clips)
        rings = self.rings(energy)
        t, h, w = (size // 2 for size in rings.shape[2:])
        return torch.cat([energy.mean((2, 3, 4)), rings[:, :, t, h, w]], 1)


class MotionEnergy(nn.Module):
    """The local amplitude of each unit's drifting wave, independent of its phase.

    A drifting wave is the sum of two standing patterns, each multiplied by its own course in time.
    Each kernel is therefore a convolution over space followed by one over time.
    """

    def __init__(self, bank: tuple[EnergyUnit, ...], reverse_time: bool) -> None:
        super().__init__()
        count = len(bank)
        self.luminance = _Fixed(torch.tensor([LUMINANCE]).view(1, 3, 1, 1, 1))
        self.space = _Space(torch.cat([_standing(unit) for unit in bank]), stride=STRIDE)
        course = torch.cat([_course(unit) for unit in bank])
        self.time = _Time(course.flip(2) if reverse_time else course, groups=count)
        self.pair = _Fixed(torch.ones(count, 2, 1, 1, 1), groups=count)

    def forward(self, clips: Tensor) -> Tensor:
        """Return (B, units, T', H', W') amplitudes for clips (B, 3, T, H, W)."""
        waves = self.time(self.space(self.luminance(clips)))
        # The square root grows linearly with contrast. Without it, nearly grey clips, from which an
        # ascent starts, would have hardly any gradient.
        amplitude: Tensor = (self.pair(waves.square()) + FLOOR**2).sqrt() - FLOOR
        return amplitude


class _Fixed(nn.Conv3d):
    """A convolution with a fixed kernel, without padding; `stride` is over space only."""

    def __init__(self, weight: Tensor, stride: int = 1, groups: int = 1) -> None:
        outputs, inputs, frames, height, width = weight.shape
        super().__init__(
            inputs * groups,
            outputs,
            (frames, height, width),
            stride=(1, stride, stride),
            groups=groups,
            bias=False,
        )
        self.weight = nn.Parameter(weight.contiguous(), requires_grad=False)


class _Space(_Fixed):
    """A `_Fixed` convolution of each frame by itself, for clips of one channel.

    It makes the pixels of each block of stride x stride channels first, and is then one without a
    stride: torch's own backward pass is slow for a single channel with a stride.
    """

    def forward(self, clips: Tensor) -> Tensor:
        """Return (B, K, T, H', W') for clips (B, 1, T, H, W)."""
        step = self.stride[1]
        height, width = (size // step * step for size in clips.shape[3:])
        frames = clips[..., :height, :width].transpose(1, 2).flatten(0, 1)
        kernels = functional.pixel_unshuffle(self.weight.squeeze(2), step)
        maps = functional.conv2d(functional.pixel_unshuffle(frames, step), kernels)
        return maps.reshape(len(clips), -1, *maps.shape[1:]).transpose(1, 2)


class _Time(_Fixed):
    """A `_Fixed` convolution over time alone, in groups of channels.

    It is computed as one product of matrices: torch's own backward pass is slow for many groups.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, K, T', H, W) for maps (B, C, T, H, W)."""
        outputs, inputs, extent = self.weight.shape[:3]
        count, (height, width) = maps.shape[2], maps.shape[3:]
        kept = count - extent + 1
        kernels = self.weight.reshape(self.groups, -1, inputs, extent)
        matrix = self.weight.new_zeros(self.groups, outputs // self.groups, kept, inputs, count)
        for start in range(kept):
            matrix[:, :, start, :, start : start + extent] = kernels
        rows = maps.reshape(len(maps), self.groups, inputs * count, height * width)
        made: Tensor = matrix.view(self.groups, -1, inputs * count) @ rows
        return made.view(len(maps), outputs, kept, height, width)


class Rings(nn.Module):
    """Expansion, contraction and rotation, from the energies of eight directions on a ring."""

    channels: Tensor

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.register_buffer("channels", torch.tensor(channels))
        self.around = _Fixed(torch.stack([_ring(turn) for turn in _RINGS.values()]))

    def forward(self, energy: Tensor) -> Tensor:
        """Return (B, 4, T', H', W') for energy maps (B, units, T, H, W)."""
        maps: Tensor = self.around(energy[:, self.channels])
        return maps


def _bank(
    angles_deg: Numbers | None, speeds: Numbers | None, wavelengths: Numbers | None
) -> tuple[EnergyUnit, ...]:
    """Return the units asked for, followed by those of `RING_BANK` that are not among them."""
    if angles_deg is None and speeds is None and wavelengths is None:
        return DEFAULT_BANK
    every = [unit.direction_deg for unit in RING_BANK]
    columns = {
        "angles_deg": _column("angles_deg", every if angles_deg is None else angles_deg),
        "speeds": _column("speeds", 1.0 if speeds is None else speeds),
        "wavelengths": _column("wavelengths", 8.0 if wavelengths is None else wavelengths),
    }
    count = max(len(column) for column in columns.values())
    if any(len(column) not in (1, count) for column in columns.values()):
        sizes = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise ValueError(f"give lists of one length, or single numbers for all; lengths: {sizes}")
    rows = zip(*(column * (count // len(column)) for column in columns.values()), strict=True)
    asked = tuple(EnergyUnit(angle % 360, speed, length) for angle, speed, length in rows)
    for unit in asked:
        _check(unit)
    return (*asked, *(unit for unit in RING_BANK if unit not in asked))


def _column(name: str, given: Numbers) -> list[float]:
    numbers = [given] if isinstance(given, int | float) else list(given)
    if not numbers or not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"{name} takes a number or a list of numbers, not {given!r}")
    return [float(number) for number in numbers]


def _check(unit: EnergyUnit) -> None:
    if not math.isfinite(unit.direction_deg):
        raise ValueError("angles_deg must be finite")
    if not 0 <= unit.speed <= FASTEST:
        raise ValueError(f"speeds must lie in 0..{FASTEST:g} px/frame, not {unit.speed:g}")
    if not SHORTEST <= unit.wavelength <= EXTENT:
        bounds = f"{SHORTEST:g}..{EXTENT} px"
        raise ValueError(f"wavelengths must lie in {bounds}, not {unit.wavelength:g}")
    if unit.temporal_frequency > MOST_CYCLES:
        least = unit.speed / MOST_CYCLES
        raise ValueError(f"{unit.speed:g} px/frame needs wavelengths of {least:.1f} px or more")


def _reversed(key: AnswerKey) -> AnswerKey:
    """What the units respond to when their kernels are reversed in time."""
    energy = tuple(
        replace(unit, direction_deg=(unit.direction_deg + 180) % 360) if unit.speed > 0 else unit
        for unit in key.energy
    )
    opposite = {(unit.divergence, unit.curl): unit for unit in _RINGS}
    return AnswerKey(energy, tuple(opposite[-unit.divergence, -unit.curl] for unit in key.rings))


def _screen(direction_deg: float) -> tuple[float, float]:
    """The unit vector (x right, y down) of a direction in degrees."""
    angle = math.radians(direction_deg)
    return math.cos(angle), -math.sin(angle)


def _standing(unit: EnergyUnit) -> Tensor:
    """Return the spatial cosine and sine kernels (2, 1, 1, EXTENT, EXTENT), mean 0, norm 1."""
    axis = torch.arange(EXTENT, dtype=torch.float64) - (EXTENT - 1) / 2
    x, y = _screen(unit.direction_deg)
    phase = (x * axis + y * axis[:, None]) * (2 * math.pi / unit.wavelength)
    window = torch.exp(-(axis**2 + axis[:, None] ** 2) / (2 * SPREAD**2))
    cosine, sine = window * phase.cos(), window * phase.sin()
    # Subtract a multiple of the window, not a constant, so that the kernel fades out at its border.
    cosine = cosine - window * (cosine.sum() / window.sum())
    kernels = torch.stack([cosine / cosine.norm(), sine / sine.norm()])
    return kernels.view(2, 1, 1, EXTENT, EXTENT).float()


def _course(unit: EnergyUnit) -> Tensor:
    """Return temporal kernels (2, 2, FRAMES, 1, 1).

    They make the even and the odd drifting wave from the standing cosine and sine.
    """
    axis = torch.arange(FRAMES, dtype=torch.float64) - (FRAMES - 1) / 2
    window = torch.exp(-(axis**2) / (2 * DURATION**2))
    window /= window.norm()
    phase = 2 * math.pi * unit.temporal_frequency * axis
    cosine, sine = window * phase.cos(), window * phase.sin()
    # cos(kx - wt) = cos kx cos wt + sin kx sin wt; sin(kx - wt) = sin kx cos wt - cos kx sin wt
    even, odd = torch.stack([cosine, sine]), torch.stack([-sine, cosine])
    return torch.stack([even, odd]).view(2, 2, FRAMES, 1, 1).float()


def _ring(turn: float) -> Tensor:
    """Return the weight of each direction around the ring.

    `turn` is the angle, in degrees, from the outward direction to the preferred one. The shape is
    (8, RING_FRAMES, RING_EXTENT, RING_EXTENT).
    """
    axis = torch.arange(RING_EXTENT, dtype=torch.float64) - (RING_EXTENT - 1) / 2
    radius = torch.hypot(axis, axis[:, None])
    annulus = torch.exp(-((radius - RING_RADIUS) ** 2) / (2 * RING_WIDTH**2))
    wanted = torch.atan2(-axis[:, None].expand_as(radius), axis.expand_as(radius))
    directions = torch.tensor([unit.direction_deg for unit in RING_BANK], dtype=torch.float64)
    apart = wanted + math.radians(turn) - directions.deg2rad().view(8, 1, 1)
    # Each lobe is 90 degrees wide, and neighbouring lobes sum to 1: all places weigh the same.
    lobe = (2 * apart).cos().square() * (apart.cos().abs() > math.sqrt(0.5)) * apart.cos().sign()
    kernel = annulus * lobe
    kernel = kernel / kernel.clamp(min=0).sum() / RING_FRAMES
    return kernel.unsqueeze(1).expand(-1, RING_FRAMES, -1, -1).float()
