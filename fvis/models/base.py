"""A loaded network, its preprocessing and the names of its outputs."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fvis.sizes import resized

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How an RGB picture in [0, 1] becomes the network's input.

    Attributes:
        height: input height, pixels.
        width: input width, pixels.
        frames: frames of an input clip; None for image networks.
        mean: per RGB channel, for pixels in [0, 1].
        std: per RGB channel, for pixels in [0, 1].
        crop: side of the input as a fraction of the resized photograph that it is cropped from.
        interpolation: how photographs are resized, by Pillow's name.
        squash: whether photographs are resized to the input's aspect ratio instead of their own.
    """

    height: int
    width: int
    frames: int | None
    mean: Channels
    std: Channels
    crop: float = 1.0
    interpolation: str = "bicubic"
    squash: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: (3, H, W), or (3, T, H, W) for a clip."""
        size = (self.height, self.width)
        return (3, *size) if self.frames is None else (3, self.frames, *size)

    def normalise(self, rgb: Tensor) -> Tensor:
        """Normalise RGB (B, 3, ...) in [0, 1] for the network: (rgb - mean) / std."""
        shape = (1, 3) + (1,) * (rgb.dim() - 2)
        mean, std = (_on_device(v, rgb.dtype, rgb.device) for v in (self.mean, self.std))
        return (rgb - mean.view(shape)) / std.view(shape)


@functools.cache
def _on_device(values: Channels, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Constants (3,) on a device; cached, so that they are moved there only once."""
    with torch.inference_mode(False):  # autograd cannot use tensors made in inference mode
        return torch.tensor(values, dtype=dtype, device=device)


@dataclass(frozen=True)
class Model:
    """A network in eval mode, with what is known about it.

    Attributes:
        module: the network itself.
        name: what results call it.
        preprocessing: how pictures become its input.
        classes: the names of its outputs; None if they are unknown.
        sha256: hexadecimal hash of the weights file, or of the state dict if there is no file.
        hashed: what `sha256` is the hash of: the file's name, or `state_dict`.
        attends: whether it is a transformer, for which some settings have other defaults.
    """

    module: nn.Module
    name: str
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    sha256: str
    hashed: str
    attends: bool = False

    @property
    def device(self) -> torch.device:
        """The device of the network's parameters; the CPU if it has none."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def resized(self, rgb: Tensor) -> Tensor:
        """Pictures or clips (B, 3, ...) on the network's device, resized to its input's H and W."""
        size = (self.preprocessing.height, self.preprocessing.width)
        rgb = rgb.to(self.device)
        return rgb if rgb.shape[-2:] == size else resized(rgb, size).clamp(0, 1)

    def class_name(self, output: int) -> str | None:
        """The name of an output; None if it has none."""
        names = self.classes or ()
        return names[output] if output < len(names) else None


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """A context in which a network is in eval mode; after it, what was in training mode is again.

    Only flags are set: what a network's own `train` does besides could not be undone.
    """
    training = [part for part in network.modules() if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True
