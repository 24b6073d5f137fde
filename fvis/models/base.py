"""A loaded network with all that is known of its input."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """What stands between an RGB picture in [0, 1] and the network.

    `frames` is None for image networks. Sizes are pixels; mean and std are per RGB channel, for
    pixels in [0, 1]. Photographs are resized by `interpolation` (Pillow's name for it) until the
    central crop of the input's size is `crop` of them, both sides alike unless `squash`.
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
        """One input's shape: (3, H, W), or (3, T, H, W) for a clip."""
        size = (self.height, self.width)
        return (3, *size) if self.frames is None else (3, self.frames, *size)

    def normalise(self, rgb: Tensor) -> Tensor:
        """RGB (B, 3, ...) in [0, 1] as the network takes it: (rgb - mean) / std."""
        shape = (1, 3) + (1,) * (rgb.dim() - 2)
        mean = torch.tensor(self.mean, dtype=rgb.dtype, device=rgb.device).view(shape)
        std = torch.tensor(self.std, dtype=rgb.dtype, device=rgb.device).view(shape)
        return (rgb - mean) / std


@dataclass(frozen=True)
class Model:
    """A network in eval mode, ready to be looked at.

    `classes` names its outputs where the source knows them. `sha256` is the weights file's, or,
    with no file (`hashed` says which), that of the state dict's bytes in key order.
    """

    module: nn.Module
    name: str
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    sha256: str
    hashed: str

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are; the CPU where it has none."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def attends(self) -> bool:
        """Whether the network is a transformer: whether any of its modules is self-attention."""
        kinds = (type(module).__name__ for module in self.module.modules())
        return any("Attention" in kind and "Pool" not in kind for kind in kinds)
