"""Whether a picture takes the way through the network that photographs take.

Geirhos et al. 2024, "Don't trust your eyes: on the (un)reliability of feature visualizations": a
network can be made whose optimal pictures say nothing of what it does with photographs, because
they run through other parts of it.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fvis.evidence.record import PathRecord
from fvis.models.layers import Layer
from fvis.objectives.positions import maps

# What the strongest photographs must have in common, in mean correlation over that of any two
# photographs, for there to be a way from which a picture can be told to stray.
COMMON = 0.2


@dataclass(frozen=True)
class Course:
    """How photographs run through a network: at each of `layers`, their activations.

    `activations` has a tensor (N, C) for each layer: the mean over positions of every channel.
    """

    layers: tuple[str, ...]
    activations: tuple[Tensor, ...]


def channel_means(layer: Layer, output: Tensor) -> Tensor:
    """The mean over positions (B, C) of each channel of a layer's output."""
    values = maps(layer, output)
    return values if values.dim() == 2 else values.flatten(2).mean(2)


def measure_path(course: Course, picture: Sequence[Tensor], strongest: Tensor) -> PathRecord:
    """How a picture's course compares with that of photographs.

    Args:
        course: of all N photographs.
        picture: the picture's activations (C,) at each layer.
        strongest: the indices (K,) of the photographs that excite the unit most, K >= 2.
    """
    rows = [
        _correlations(natural, own, strongest)
        for natural, own in zip(course.activations, picture, strict=True)
    ]
    own, among, others = (list(column) for column in zip(*rows, strict=True))
    common, far = statistics.fmean(among), statistics.fmean(others)
    kept = (statistics.fmean(own) - far) / (common - far) if common - far >= COMMON else None
    return PathRecord(
        layers=list(course.layers),
        picture=own,
        photographs=among,
        others=others,
        kept=kept,
    )


def _correlations(natural: Tensor, own: Tensor, strongest: Tensor) -> tuple[float, float, float]:
    """Mean correlations of the strongest photographs: with the picture, each other, the others."""
    rows = _standardized(torch.cat([natural, own[None]]).double(), natural.double())
    best, picture = rows[strongest], rows[-1]
    among = best @ best.T
    count = len(best)
    is_other = torch.ones(len(natural), dtype=torch.bool)
    is_other[strongest] = False
    others = (best @ rows[:-1][is_other].T).mean() if is_other.any() else torch.tensor(0.0)
    within = (among.sum() - among.trace()) / (count * (count - 1))
    return (best @ picture).mean().item(), within.item(), others.item()


def _standardized(rows: Tensor, natural: Tensor) -> Tensor:
    """Rows (M, C) of which products are correlations, over channels, of what is unusual in them.

    A channel counts by its deviations from the mean over all photographs `natural` (N, C), in
    standard deviations.
    """
    deviation = natural.std(0, correction=0)
    alive = deviation > 1e-6 * deviation.max()
    unusual = (rows[:, alive] - natural.mean(0)[alive]) / deviation[alive]
    centred = unusual - unusual.mean(1, keepdim=True)
    return functional.normalize(centred, dim=1)
