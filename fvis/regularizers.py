"""Penalties on pictures, one number per row, in units that do not depend on the picture's size."""

import torch
from torch import Tensor
from torch.nn import functional


def total_variation(rgb: Tensor) -> Tensor:
    """Mean absolute difference (B,) of neighbours along every axis of (B, 3, H, W) or clips.

    Per axis the mean is over its own differences; the axes' means are added.
    """
    axes = range(2, rgb.dim())
    return torch.stack([rgb.diff(dim=axis).abs().flatten(1).mean(1) for axis in axes]).sum(0)


def l2(rgb: Tensor) -> Tensor:
    """Mean squared distance (B,) of (B, 3, ...) pixels from mid-grey."""
    return (rgb - 0.5).square().flatten(1).mean(1)


def group_similarity(features: Tensor, groups: Tensor) -> Tensor:
    """Mean cosine similarity (B,) of each row's features (B, D) to the others of its group (B,)."""
    unit = functional.normalize(features.flatten(1), dim=1)
    mates = (groups[:, None] == groups[None, :]).float().fill_diagonal_(0)
    return (unit @ unit.T * mates).sum(1) / mates.sum(1).clamp_min(1)


def style(values: Tensor) -> Tensor:
    """What repeats must differ in: Gram matrices (B, C, C) of a layer's (B, C, positions...).

    For a layer without positions, (B, C), the vectors themselves.
    Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017 (diversity).
    """
    if values.dim() == 2:
        return values
    flat = functional.normalize(values.flatten(2), dim=1)
    return torch.einsum("bcp,bdp->bcd", flat, flat) / flat.shape[2]
