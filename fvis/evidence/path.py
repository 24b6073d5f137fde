"""Whether a picture takes the way through the network that photographs take.

Geirhos et al. 2024, "Don't trust your eyes: on the (un)reliability of feature visualizations": a
network can be made whose optimal pictures say nothing of what it does with photographs, because
they run through other parts of it.
"""

import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fvis.evidence.record import PathRecord

# What the strongest photographs must have in common, in mean correlation over that of any two
# photographs, for there to be a way from which a picture can be told to stray.
COMMON = 0.2


def measure_path(
    course: Mapping[str, Tensor], picture: Sequence[Tensor], strongest: Tensor
) -> PathRecord:
    """How a picture's course through a network compares with that of photographs.

    Args:
        course: for each layer on the way, by its path, the activations (N, C) of all N photographs:
            the mean over positions of every channel.
        picture: the picture's activations (C,) at each of these layers.
        strongest: the indices (K,) of the photographs that excite the unit most, K >= 2.
    """
    rows = [
        _correlations(natural, own, strongest)
        for natural, own in zip(course.values(), picture, strict=True)
    ]
    own, among, others = (list(column) for column in zip(*rows, strict=True))
    common, far = statistics.fmean(among), statistics.fmean(others)
    kept = (statistics.fmean(own) - far) / (common - far) if common - far >= COMMON else None
    return PathRecord(
        layers=list(course),
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
