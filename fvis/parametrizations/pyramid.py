"""`parametrization=pyramid`: a sum of pictures at ever finer resolutions."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fvis.parametrizations.base import PARAMETRIZATIONS, Parametrization, leaf
from fvis.parametrizations.colour import correlate
from fvis.randomness import normal
from fvis.schema import PyramidConfig


@PARAMETRIZATIONS.register("pyramid")
def build(
    config: PyramidConfig,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    device: torch.device,
) -> Parametrization:
    """Grids (B, 3, h, w) or (B, 3, t, h, w), each upsampled linearly to `shape` and summed."""
    grids = tuple(
        leaf(config.init_std * normal(generators, 3, *size), device)
        for size in level_sizes(shape[1:], config.coarsest)
    )
    mode = "bilinear" if len(shape) == 3 else "trilinear"

    def render() -> Tensor:
        levels = [functional.interpolate(g, size=shape[1:], mode=mode) for g in grids]
        signal = torch.stack(levels).sum(0)
        return torch.sigmoid(correlate(signal) if config.decorrelate else signal)

    return Parametrization(grids, render)


def level_sizes(size: Sequence[int], coarsest: int) -> list[tuple[int, ...]]:
    """The levels' sizes, fine to coarse: halved, rounded up, till a side is `coarsest` or less.

    >>> level_sizes((16, 24), 4)
    [(16, 24), (8, 12), (4, 6)]
    """
    sizes = [tuple(size)]
    while min(sizes[-1][-2:]) > coarsest:
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    return sizes
