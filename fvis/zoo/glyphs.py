"""Draws the pictures that the embedded image networks are trained on; training is left to `train`.

A glyph is one shape filled with one texture. It is upright to within a few degrees, and so large
that a network has to look at its outline. Position, size, background, scattered small shapes and
noise are random, so that they do not reveal the class. Colours are random too, but each texture
has its usual hues.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 64
"""Height and width of every picture, pixels."""


@dataclass(frozen=True)
class Grid:
    """The coordinates of a batch's pixels, in each row's own shifted and rotated frame.

    Attributes:
        right: (B, H, W) pixels to the right of the row's centre.
        down: (B, H, W) pixels below the row's centre.
    """

    right: Tensor
    down: Tensor


# Signed distances (B, H, W) to the outline of a shape of radius 1, negative inside.


def _disc(right: Tensor, down: Tensor) -> Tensor:
    return torch.hypot(right, down) - 0.92


def _triangle(right: Tensor, down: Tensor) -> Tensor:
    slanted = right.abs() * math.cos(math.pi / 6) - down * math.sin(math.pi / 6)
    # The apex points up. All three sides are 0.65 from a centroid 0.2 below the origin, which
    # puts the bounding box, not the centroid, in the middle.
    return torch.maximum(slanted - 0.1, down - 0.2 - 0.2) - 0.45


def _cross(right: Tensor, down: Tensor) -> Tensor:
    across, along = right.abs(), down.abs()
    horizontal = torch.maximum(across - 1.0, along - 0.36)
    vertical = torch.maximum(across - 0.36, along - 1.0)
    return torch.minimum(horizontal, vertical)


def _ring(right: Tensor, down: Tensor) -> Tensor:
    return (torch.hypot(right, down) - 0.72).abs() - 0.28


# Textures (B, H, W): 0 for the first colour, 1 for the second. Arguments are phases in radians.


def _plain(right: Tensor, down: Tensor) -> Tensor:
    return torch.zeros_like(right + down)


def _striped(right: Tensor, down: Tensor) -> Tensor:
    return _edge(torch.sin(down) + 0 * right)


def _dotted(right: Tensor, down: Tensor) -> Tensor:
    return _edge(torch.cos(right) + torch.cos(down) - 0.5)


def _edge(wave: Tensor) -> Tensor:
    # At the wavelengths used, edges are about two pixels wide, which avoids aliasing.
    return torch.sigmoid(5 * wave)


SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disc": _disc,
    "triangle": _triangle,
    "cross": _cross,
    "ring": _ring,
}
TEXTURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "plain": _plain,
    "striped": _striped,
    "dotted": _dotted,
}
# The two hues (degrees) that a texture mostly has: a hint at the class, as colours are in nature.
HUES = {"plain": (120.0, 120.0), "striped": (50.0, 0.0), "dotted": (225.0, 185.0)}
HUE_KEPT = 0.75
"""Share of the glyphs that have their texture's own hues; the others have random hues."""

CLASSES = tuple(f"{texture} {shape}" for shape in SHAPES for texture in TEXTURES)
"""Class names in the order of the networks' logits."""


def draw_labels(count: int, generator: torch.Generator) -> Tensor:
    """Return `count` class indices, (B,) int64, every class equally likely."""
    return torch.randint(len(CLASSES), (count,), generator=generator)


