"""A texture seen through a displacement: V_t(p) = I(p + offset + D_t(p)).

Flow is in pixels, x right, y down. `D` says where each pixel looks, so what is seen moves the other
way: the apparent velocity from frame t - 1 to t is D_{t-1} - D_t.
"""

import torch
from torch import Tensor
from torch.nn import functional


def warp(texture: Tensor, displacement: Tensor, offset: Tensor | None = None) -> Tensor:
    """The clips (B, 3, T, H, W) of textures (B, 3, H', W') in [0, 1] under (B, 2, T, H, W) px.

    `offset` (B, 2) px, [x, y], is where the frame's corner lies in the texture; zero where none is
    given. Cubic between the texture's pixels (Keys 1981), clamped to [0, 1]: linear interpolation
    blurs all but whole steps, and an ascent would prefer those. Beyond its edge the edge goes on.
    No displacement gives back the texture's own pixels exactly. Gradients flow to both.
    """
    b, c, rows, columns = texture.shape
    _, _, t, h, w = displacement.shape
    y = torch.arange(h, device=texture.device, dtype=texture.dtype)[:, None]
    x = torch.arange(w, device=texture.device, dtype=texture.dtype)
    x, y = displacement[:, 0] + x, displacement[:, 1] + y
    if offset is not None:
        x, y = (place + offset[:, i, None, None, None] for i, place in enumerate((x, y)))
    # On sides that are powers of two grid_sample's coordinates are exact binary fractions.
    high, wide = 1 << (rows - 1).bit_length(), 1 << (columns - 1).bit_length()
    grid = torch.stack(
        [
            (2 * x.clamp(0, columns - 1) + 1) / wide - 1,
            (2 * y.clamp(0, rows - 1) + 1) / high - 1,
        ],
        -1,
    )
    canvas = functional.pad(texture, (0, wide - columns, 0, high - rows), mode="replicate")
    clip = functional.grid_sample(
        canvas,
        grid.view(b, t * h, w, 2),
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    return clip.clamp(0, 1).view(b, c, t, h, w)


def velocity(displacement: Tensor) -> Tensor:
    """Apparent velocity (..., 2, T - 1, H, W) px/frame of displacement (..., 2, T, H, W) px."""
    return -displacement.diff(dim=-3)
