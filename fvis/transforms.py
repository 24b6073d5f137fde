"""Random views of a picture: the unit's activation is maximized over them, for robust optima.

All affine maps and all noise are drawn before the first step, each row's from its own generator.
So no row depends on the others of its batch, and the device never waits for the host. A view
resamples the picture only once.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fvis.errors import described
from fvis.randomness import normal, uniform
from fvis.schema import TransformsConfig

WHOLE = (1.0, 1.0)  # `crop` setting that keeps the whole picture
# The codes of `torch.grid_sampler_2d`: bilinear, mirrored beyond the edges, corners not aligned.
_SAMPLING = (0, 2, False)
NOISE_MARGIN = 32  # px that noise fields exceed the picture by: 33^2 window positions times 2 signs


class Transforms:
    """Makes `config.views` random views per picture and step, of the same size as the picture.

    A view is made in three stages:
      1. One affine map combines crop, shift, rotation and flip, for clips also a shift and stretch
         in time. Outside the frame the picture is mirrored; before and after a clip its first and
         last frame are repeated.
      2. The contrast of each colour channel, about mid-grey, and its brightness are changed.
      3. Gaussian noise is added: a randomly placed window, with a random sign, of a noise field
         that is drawn once per row.
    Values that this takes out of [0, 1] are clamped, but their gradient passes (`clamp_values`).
    In the last `config.settle` share of the steps only the flip remains, and `config.settle_noise`
    times the noise.

    Args:
        config: the settings, explained in `configs/transforms/natural.yaml`.
        generators: one per row; row b is drawn by generator b.
        steps: number of steps that the views are drawn for.
        shape: of one picture, (3, H, W), or of one clip, (3, T, H, W).
        device: where the pictures are.
        periodic: whether pictures go on beyond their edges with their other side. Views are then
            taken from anywhere in them.
    """

    def __init__(
        self,
        config: TransformsConfig,
        generators: Sequence[Generator],
        steps: int,
        shape: tuple[int, ...],
        device: torch.device,
        *,
        periodic: bool = False,
    ) -> None:
        self.views = config.views
        self._periodic = periodic
        self._noise = config.noise
        self._settling_noise = config.noise * (config.settle_noise or 0.0)
        self._maps: Tensor | None = None
        draws = steps * config.views
        self._gains: Tensor | None = None
        self._counter: Tensor | None = None
        self._settles_at = steps - round(steps * (config.settle or 0.0))
        if _moves(config) or periodic:
            numbers = uniform(generators, draws, 7)
            maps = affine_maps(config, numbers, shape)
            settled = self._settles_at * config.views
            maps[:, settled:] = resting_maps(config, maps[:, settled:])
            if periodic:
                maps[..., -1] = 2 * numbers[..., 1:3] - 1
            self._maps = self._by_step(maps, steps).to(device)
        gain, offset = config.gain or 0.0, config.offset or 0.0
        if gain > 0 or offset > 0:
            numbers = 2 * uniform(generators, draws, 2, 3) - 1
            numbers = numbers[(...,) + (None,) * (len(shape) - 1)]
            gains = (gain * numbers[:, :, 0]).exp()
            offsets = offset * numbers[:, :, 1] + 0.5 * (1 - gains)  # so grey remains grey
            self._gains = self._by_step(gains, steps).to(device)
            self._offsets = self._by_step(offsets, steps).to(device)
        if config.noise > 0:
            self._field = noise_field(generators, shape).to(device)
            places = (uniform(generators, draws, 2) * (NOISE_MARGIN + 1)).long()
            signs = uniform(generators, draws).sub(0.5).sign()
            self._places = self._by_step(places, steps).to(device)
            self._signs = self._by_step(signs, steps).to(device)

    def __call__(self, rgb: Tensor, step: int) -> Tensor:
        """The views (B * views, 3, ...) of pictures (B, 3, ...) in [0, 1] at `step`.

        The views of one picture follow one another. They are in [0, 1] too.
        """
        pictures = rgb
        if self.views > 1:
            rgb = rgb.repeat_interleave(self.views, 0)
        if self._maps is not None:
            rgb = _resampled(rgb, self._at(self._maps, step), self._periodic)
        settling = step >= self._settles_at
        if self._gains is not None and not settling:
            gains, offsets = self._at(self._gains, step), self._at(self._offsets, step)
            rgb = torch.addcmul(offsets, rgb, gains)
        if self._noise > 0:
            signs, windows = self._window(rgb.shape, step)
            noise = self._settling_noise if settling else self._noise
            rgb = torch.addcmul(rgb, noise * signs, windows)
        return rgb if rgb is pictures else clamp_values(rgb)

    def phase(self, step: int) -> int:
        """0 until the views settle, then 1: views of one phase differ in their draws alone."""
        return int(step >= self._settles_at)

    def follow(self, counter: Tensor) -> None:
        """Look draws up by `counter` (1,) from now on; of `step` only the phase still counts."""
        self._counter = counter

    def _at(self, draws: Tensor, step: int) -> Tensor:
        """The draws (B * views, ...) of a step."""
        if self._counter is None:
            return draws[step]
        return draws.index_select(0, self._counter)[0]

    def _by_step(self, draws: Tensor, steps: int) -> Tensor:
        """Reorder draws from (B, steps * views, ...) to (steps, B * views, ...)."""
        b, _, *rest = draws.shape
        by_view = draws.reshape(b, steps, self.views, *rest)
        return by_view.transpose(0, 1).reshape(steps, b * self.views, *rest)

    def _window(self, shape: torch.Size, step: int) -> tuple[Tensor, Tensor]:
        """The noise of each view: a random sign, and a window of its row's field."""
        b, _, *_, h, w = shape
        windows = self._field.unfold(-2, h, 1).unfold(-2, w, 1)  # (B, 3, [T,] y, x, h, w), no copy
        y, x = self._at(self._places, step).unbind(1)
        signs = self._at(self._signs, step).view(b, *[1] * (len(shape) - 1))
        rows = torch.arange(b, device=windows.device) // self.views
        return signs, windows[rows, ..., y, x, :, :]


