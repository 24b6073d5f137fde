"""The lossless files that an attack is judged on: a PNG of a picture, an animated PNG of a clip."""

import io

import torch
from torch import Tensor

from fvis import artifacts

SUFFIXES = {3: "png", 4: "apng"}  # by the dimensions of RGB (3, H, W) or (3, T, H, W)


def content(rgb: Tensor, fps: int) -> bytes:
    """The file's content: of a picture (3, H, W) or a clip (3, T, H, W), RGB in [0, 1]."""
    return artifacts.png_bytes(rgb) if rgb.dim() == 3 else artifacts.apng_bytes(rgb, fps)


def read(content: bytes, clip: bool) -> Tensor:
    """RGB (3, H, W) of a file's content, or (3, T, H, W) of a clip's, in [0, 1]."""
    reader = artifacts.read_apng if clip else artifacts.read_png
    return torch.from_numpy(reader(io.BytesIO(content)))
