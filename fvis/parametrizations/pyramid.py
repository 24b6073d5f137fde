"""`parametrization=pyramid`: a sum of pictures at several resolutions."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fvis.parametrizations.base import PARAMETRIZATIONS, Parametrization, leaf, unbounded
from fvis.parametrizations.colour import correlate
from fvis.randomness import normal
from fvis.schema import PyramidConfig


@PARAMETRIZATIONS.register("pyramid")
def build(
    config: PyramidConfig,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    device: torch.device,
    start: Tensor | None = None,
) -> Parametrization:
    """Build pictures sigmoid(C sum_l upsample(grid_l)) with free grids, one per pyramid level.

    Grids are (B, 3, h, w), or (B, 3, t, h, w) for clips, of the sizes of `level_sizes`, and are
    upsampled linearly. C maps decorrelated colour to RGB; without `config.decorrelate` it is left
    out. With `start` the grids are those of the difference from logit(start), and start at zero.
    """
    std, base = (config.init_std, 0.0) if start is None else (0.0, unbounded(start).to(device))
    grids = tuple(
        leaf(std * normal(generators, 3, *size), device)
        for size in level_sizes(shape[1:], config.coarsest)
    )
    mode = "bilinear" if len(shape) == 3 else "trilinear"

    def render() -> Tensor:
        levels = [functional.interpolate(g, size=shape[1:], mode=mode) for g in grids]
        signal = torch.stack(levels).sum(0)
        return torch.sigmoid(base + (correlate(signal) if config.decorrelate else signal))

    return Parametrization(grids, render)


def level_sizes(size: Sequence[int], coarsest: int) -> list[tuple[int, ...]]:
    """Sizes of the pyramid's levels, fine to coarse, for `size` (H, W) or (T, H, W).

    All axes are halved, rounding up, until the shorter spatial side is at most `coarsest` px.

    >>> level_sizes((16, 24), 4)
    [(16, 24), (8, 12), (4, 6)]
    """
    sizes = [tuple(size)]
    while min(sizes[-1][-2:]) > coarsest:
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    return sizes