class PairedViews:
    """The same random views of pictures, and of the photographs (B, 3, H, W) beside them.

    `beside` has the photographs' views (B * views, 3, H, W) at the last step.
    """

    def __init__(self, transforms: Transforms, photographs: Tensor) -> None:
        self.views = transforms.views
        self._transforms, self._photographs = transforms, photographs
        self.beside = photographs

    def __call__(self, rgb: Tensor, step: int) -> Tensor:
        """Views (B * views, 3, H, W) of pictures (B, 3, H, W)."""
        self.beside = self._transforms(self._photographs, step)
        return self._transforms(rgb, step)


def _resampled(rgb: Tensor, maps: Tensor, periodic: bool) -> Tensor:
    """Pictures or clips (N, 3, ...) as their affine maps show them; see `affine_maps`.

    All frames of a clip are resampled alike in space, as if they were channels of one picture.
    """
    if rgb.dim() == 5:
        rgb = _retimed(rgb, maps[:, 2, 2], maps[:, 2, 3])
    grid = _grid(maps, rgb.shape)
    channels = rgb.flatten(1, -3)
    if periodic:
        channels, grid = _wrapped(channels, grid)
    seen: Tensor = _Sampled.apply(channels, grid)
    return seen.view_as(rgb)


class _Sampled(torch.autograd.Function):
    """Pictures (N, C, H, W) as `grid_sample` shows them at the places of a grid (N, H, W, 2).

    Only the pictures have a gradient, the very one that `grid_sample` gives. For that of the grid,
    torch on the CPU looks up every pixel, even where nobody wants it. The pictures' own gradient
    does not depend on their pixels, so a single zero stands for all of them, which is faster.
    """

    @staticmethod
    def forward(ctx: Any, channels: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = channels.shape
        return torch.grid_sampler_2d(channels, grid, *_SAMPLING)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        pixels = gradients[0].new_zeros(()).expand(ctx.shape)
        backward = torch.ops.aten.grid_sampler_2d_backward
        return backward(gradients[0], pixels, grid, *_SAMPLING, [True, False])[0], None


def unsupported(device: torch.device) -> str | None:
    """Why torch cannot make views on a device, or no gradient passes them; None where all works.

    On Apple's GPUs it does not work with every version of torch.
    """
    try:
        rgb = torch.zeros(1, 3, 4, 4, device=device, requires_grad=True)
        seen = _resampled(rgb, torch.eye(2, 3, device=device)[None], periodic=False)
        torch.autograd.grad(seen.sum(), rgb)
    except RuntimeError as error:  # NotImplementedError is one
        return described(error)
    return None


def _grid(maps: Tensor, shape: torch.Size) -> Tensor:
    """The places (N, H, W, 2) that views of a shape (N, 3, ..., H, W) show, as `grid_sample` wants.

    It is what `affine_grid` gives, by two sums instead of products of small matrices.
    """
    y, x = ((2 * torch.arange(n, device=maps.device) + 1) / n - 1 for n in shape[-2:])
    across, down, moved = (maps[:, :2, column, None, None] for column in (0, 1, -1))
    grid = (across * x + moved) + down * y[:, None]
    return grid.permute(0, 2, 3, 1)


def _wrapped(channels: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Periodic pictures (N, C, H, W) with one more row and column, and a grid that stays in them.

    Both are as `grid_sample` takes them, with corners not aligned.
    """
    axes = []
    for axis, length in zip(grid.unbind(-1), (channels.shape[-1], channels.shape[-2]), strict=True):
        places = (((axis + 1) * length - 1) / 2).remainder(length)  # px, from 0
        axes.append((2 * places + 1) / (length + 1) - 1)
    return functional.pad(channels, (0, 1, 0, 1), mode="circular"), torch.stack(axes, -1)


def _retimed(clips: Tensor, speed: Tensor, moved: Tensor) -> Tensor:
    """Clips (N, 3, T, H, W) whose frame at time z in [-1, 1] is the one at speed z + moved (N,).

    Between frames they are interpolated. Before the first frame and after the last one these stand:
    if time were mirrored, the clip would run backwards there.
    """
    t = clips.shape[2]
    frame = torch.arange(t, device=clips.device)
    time = (2 * frame + 1) / t - 1
    asked = ((speed[:, None] * time + moved[:, None] + 1) * t - 1) / 2
    # Linear interpolation: a frame's share falls from 1 to 0 within a distance of one frame.
    share = (1 - (asked.clamp(0, t - 1)[:, :, None] - frame).abs()).clamp_min(0).to(clips)
    return torch.einsum("nts,ncshw->ncthw", share, clips)


class _Clamped(torch.autograd.Function):
    """Values clamped to [0, 1], with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def clamp_values(rgb: Tensor) -> Tensor:
    """RGB clamped to [0, 1], with the gradient of the identity.

    The gradient of a clamp is zero outside of [0, 1]: a black or white pixel that noise takes there
    would hardly learn. This is the straight-through estimator (Bengio et al. 2013).

    >>> rgb = torch.tensor([-0.5, 0.5, 1.5], requires_grad=True)
    >>> clamped = clamp_values(rgb)
    >>> clamped.tolist()
    [0.0, 0.5, 1.0]
    >>> torch.autograd.grad(clamped.sum(), rgb)[0].tolist()
    [1.0, 1.0, 1.0]
    """
    clamped: Tensor = _Clamped.apply(rgb)
    return clamped


def noise_field(generators: Sequence[Generator], shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (B, 3, [T,] H', W'), `NOISE_MARGIN` larger; row b by generator b."""
    *leading, height, width = shape
    return normal(generators, *leading, height + NOISE_MARGIN, width + NOISE_MARGIN)


def affine_maps(config: TransformsConfig, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Affine maps from uniform random numbers (B, N, 7) in [0, 1), as `affine_grid` takes them.

    They are (B, N, 2, 3), or (B, N, 3, 4) for clips, and map the view's coordinates to the
    picture's: x, y (and t) from -1 to 1. Before rotation, crops lie inside the picture, or reach
    beyond it by up to `config.shift` of its side. Rotation is about the crop's centre, by up to
    `config.rotate` degrees either way, and does not distort frames that are not square.

    >>> unchanged = affine_maps(TransformsConfig(), torch.rand(1, 1, 7), (3, 8, 8))
    >>> torch.equal(unchanged[0, 0], torch.eye(2, 3))
    True
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
    """Identity maps that keep only the flips of `maps`, (..., 2, 3) or (..., 3, 4)."""
    rest = torch.eye(maps.shape[-2], maps.shape[-1], dtype=maps.dtype).expand_as(maps).clone()
    if config.flip:
        (xx, xy), (yx, yy) = (row.unbind(-1)[:2] for row in maps.unbind(-2)[:2])
        rest[..., 0, 0] = (xx * yy - xy * yx).sign()  # negative where a map mirrors
    return rest


def _moves(config: TransformsConfig) -> bool:
    """Whether any affine transform is switched on."""
    settings = (config.shift, config.rotate, config.flip, config.time_shift, config.time_scale)
    return tuple(config.crop or WHOLE) != WHOLE or any(settings)
