"""Draws the clips that the embedded video network is trained on; training is left to `train`.

A clip shows one coloured texture that moves as its class says. The texture, its speed, the centre
that it grows or turns about, its contrast and the noise are random. They have the same
distribution for every class, so that no single frame reveals the class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

FRAMES = 16
SIZE = 64
"""Height and width of every clip, pixels."""

DIRECTIONS = ("right", "up right", "up", "up left", "left", "down left", "down", "down right")
"""Classes of uniform motion: the i-th moves 45 * i degrees counter-clockwise from right."""

CLASSES = (
    *DIRECTIONS,
    "still",
    "expanding",
    "contracting",
    "clockwise",
    "counterclockwise",
    "flicker",
)
"""Class names in the order of the network's logits."""

# Height and width of the texture, pixels: so large that no steady motion gets past its border.
_CANVAS = 128
_SPEED = (0.5, 2.5)  # pixels per frame
_JITTER = 12.0  # degrees, the largest deviation from the class's direction
_TURN = (0.02, 0.06)  # radians per frame
_GROWTH = (0.015, 0.04)  # relative change of size per frame
_REACH = 6.0  # pixels per axis, from the middle to the centre that textures grow and turn about


@dataclass(frozen=True)
class Motion:
    """The steady motion of each row's texture, which is at its own place halfway through the clip.

    Attributes:
        velocity: (B, 2) pixels per frame, x right, y down.
        turn: (B,) radians per frame, clockwise on the screen.
        growth: (B,) natural logarithm of the factor by which the size grows per frame.
        centre: (B, 2) the point that it turns and grows about, pixels right and down of the middle.
    """

    velocity: Tensor
    turn: Tensor
    growth: Tensor
    centre: Tensor


def draw_labels(count: int, generator: torch.Generator) -> Tensor:
    """Return `count` class indices, (B,) int64, every class equally likely."""
    return torch.randint(len(CLASSES), (count,), generator=generator)


def draw(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one clip per label.

    Args:
        labels: (B,) int64 indices into `CLASSES`, with B at least 1.
        generator: the only source of randomness; it is advanced.

    Returns:
        (B, 3, FRAMES, SIZE, SIZE) RGB float32 in [0, 1].

    Raises:
        IndexError: a label is not in `range(len(CLASSES))`.
    """
    if bool(((labels < 0) | (labels >= len(CLASSES))).any()):
        raise IndexError(f"labels must lie in 0..{len(CLASSES) - 1}")
    canvas = draw_textures(len(labels), generator)
    places = places_seen(draw_motion(labels, generator))
    flickering = labels == CLASSES.index("flicker")
    jumping, reversing = _halves(flickering, generator)
    places = torch.where(jumping.view(-1, 1, 1, 1), _jumps(len(labels), generator), places)
    clips = _shown(canvas, places)
    sign = torch.where(reversing.view(-1, 1), _reversals(len(labels), generator), 1.0)
    clips = clips * sign.view(-1, 1, FRAMES, 1, 1)
    level = _uniform((len(labels), 3, 1, 1, 1), 0.35, 0.65, generator)
    deviation = _uniform((len(labels), 1, 1, 1, 1), 0.0, 0.05, generator)
    noise = torch.randn(clips.shape, generator=generator)
    return (level + clips + deviation * noise).clamp(0, 1)


def draw_motion(labels: Tensor, generator: torch.Generator) -> Motion:
    """Draw a motion of each label's class; all zero for `still` and `flicker`."""
    count, classes = len(labels), len(CLASSES)
    # All numbers are drawn for all rows, so that no row's class affects the numbers of another.
    speed = _uniform((count,), *_SPEED, generator)
    jitter = _uniform((count,), -_JITTER, _JITTER, generator)
    turn = _uniform((count,), *_TURN, generator)
    growth = _uniform((count,), *_GROWTH, generator).log1p()
    centre = _uniform((count, 2), -_REACH, _REACH, generator)
    angle = torch.deg2rad(45.0 * labels + jitter)
    towards = torch.stack([angle.cos(), -angle.sin()], 1)
    sign = torch.zeros(3, classes)
    sign[0, : len(DIRECTIONS)] = 1
    for row, forth, back in ((1, "clockwise", "counterclockwise"), (2, "expanding", "contracting")):
        sign[row, CLASSES.index(forth)], sign[row, CLASSES.index(back)] = 1, -1
    moving, turning, growing = sign[:, labels]
    velocity = (moving * speed).unsqueeze(1) * towards
    return Motion(velocity, turning * turn, growing * growth, centre)


def places_seen(motion: Motion) -> Tensor:
    """Return where in the texture the pixels of each frame are looked up.

    Returns:
        (B, FRAMES, 2, 3): affine maps from a pixel (x, y, 1), in pixels from the middle of the
        frame, to the place in the texture that it shows, in pixels from the texture's middle.
    """
    time = torch.arange(FRAMES) - (FRAMES - 1) / 2
    angle, shrunk = motion.turn[:, None] * time, (-motion.growth[:, None] * time).exp()
    cosine, sine = angle.cos() * shrunk, angle.sin() * shrunk
    # Lookup is the inverse of the motion: counter-clockwise for a texture that turns clockwise.
    linear = torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)
    centre = motion.centre[:, None, :, None]
    moved = (motion.velocity[:, None] * time[:, None]).unsqueeze(-1)
    return torch.cat([linear, centre - linear @ (centre + moved)], -1)


