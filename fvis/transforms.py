"""Random views of a picture that a robust optimum must hold up in.

One resampling per step: each row has its own affine maps and noise, drawn up front from its own
stream, so no row depends on its batch mates and the device never waits for the host.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fvis.randomness import normal, uniform
from fvis.schema import TransformsConfig

WHOLE = (1.0, 1.0)  # the crop that is the whole picture
POOL_MARGIN = 32  # px by which a row's noise field exceeds its picture: 33^2 windows and 2 signs


class Transforms:
    """`views` random views per picture and step, all of the picture's own size.

    Crop side, position, rotation, flip, and for clips a shift and a stretch in time, become one
    affine map; out of the frame the picture is mirrored, out of the clip its ends stand. Each
    channel's contrast and brightness vary about mid-grey. Gaussian noise comes as randomly placed
    windows of a field drawn once per row. In the last `settle` share of the steps only the flip
    and `settle_noise` of the noise remain.
    """

    def __init__(
        self,
        config: TransformsConfig,
        generators: Sequence[Generator],
        steps: int,
        shape: tuple[int, ...],
        device: torch.device,
    ) -> None:
        self.views = config.views
        self._noise = config.noise
        self._settling_noise = config.noise * (config.settle_noise or 0.0)
        self._maps: Tensor | None = None
        draws = steps * config.views
        self._gains: Tensor | None = None
        self._settling = steps - round(steps * (config.settle or 0.0))
        if _moves(config):
            maps = affine_maps(config, uniform(generators, draws, 7), shape)
            settled = self._settling * config.views
            maps[:, settled:] = resting_maps(config, maps[:, settled:])
            self._maps = self._by_step(maps, steps).to(device)
        gain, offset = config.gain or 0.0, config.offset or 0.0
        if gain > 0 or offset > 0:
            numbers = 2 * uniform(generators, draws, 2, 3) - 1
            numbers = numbers[(...,) + (None,) * (len(shape) - 1)]
            self._gains = self._by_step((gain * numbers[:, :, 0]).exp(), steps).to(device)
            self._offsets = self._by_step(offset * numbers[:, :, 1], steps).to(device)
        if config.noise > 0:
            self._field = noise_field(generators, shape).to(device)
            places = (uniform(generators, draws, 2) * (POOL_MARGIN + 1)).long()
            signs = uniform(generators, draws).sub(0.5).sign()
            self._places = self._by_step(places, steps).to(device)
            self._signs = self._by_step(signs, steps).to(device)

    def __call__(self, rgb: Tensor, step: int) -> Tensor:
        """Views (B * views, 3, ...) of pictures (B, 3, ...) at `step`, row by row."""
        if self.views > 1:
            rgb = rgb.repeat_interleave(self.views, 0)
        if self._maps is not None:
            maps = self._maps[step]
            grid = functional.affine_grid(maps, list(rgb.shape), align_corners=False)
            if (
                rgb.dim() == 5
            ):  # before and after the clip its ends stand: mirrored, they would run back
                rest = 1 - 1 / rgb.shape[2]
                grid = torch.cat([grid[..., :2], grid[..., 2:].clamp(-rest, rest)], -1)
            rgb = functional.grid_sample(
                rgb, grid, mode="bilinear", padding_mode="reflection", align_corners=False
            )
        settling = step >= self._settling
        if self._gains is not None and not settling:
            rgb = (rgb - 0.5) * self._gains[step] + (0.5 + self._offsets[step])
        if self._noise > 0:
            noise = self._settling_noise if settling else self._noise
            rgb = rgb + noise * self._window(rgb.shape, step)
        return rgb

    def _by_step(self, draws: Tensor, steps: int) -> Tensor:
        """Draws (B, steps * views, ...) as (steps, B * views, ...)."""
        b, _, *rest = draws.shape
        by_view = draws.reshape(b, steps, self.views, *rest)
        return by_view.transpose(0, 1).reshape(steps, b * self.views, *rest)

    def _window(self, shape: torch.Size, step: int) -> Tensor:
        """Each view's noise: a window of its row's field, its sign drawn too."""
        b, _, *_, h, w = shape
        field = self._field.repeat_interleave(self.views, 0) if self.views > 1 else self._field
        places = self._places[step]
        y = places[:, 0, None] + torch.arange(h, device=field.device)
        x = places[:, 1, None] + torch.arange(w, device=field.device)
        rows = torch.arange(b, device=field.device)[:, None, None]
        window = field.movedim((-2, -1), (1, 2))[rows, y[:, :, None], x[:, None, :]]
        signs = self._signs[step].view(b, *[1] * (len(shape) - 1))
        return signs * window.movedim((1, 2), (-2, -1))


def noise_field(generators: Sequence[Generator], shape: tuple[int, ...]) -> Tensor:
    """Standard normal fields (B, 3, [T,] H + margin, W + margin)."""
    *leading, height, width = shape
    return normal(generators, *leading, height + POOL_MARGIN, width + POOL_MARGIN)


def affine_maps(config: TransformsConfig, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Maps (B, N, 2, 3), or (B, N, 3, 4) for clips, from uniform numbers (B, N, 7) in [0, 1).

    In `affine_grid`'s coordinates: x, y (and t) from -1 to 1 over the picture. Crops lie inside
    the picture, but for `shift` (a share of the side); rotation is about the crop's centre;
    pixels are square on frames that are not.
    """
    side, x, y, angle, flip, shift, stretch = numbers.unbind(-1)
    smallest, largest = config.crop or WHOLE
    side = smallest + (largest - smallest) * side
    x, y = ((2 * place - 1) * (1 - side + 2 * config.shift) for place in (x, y))
    angle = (2 * angle - 1) * math.radians(config.rotate or 0.0)
    mirrored = config.flip and len(shape) == 3  # a mirrored clip would move the other way
    mirror = torch.where(flip < 0.5, -1.0, 1.0) if mirrored else torch.ones_like(side)
    aspect = shape[-1] / shape[-2]
    cos, sin, zero = side * angle.cos(), side * angle.sin(), torch.zeros_like(side)
    if len(shape) == 3:
        rows = [cos * mirror, -sin / aspect, x, sin * aspect * mirror, cos, y]
        return torch.stack(rows, -1).reshape(*side.shape, 2, 3)
    moved = (2 * shift - 1) * config.time_shift * 2 / shape[1]
    speed = 1 + (2 * stretch - 1) * config.time_scale
    rows = [cos * mirror, -sin / aspect, zero, x, sin * aspect * mirror, cos, zero, y]
    rows += [zero, zero, speed, moved]
    return torch.stack(rows, -1).reshape(*side.shape, 3, 4)


def resting_maps(config: TransformsConfig, maps: Tensor) -> Tensor:
    """`maps` (..., 2, 3) or (..., 3, 4) without crop, shift and rotation; flips stay."""
    rest = torch.eye(maps.shape[-2], maps.shape[-1], dtype=maps.dtype).expand_as(maps).clone()
    rest[..., 0, 0] = maps[..., 0, 0].sign() if config.flip else 1.0
    return rest


def _moves(config: TransformsConfig) -> bool:
    settings = (config.shift, config.rotate, config.flip, config.time_shift, config.time_scale)
    return tuple(config.crop or WHOLE) != WHOLE or any(settings)
