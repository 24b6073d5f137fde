"""Pictures of one size as pictures of another."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def resized(rgb: Tensor, size: Sequence[int]) -> Tensor:
    """Pictures (B, 3, H, W), or each frame of clips (B, 3, T, H, W), as pictures of `size` (h, w).

    Bicubic, with antialiasing where they become smaller; values may leave the range they were in.
    """
    if tuple(rgb.shape[-2:]) == tuple(size):
        return rgb
    frames = rgb.movedim(1, -3).flatten(0, -4)
    made = functional.interpolate(frames, tuple(size), mode="bicubic", antialias=True)
    return made.view(*rgb.movedim(1, -3).shape[:-2], *size).movedim(-3, 1)