def draw_textures(count: int, generator: torch.Generator) -> Tensor:
    """Return coloured textures (B, 3, 128, 128), mean 0: mixtures of clouds, plaids and discs."""
    clouds = _clouds(count, generator)
    plaids = _plaids(count, generator)
    discs = _discs(count, generator)
    share = _uniform((3, count, 1, 1), 0.0, 1.0, generator)
    # Every mixture has clouds: a plaid alone looks the same after moving by one wavelength.
    mixture = (0.3 + share[0]) * clouds + share[1] ** 2 * plaids + share[2] ** 2 * discs
    mixture = _unit(mixture).unsqueeze(1)
    tint = torch.randn(count, 3, 1, 1, generator=generator)
    tint = _unit_rows(_uniform((count, 1, 1, 1), 0.0, 1.0, generator) * tint + 1)
    second = torch.randn(count, 3, 1, 1, generator=generator)
    colour = _uniform((count, 1, 1, 1), 0.0, 0.6, generator) * _unit_rows(second)
    contrast = _uniform((count, 1, 1, 1), 0.08, 0.3, generator)
    return contrast * (tint * mixture + colour * _clouds(count, generator).unsqueeze(1))


def _clouds(count: int, generator: torch.Generator) -> Tensor:
    """Smooth noise (B, 128, 128): several scales added with random weights."""
    clouds = torch.zeros(count, _CANVAS, _CANVAS)
    for cells in (8, 16, 32, 48):
        coarse = torch.randn(count, 1, cells, cells, generator=generator)
        fine = functional.interpolate(coarse, (_CANVAS, _CANVAS), mode="bicubic")
        clouds += _uniform((count, 1, 1), 0.0, 1.0, generator) * fine[:, 0]
    return _unit(clouds)


def _plaids(count: int, generator: torch.Generator) -> Tensor:
    """Two crossing waves (B, 128, 128), 50 to 90 degrees apart, so that all motion is visible."""
    axis = torch.arange(_CANVAS) - (_CANVAS - 1) / 2
    first = _uniform((count, 1, 1), 0.0, 2 * math.pi, generator)
    apart = _uniform((count, 1, 1), 50.0, 90.0, generator)
    waves = torch.zeros(count, _CANVAS, _CANVAS)
    for angle in (first, first + torch.deg2rad(apart)):
        pace = 2 * math.pi / _uniform((count, 1, 1), 6.0, 20.0, generator)
        phase = _uniform((count, 1, 1), 0.0, 2 * math.pi, generator)
        waves += torch.sin(pace * (angle.cos() * axis + angle.sin() * axis[:, None]) + phase)
    edge = _uniform((count, 1, 1), 1.0, 4.0, generator)
    return _unit(torch.tanh(edge * waves))


def _discs(count: int, generator: torch.Generator) -> Tensor:
    """Soft discs (B, 128, 128), light and dark, with radii of 3 to 9 pixels, at random places."""
    axis = torch.arange(_CANVAS) - (_CANVAS - 1) / 2
    field = torch.zeros(count, _CANVAS, _CANVAS)
    for _ in range(12):
        right, down = _uniform((2, count, 1, 1), -_CANVAS / 2, _CANVAS / 2, generator)
        radius = _uniform((count, 1, 1), 3.0, 9.0, generator)
        shade = torch.randn(count, 1, 1, generator=generator)
        distance = torch.hypot(axis - right, axis[:, None] - down)
        field = torch.lerp(field, shade.expand_as(field), (0.5 + radius - distance).clamp(0, 1))
    return _unit(field)


def _shown(canvas: Tensor, places: Tensor) -> Tensor:
    """Return clips (B, 3, T, H, W): textures looked up at `places` (B, T, 2, 3) of each frame."""
    b, t = places.shape[:2]
    # From pixels to the coordinates of `grid_sample`, in which half a side is 1.
    scale = torch.tensor([SIZE / _CANVAS, SIZE / _CANVAS, 2 / _CANVAS])
    grid = functional.affine_grid(
        (places * scale).flatten(0, 1), [b * t, 1, SIZE, SIZE], align_corners=False
    )
    # A clip's frames are sampled as one tall picture, so its texture need not be copied per frame.
    tall = functional.grid_sample(
        canvas, grid.view(b, t * SIZE, SIZE, 2), padding_mode="reflection", align_corners=False
    )
    return tall.view(b, 3, t, SIZE, SIZE)


def _halves(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split a boolean selection (B,) of rows into two at random."""
    first = torch.rand(len(rows), generator=generator) < 0.5
    return rows & first, rows & ~first


def _jumps(count: int, generator: torch.Generator) -> Tensor:
    """Random places (B, FRAMES, 2, 3): each frame shows another part of the texture."""
    offset = _uniform((count, FRAMES, 2, 1), -28.0, 28.0, generator)
    angle = _uniform((count, FRAMES), 0.0, 2 * math.pi, generator)
    cosine, sine = angle.cos(), angle.sin()
    linear = torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)
    return torch.cat([linear, offset], -1)


def _reversals(count: int, generator: torch.Generator) -> Tensor:
    """Signs (B, FRAMES), 1 or -1, that change every one to three frames."""
    period = torch.randint(1, 4, (count, 1), generator=generator)
    late = torch.randint(0, 6, (count, 1), generator=generator)
    halves = torch.div(torch.arange(FRAMES) + late, period, rounding_mode="floor")
    return 1.0 - 2.0 * (halves % 2)


def _unit(field: Tensor) -> Tensor:
    """Scale and shift each (H, W) field to mean 0 and standard deviation 1."""
    deviation, mean = torch.std_mean(field, (-2, -1), keepdim=True)
    return (field - mean) / deviation


def _unit_rows(colour: Tensor) -> Tensor:
    """Scale each RGB vector (B, 3, 1, 1) to a mean square of 1."""
    return colour / colour.square().mean(1, keepdim=True).sqrt()


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)
