"""`parametrization=pixel`: every pixel is free; a sigmoid maps it into [0, 1]."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from fvis.parametrizations.base import PARAMETRIZATIONS, Parametrization, leaf, unbounded
from fvis.randomness import normal
from fvis.schema import PixelConfig


@PARAMETRIZATIONS.register("pixel")
def build(
    config: PixelConfig,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    device: torch.device,
    start: Tensor | None = None,
) -> Parametrization:
    """Build pictures sigmoid(z) with free z (B, *shape).

    z starts as independent Gaussian noise of standard deviation `config.init_std`; z = 0 is
    mid-grey. With `start`, (B, *shape), it starts as the logit of that.
    """
    noise = config.init_std * normal(generators, *shape)
    pixels = leaf(noise if start is None else unbounded(start), device)
    return Parametrization((pixels,), lambda: torch.sigmoid(pixels))
