"""Penalties: one number per row, on a scale that does not depend on the picture's size."""

import torch
from torch import Tensor
from torch.nn import functional


def total_variation(rgb: Tensor) -> Tensor:
    """Mean absolute difference of neighbours (B,), of images (B, C, H, W) or clips (B, C, T, H, W).

    The mean is taken for each axis, including time, and the axes' means are added. An axis of
    length 1 adds nothing.

    >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
    tensor([1.])
    """
    steps = [rgb.diff(dim=axis).abs().flatten(1) for axis in range(2, rgb.dim())]
    return torch.stack([each.sum(1) / max(1, each.shape[1]) for each in steps]).sum(0)


def l2(rgb: Tensor) -> Tensor:
    """Mean squared difference (B,) from mid-grey, of pictures (B, 3, ...) in [0, 1].

    >>> l2(torch.ones(1, 3, 2, 2))
    tensor([0.2500])
    """
    return (rgb - 0.5).square().flatten(1).mean(1)


def group_similarity(features: Tensor, groups: Tensor) -> Tensor:
    """Mean cosine similarity (B,) of each row's features to those of the other rows of its group.

    `features` is (B, ...) and is flattened; `groups` (B,) holds the group's index of each row. A
    row that is alone in its group gets 0.

    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> group_similarity(features, torch.tensor([0, 0, 1]))
    tensor([1., 1., 0.])
    """
    unit = functional.normalize(features.flatten(1), dim=1)
    mates = (groups[:, None] == groups[None, :]).float().fill_diagonal_(0)
    return (unit @ unit.T * mates).sum(1) / mates.sum(1).clamp_min(1)


def style(values: Tensor) -> Tensor:
    """The features in which repeats of a unit are to differ: Gram matrices (B, C, C).

    `values` (B, C, positions...) are a layer's activations. Each position's vector is normalized,
    and the outer products are averaged over positions. Values without positions, (B, C), are
    returned unchanged. Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017
    (section on diversity).
    """
    if values.dim() == 2:
        return values
    flat = functional.normalize(values.flatten(2), dim=1)
    return torch.einsum("bcp,bdp->bcd", flat, flat) / flat.shape[2]
