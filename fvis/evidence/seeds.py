"""Whether pictures of a unit from other seeds agree with its own."""

from torch import Tensor

from fvis.evidence.embedding import Embedding
from fvis.evidence.others import Others, stacked
from fvis.evidence.record import SeedsRecord
from fvis.synthesis import Optimum


def compare_seeds(
    optimum: Optimum,
    others: Others,
    embedding: Embedding | None,
    photographs: Tensor | None,
    sign: int = 1,
) -> SeedsRecord | None:
    """How a unit's pictures agree; None where there is but one.

    `photographs` (N, N) are the similarities of photographs to one another, if they are known. With
    `sign` -1 the pictures excite the unit least.
    """
    if not others.seeds:
        return None
    pictures = [optimum, *others.seeds]
    scores = [sign * picture.final for picture in pictures]
    vectors = None if embedding is None else embedding(stacked(pictures))
    return SeedsRecord(
        activations=[picture.final for picture in others.seeds],
        agreement=min(scores) / max(scores) if max(scores) > 0 else None,
        similarity=None if vectors is None else mean_of_pairs(vectors @ vectors.T),
        of_photographs=None if photographs is None else mean_of_pairs(photographs),
    )


def mean_of_pairs(similarities: Tensor) -> float:
    """The mean similarity of two different pictures, from all similarities (N, N).

    >>> mean_of_pairs(Tensor([[1.0, 0.25], [0.75, 1.0]]))
    0.5
    """
    count = len(similarities)
    return ((similarities.sum() - similarities.trace()) / (count * (count - 1))).item()
