"""Warping a texture into a clip by a displacement: V_t(p) = I(p + offset + D_t(p)).

Displacements are in pixels, x right, y down. `D_t(p)` says where in the texture pixel p looks, so
the visible content moves the opposite way: its velocity from frame t - 1 to t is D_{t-1} - D_t.
"""

import torch
from torch import Tensor
from torch.nn import functional


def warp(texture: Tensor, displacement: Tensor, offset: Tensor | None = None) -> Tensor:
    """Sample clips from textures: V_t(p) = I(p + offset + D_t(p)).

    Interpolation is bicubic (Keys 1981) and the result is clamped to [0, 1]. Linear interpolation
    would blur the texture except at whole-pixel displacements, and an ascent would prefer these.
    Outside the texture its border pixels are repeated. A zero displacement returns the texture's
    pixels exactly. The result is differentiable in all arguments.

    Args:
        texture: (B, C, H', W') in [0, 1].
        displacement: (B, 2, T, H, W) px, [x, y].
        offset: (B, 2) px, [x, y]: the frame's top left pixel in the texture; (0, 0) if None.

    Returns:
        Clips (B, C, T, H, W) in [0, 1].

    >>> texture = torch.tensor([[[[0.0, 0.5, 1.0]]]])
    >>> displacement = torch.zeros(1, 2, 2, 1, 3)
    >>> displacement[:, 0, 1] = 1  # the second frame looks one pixel further right
    >>> warp(texture, displacement)[0, 0].tolist()
    [[[0.0, 0.5, 1.0]], [[0.5, 1.0, 1.0]]]
    """
    b, c, rows, columns = texture.shape
    _, _, t, h, w = displacement.shape
    y = torch.arange(h, device=texture.device, dtype=texture.dtype)[:, None]
    x = torch.arange(w, device=texture.device, dtype=texture.dtype)
    x, y = displacement[:, 0] + x, displacement[:, 1] + y
    if offset is not None:
        x, y = (place + offset[:, i, None, None, None] for i, place in enumerate((x, y)))
    # With sides that are powers of two, grid_sample's coordinates of pixel centres are exact.
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
    """Velocity of the visible content, D_{t-1} - D_t: (..., 2, T - 1, H, W) px/frame.

    `displacement` is (..., 2, T, H, W) px. The result is exact where the displacement is uniform
    in space, and an approximation where it also scales, rotates or distorts the texture.
    """
    return -displacement.diff(dim=-3)
