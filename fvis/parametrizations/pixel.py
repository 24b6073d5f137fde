"""`parametrization=pixel`: every pixel free, squashed into [0, 1] by a sigmoid."""

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
    """Pixels (B, *shape) that start as independent noise around mid-grey."""
    pixels = leaf(config.init_std * normal(generators, *shape), device)
    return Parametrization((pixels,), lambda: torch.sigmoid(pixels))
