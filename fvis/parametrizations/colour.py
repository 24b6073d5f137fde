"""RGB from decorrelated colour: axes along which natural pixels vary independently."""

import torch
from torch import Tensor

# Square root of the colour covariance of ImageNet pixels (rows R, G, B), as published with
# Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017 (Lucid).
IMAGENET_COLOUR = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


def correlation(device: torch.device) -> Tensor:
    """The matrix (3, 3) from decorrelated colour to RGB, its longest column of length 1."""
    matrix = torch.tensor(IMAGENET_COLOUR, device=device)
    lengths: Tensor = matrix.norm(dim=0)
    return matrix / lengths.max()


def correlate(decorrelated: Tensor) -> Tensor:
    """Decorrelated colour (B, 3, ...) as RGB of the same shape, both unbounded."""
    matrix = correlation(decorrelated.device).to(decorrelated.dtype)
    return torch.einsum("rc,bc...->br...", matrix, decorrelated)
