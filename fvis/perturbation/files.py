"""The lossless files that an attack is judged on: a PNG of a picture, an animated PNG of a clip."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fvis import artifacts

SUFFIXES = {3: "png", 4: "apng"}  # by the dimensions of RGB (3, H, W) or (3, T, H, W)


def content(rgb: Tensor, fps: int) -> bytes:
    """The file's content: of a picture (3, H, W), or of a clip (3, T, H, W) that loops endlessly.

    RGB in [0, 1] becomes 8-bit values.
    """
    if rgb.dim() == 3:
        return artifacts.png_bytes(rgb)
    first, *rest = (Image.fromarray(frame) for frame in artifacts.to_bytes(rgb))
    held = io.BytesIO()
    first.save(
        held,
        format="PNG",
        save_all=True,
        append_images=rest,
        duration=round(1000 / fps),
        loop=0,
        # Pillow leaves out a frame that equals the one before, unless its blending differs. (For
        # frames without transparency both ways of blending are the same.)
        blend=[number % 2 for number in range(1 + len(rest))],
    )
    return held.getvalue()


def read(content: bytes, clip: bool) -> Tensor:
    """RGB (3, H, W) of a file's content, or (3, T, H, W) of a clip's, in [0, 1]."""
    if not clip:
        return torch.from_numpy(artifacts.read_png(io.BytesIO(content)))
    frames = []
    with Image.open(io.BytesIO(content)) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            frames.append(torch.from_numpy(artifacts.from_bytes(np.asarray(image.convert("RGB")))))
    return torch.stack(frames, 1)
