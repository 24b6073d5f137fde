"""`parametrization=pixel`: every pixel is free; a sigmoid maps it into [0, 1]."""

from collections.abc import Sequence

import torch
from torch import Generator

from fvis.parametrizations.base import PARAMETRIZATIONS, Parametrization, leaf
from fvis.randomness import normal
from fvis.schema import PixelConfig


@PARAMETRIZATIONS.register("pixel")
def build(
    config: PixelConfig,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    device: torch.device,
) -> Parametrization:
    """Build pictures sigmoid(z) with free z (B, *shape).

    z starts as independent Gaussian noise of standard deviation `config.init_std`; z = 0 is
    mid-grey.
    """
    pixels = leaf(config.init_std * normal(generators, *shape), device)
    return Parametrization((pixels,), lambda: torch.sigmoid(pixels))
