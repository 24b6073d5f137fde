"""RGB from decorrelated colour: axes along which natural pixels vary independently."""

import functools

import torch
from torch import Tensor

# Square root of the colour covariance of ImageNet pixels (rows R, G, B), as published with
# Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017 (Lucid).
IMAGENET_COLOUR = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


@functools.cache
def correlation(device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """The matrix (3, 3) from decorrelated colour to RGB, scaled so its longest column has length 1.

    The tensor is made once per device and type, and shared: do not change it in place.
    """
    with torch.inference_mode(False):  # a tensor of inference mode could not be used in a gradient
        matrix = torch.tensor(IMAGENET_COLOUR, device=device)
        lengths: Tensor = matrix.norm(dim=0)
        return (matrix / lengths.max()).to(dtype)


def correlate(decorrelated: Tensor) -> Tensor:
    """RGB of decorrelated colour, both of shape (B, 3, ...) and unbounded.

    >>> correlate(torch.zeros(1, 3, 2, 2)).shape
    torch.Size([1, 3, 2, 2])
    """
    matrix = correlation(decorrelated.device, decorrelated.dtype)
    matrices = matrix.expand(len(decorrelated), -1, -1)  # so no row is rounded by its batch
    return torch.bmm(matrices, decorrelated.flatten(2)).view_as(decorrelated)
