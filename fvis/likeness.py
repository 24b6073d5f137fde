"""How alike two pictures are to a layer: the distance and the angle between their activations."""

from torch import Tensor
from torch.nn import functional

SMALLEST_COSINE = 0.1  # of a caricature's score: below, it has a gradient all the same


def distance(values: Tensor, reference: Tensor) -> Tensor:
    """The length (B,) of the difference of a layer's values (B, ...).

    >>> import torch
    >>> distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
    tensor([5.])
    """
    length: Tensor = (values - reference).flatten(1).norm(dim=1)
    return length


def relative_distance(values: Tensor, reference: Tensor) -> Tensor:
    """That length (B,) over the length of the reference: 0 for the same values, 1 for none.

    Mahendran & Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015.
    """
    whole: Tensor = reference.flatten(1).norm(dim=1)
    return distance(values, reference) / whole


def cosine(values: Tensor, reference: Tensor) -> Tensor:
    """The cosine (B,) of the angle between values (B, ...) and the reference's."""
    return functional.cosine_similarity(values.flatten(1), reference.flatten(1), dim=1)


def caricature(values: Tensor, reference: Tensor, power: float) -> Tensor:
    """How far values (B, ...) go in the reference's direction, times the cosine to a power: (B,).

    The reference itself has 1, and twice the reference 2. As `dot_compare` of Lucid.

    >>> import torch
    >>> caricature(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 2.0)
    tensor([2.])
    """
    values, reference = values.flatten(1), reference.flatten(1)
    along = (values * reference).sum(1) / reference.square().sum(1)
    return along * cosine(values, reference).clamp_min(SMALLEST_COSINE) ** power
