"""The memory layout of a network's weights: with channels last, convolutions may be faster."""

from typing import Any

import torch
from torch import nn

from fvis.errors import RequestError
from fvis.models.base import Model
from fvis.models.layers import run_once


def arrange(model: Model, channels_last: Any, device: torch.device) -> None:
    """Give the network the layout that `engine.channels_last` asks for: true, false or auto.

    auto changes convolutional networks of images on a CPU, and on CUDA those without grouped
    convolutions: with these, a run starts seconds later in that layout. It changes none that fail
    in it, as code does that takes views of feature maps.
    """
    video = model.preprocessing.frames is not None
    layout = torch.channels_last_3d if video else torch.channels_last
    if channels_last is True:
        model.module.to(memory_format=layout)
    elif channels_last == "auto" and not video and _gains(model, device):
        model.module.to(memory_format=layout)
        try:
            run_once(model)
        except RequestError:
            model.module.to(memory_format=torch.contiguous_format)


def _gains(model: Model, device: torch.device) -> bool:
    """Whether a network of images was found to be faster with channels last, in most runs."""
    convolutions = [part for part in model.module.modules() if isinstance(part, nn.Conv2d)]
    grouped = any(part.groups > 1 for part in convolutions)
    kinds = ("cpu",) if grouped else ("cpu", "cuda")
    return not model.attends and device.type in kinds
