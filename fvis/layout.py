"""The memory layout of a network's weights: with channels last, convolutions may be faster."""

from typing import Any

import torch

from fvis.errors import RequestError
from fvis.models.base import Model
from fvis.models.layers import run_once

MEASURED = ("cpu", "cuda")  # kinds of device on which it was found to be faster


def arrange(model: Model, channels_last: Any, device: torch.device) -> None:
    """Give the network the layout that `engine.channels_last` asks for: true, false or auto.

    auto changes convolutional networks of images on a CPU and on CUDA, unless they fail in that
    layout, as code does that takes views of feature maps.
    """
    video = model.preprocessing.frames is not None
    layout = torch.channels_last_3d if video else torch.channels_last
    if channels_last is True:
        model.module.to(memory_format=layout)
    elif channels_last == "auto" and device.type in MEASURED and not video and not model.attends:
        model.module.to(memory_format=layout)
        try:
            run_once(model)
        except RequestError:
            model.module.to(memory_format=torch.contiguous_format)