def draw(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one picture per label.

    Args:
        labels: (B,) int64 indices into `CLASSES`.
        generator: the only source of randomness; it is advanced.

    Returns:
        (B, 3, SIZE, SIZE) RGB float32 in [0, 1].

    Raises:
        IndexError: a label is not in `range(len(CLASSES))`.
    """
    _check(labels)
    pictures = _background(len(labels), generator)
    for _ in range(3):
        pictures = _with_speck(pictures, generator)
    pictures = _with_glyph(pictures, labels, generator)
    deviation = _uniform(len(labels), 0.0, 0.06, generator).view(-1, 1, 1, 1)
    noise = torch.randn(pictures.shape, generator=generator)
    return (pictures + deviation * noise).clamp(0, 1)


def draw_clean(labels: Tensor, generator: torch.Generator) -> Tensor:
    """As `draw`, with soft clouds alone behind the glyph: no texture, small shapes or noise."""
    _check(labels)
    coarse = functional.adaptive_avg_pool2d(_background(len(labels), generator), 2)
    clouds = functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic")
    return _with_glyph(clouds, labels, generator).clamp(0, 1)


def _check(labels: Tensor) -> None:
    if bool(((labels < 0) | (labels >= len(CLASSES))).any()):
        raise IndexError(f"labels must lie in 0..{len(CLASSES) - 1}")


def _with_glyph(pictures: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    count, shapes, textures = len(labels), labels // len(TEXTURES), labels % len(TEXTURES)
    grid = _grid(count, reach=8.0, tilt=12.0, generator=generator)
    radius = _uniform(count, 17.0, 24.0, generator)
    cover = _cover(shapes, grid, radius)
    fill = _fill(textures, _tilted(grid, 15.0, generator), 7.0, 10.0, generator)
    return _painted(pictures, cover, fill, _glyph_colours(textures, generator))


def _with_speck(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Add a shape, too small to be taken for the glyph, to half of the pictures."""
    count = len(pictures)
    shapes = torch.randint(len(SHAPES), (count,), generator=generator)
    textures = torch.randint(len(TEXTURES), (count,), generator=generator)
    grid = _grid(count, reach=32.0, tilt=180.0, generator=generator)
    present = (torch.rand(count, generator=generator) < 0.5).float().view(-1, 1, 1)
    cover = _cover(shapes, grid, _uniform(count, 3.0, 7.0, generator)) * present
    fill = _fill(textures, grid, 4.0, 8.0, generator)
    return _painted(pictures, cover, fill, _glyph_colours(textures, generator))


def _painted(pictures: Tensor, cover: Tensor, fill: Tensor, colours: Tensor) -> Tensor:
    """Paint colours (B, 2, 3), mixed by `fill`, over the pictures with opacity `cover`."""
    first, second = colours[:, 0, :, None, None], colours[:, 1, :, None, None]
    paint = torch.lerp(first, second, fill.unsqueeze(1))
    return torch.lerp(pictures, paint, cover.unsqueeze(1))


def _cover(shapes: Tensor, grid: Grid, radius: Tensor) -> Tensor:
    """Return the fraction (B, H, W) of each pixel that the shape covers."""
    radius = radius.view(-1, 1, 1)
    right, down = grid.right / radius, grid.down / radius
    cover = torch.empty_like(right)
    for index, distance in enumerate(SHAPES.values()):
        rows = shapes == index
        cover[rows] = (0.5 - distance(right[rows], down[rows]) * radius[rows]).clamp(0, 1)
    return cover


def _fill(
    textures: Tensor, grid: Grid, shortest: float, longest: float, generator: torch.Generator
) -> Tensor:
    """Return textures (B, H, W) in [0, 1] with wavelengths of `shortest` to `longest` pixels."""
    count = len(textures)
    pace = 2 * math.pi / _uniform(count, shortest, longest, generator).view(-1, 1, 1)
    phase = _uniform(2 * count, 0.0, 2 * math.pi, generator).view(2, -1, 1, 1)
    right, down = grid.right * pace + phase[0], grid.down * pace + phase[1]
    fill = torch.empty_like(right)
    for index, texture in enumerate(TEXTURES.values()):
        rows = textures == index
        fill[rows] = texture(right[rows], down[rows])
    return fill


def _background(count: int, generator: torch.Generator) -> Tensor:
    """Return soft coloured clouds (B, 3, H, W) in [0, 1] with a faint texture all over them."""
    clouds = torch.zeros(count, 3, SIZE, SIZE)
    for cells, strength in ((2, 0.22), (5, 0.12), (16, 0.05)):
        coarse = torch.randn(count, 3, cells, cells, generator=generator) * strength
        clouds += functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic")
    grey = clouds.mean(1, keepdim=True)
    saturation = _uniform(count, 0.0, 1.0, generator).view(-1, 1, 1, 1)
    level = _uniform(count, 0.25, 0.75, generator).view(-1, 1, 1, 1)
    textures = torch.randint(len(TEXTURES), (count,), generator=generator)
    grid = _grid(count, reach=32.0, tilt=180.0, generator=generator)
    pattern = _fill(textures, grid, 6.0, 14.0, generator).unsqueeze(1) - 0.5
    contrast = _uniform(count, -0.2, 0.2, generator).view(-1, 1, 1, 1)
    return (level + torch.lerp(grey, clouds, saturation) + contrast * pattern).clamp(0, 1)


def _glyph_colours(textures: Tensor, generator: torch.Generator) -> Tensor:
    """Return a light and a dark RGB colour (B, 2, 3), mostly in the texture's own hues."""
    count = len(textures)
    own = torch.tensor([HUES[name] for name in TEXTURES])[textures]
    any_hue = _uniform(2 * count, 0.0, 360.0, generator).view(count, 2)
    jitter = 14.0 * torch.randn(count, 2, generator=generator)
    kept = (torch.rand(count, 1, generator=generator) < HUE_KEPT).float()
    hue = torch.lerp(any_hue, own, kept) + jitter
    saturation = _uniform(2 * count, 0.6, 1.0, generator).view(count, 2)
    light = _uniform(count, 0.75, 1.0, generator)
    dark = _uniform(count, 0.15, 0.45, generator)
    # Swap the two colours at random, except for plain glyphs, which show only the first.
    swapped = torch.rand(count, generator=generator) < 0.5
    swapped &= textures != list(TEXTURES).index("plain")
    colours = _rgb(hue, saturation, torch.stack([light, dark], 1))
    return torch.where(swapped.view(-1, 1, 1), colours.flip(1), colours)


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Convert hue (degrees, any), saturation and value in [0, 1] to RGB in a new last axis."""
    sector = (torch.tensor([5.0, 3.0, 1.0]) + hue.unsqueeze(-1) / 60) % 6
    falloff = torch.minimum(sector, 4 - sector).clamp(0, 1)
    return value.unsqueeze(-1) * (1 - saturation.unsqueeze(-1) * falloff)


def _grid(count: int, reach: float, tilt: float, generator: torch.Generator) -> Grid:
    """Return pixel coordinates about random centres, rotated at random.

    Centres are within `reach` pixels of the middle per axis, angles within `tilt` degrees.
    """
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    centre = _uniform(2 * count, -reach, reach, generator).view(2, count, 1, 1)
    right = (axis.view(1, 1, -1) - centre[0]).expand(count, SIZE, SIZE)
    down = (axis.view(1, -1, 1) - centre[1]).expand(count, SIZE, SIZE)
    return _tilted(Grid(right, down), tilt, generator)


def _tilted(grid: Grid, tilt: float, generator: torch.Generator) -> Grid:
    """Rotate each row by a random angle of up to `tilt` degrees either way."""
    angle = torch.deg2rad(_uniform(len(grid.right), -tilt, tilt, generator)).view(-1, 1, 1)
    cosine, sine = angle.cos(), angle.sin()
    return Grid(grid.right * cosine + grid.down * sine, grid.down * cosine - grid.right * sine)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)
