"""Two-alternative tasks, and how they are decided by likeness: the mathematics of the observer.

In each task two photographs are given, one that excites the unit and one that does not. The
observer takes the one that is more like the pictures that excite the unit, and less like those that
do not. The tasks are those of Borowski et al. 2021, "Exemplary natural images explain CNN
activations better than state-of-the-art feature visualization"; the observer is that of Zimmermann,
Klindt & Brendel 2024, "Measuring per-unit interpretability at scale without humans".
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fvis.evidence.record import ConditionRecord
from fvis.randomness import random_generator

SHUFFLES = 20  # permutations of the photographs of which the control is the mean


@dataclass(frozen=True)
class Tasks:
    """T tasks, as indices of photographs: queries (T,), and R references on each side (T, R)."""

    strong: Tensor
    weak: Tensor
    strong_references: Tensor
    weak_references: Tensor


@dataclass(frozen=True)
class Explanation:
    """Similarities of all N photographs to a side's pictures: (N, K) each; K may be 0."""

    maximising: Tensor
    minimising: Tensor


def make_tasks(scores: Tensor, count: int, references: int) -> Tasks:
    """At most `count` tasks from the photographs' activations `scores` (N,).

    At either end of the ranking, `count * (references + 1)` photographs are divided by rank into
    `references + 1` bins of `count` each. Every batch takes one photograph of each bin: the most
    extreme one is the query, the others are references. Where there are fewer photographs than
    both ends need, or fewer that excite the unit at all, there are fewer tasks. Photographs that
    excite it alike are in random order: that of their files may have a meaning of its own.

    >>> tasks = make_tasks(torch.arange(8.0), count=2, references=1)
    >>> tasks.strong.tolist(), tasks.strong_references.tolist()
    ([7, 6], [[5], [4]])
    >>> tasks.weak.tolist(), tasks.weak_references.tolist()
    ([0, 1], [[2], [3]])
    """
    size = references + 1
    count = min(count, len(scores) // (2 * size))
    shuffled = torch.randperm(len(scores), generator=random_generator("ties"))
    order = shuffled[scores[shuffled].argsort(descending=True, stable=True)]
    strong, weak = (end[: count * size].view(size, count).T for end in (order, order.flip(0)))
    told_apart = scores[strong].amin(1) > scores[weak].amax(1)
    strong, weak = strong[told_apart], weak[told_apart]
    return Tasks(strong[:, 0], weak[:, 0], strong[:, 1:], weak[:, 1:])


def natural_margins(tasks: Tasks, similarities: Tensor) -> Tensor:
    """By how much (T,) each task is decided for the strong photograph, by its references.

    `similarities` (N, N) are those of the photographs to one another.
    """

    def difference(query: Tensor) -> Tensor:
        sides = (tasks.strong_references, tasks.weak_references)
        strong, weak = (similarities[query[:, None], side].mean(1) for side in sides)
        return strong - weak

    return difference(tasks.strong) - difference(tasks.weak)


def synthetic_margins(tasks: Tasks, explanation: Explanation) -> Tensor:
    """By how much (T,) each task is decided for the strong photograph, by optimal pictures.

    A side without pictures says nothing.
    """
    sides = (explanation.maximising, explanation.minimising)
    maximising, minimising = (
        side.mean(1) if side.shape[1] else torch.zeros(len(side)) for side in sides
    )
    difference = maximising - minimising
    return difference[tasks.strong] - difference[tasks.weak]


def observe(
    scores: Tensor,
    count: int,
    references: int,
    similarities: Tensor,
    explanation: Explanation | None = None,
) -> ConditionRecord:
    """How the observer does with an explanation; without one, with the tasks' own references.

    Args:
        scores: how strongly each photograph excites the unit, (N,).
        count, references: as for `make_tasks`.
        similarities: of the photographs' embeddings to one another, (N, N).
        explanation: of optimal pictures.
    """

    def margins(ranked: Tensor) -> Tensor:
        tasks = make_tasks(ranked, count, references)
        if explanation is None:
            return natural_margins(tasks, similarities)
        return synthetic_margins(tasks, explanation)

    own, unit = margins(scores), spread(similarities)
    generator = random_generator("shuffled photographs")
    orders = [torch.randperm(len(scores), generator=generator) for _ in range(SHUFFLES)]
    shuffled = torch.cat([margins(scores[order]) for order in orders])
    sides, matched = (references, references), None
    score = torch.sigmoid(own / unit).mean()
    if explanation is not None:
        sides = (explanation.maximising.shape[1], explanation.minimising.shape[1])
        tasks = make_tasks(scores, count, references)
        rivals = torch.stack(
            [
                synthetic_margins(tasks, Explanation(one[:, None], explanation.minimising))
                for one in similarities
            ]
        )
        matched = (torch.sigmoid(rivals / unit).mean(1) >= score).double().mean().item()
    return ConditionRecord(
        accuracy=_accuracy(own),
        score=score.item(),
        shuffled=_accuracy(shuffled),
        matched=matched,
        maximising=sides[0],
        minimising=sides[1],
    )


def spread(similarities: Tensor) -> Tensor:
    """The standard deviation of photographs' similarities to one another, from (N, N) of them.

    It is the unit in which margins enter the sigmoid, so that scores of several embeddings can be
    compared.
    """
    among = ~torch.eye(len(similarities), dtype=torch.bool)
    return similarities[among].std().clamp_min(1e-12)


def _accuracy(margins: Tensor) -> float:
    """The share of tasks that are decided rightly; a tie counts as half.

    >>> _accuracy(torch.tensor([0.2, -0.1, 0.0, 0.3]))
    0.625
    """
    return ((margins > 0).double() + (margins == 0).double() / 2).mean().item()
