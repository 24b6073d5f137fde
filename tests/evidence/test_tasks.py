"""The observer's tasks, and what it can and cannot tell."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fvis.evidence.tasks import Explanation, Tasks, make_tasks, observe

COUNT, SIDE = 220, 110


def photographs(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Activations (N,) and embeddings (N, D), of which one axis is what the unit responds to."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(COUNT, 8, generator=generator)
    return vectors[:, 0].clone(), functional.normalize(vectors, dim=1)


def along(axis: int, sign: float, vectors: Tensor) -> Tensor:
    """The similarities (N, 1) to a picture that shows an axis, or its opposite."""
    return sign * vectors[:, axis, None]


def test_tasks_take_one_photograph_of_each_bin_and_none_twice() -> None:
    scores, _ = photographs()
    tasks = make_tasks(scores, 11, 9)
    strong = torch.cat([tasks.strong[:, None], tasks.strong_references], 1)
    weak = torch.cat([tasks.weak[:, None], tasks.weak_references], 1)
    assert strong.shape == weak.shape == (11, 10)
    assert len({*strong.flatten().tolist(), *weak.flatten().tolist()}) == COUNT
    ranks = scores.argsort(descending=True).argsort()
    assert (ranks[strong] // 11 == torch.arange(10)).all()  # a bin for each column
    assert ((COUNT - 1 - ranks[weak]) // 11 == torch.arange(10)).all()
    assert scores[tasks.strong].min() >= scores[tasks.strong_references].max()
    assert scores[tasks.weak].max() <= scores[tasks.weak_references].min()


def test_fewer_photographs_make_fewer_tasks() -> None:
    tasks = make_tasks(torch.arange(57.0), 11, 9)
    assert tasks.strong.shape == (2,)
    assert isinstance(tasks, Tasks)


def test_the_observer_solves_what_the_embedding_shows_and_is_at_chance_when_shuffled() -> None:
    scores, vectors = photographs()
    similarities = vectors @ vectors.T
    natural = observe(scores, 11, 9, similarities)
    both = Explanation(along(0, 1, vectors), along(0, -1, vectors))
    synthetic = observe(scores, 11, 9, similarities, both)
    assert (natural.accuracy, synthetic.accuracy) == (1.0, 1.0)
    assert synthetic.matched is not None
    assert synthetic.matched < 0.05
    for found in (natural, synthetic):
        assert found.score is not None
        assert found.score > 0.8
        assert found.shuffled == pytest.approx(0.5, abs=0.1)
    assert (synthetic.maximising, synthetic.minimising) == (1, 1)


def test_a_picture_of_something_else_explains_no_more_than_a_photograph() -> None:
    scores, vectors = photographs()
    similarities = vectors @ vectors.T
    lying = [
        observe(
            scores, 11, 9, similarities, Explanation(along(axis, 1, vectors), torch.zeros(COUNT, 0))
        )
        for axis in range(1, 8)
    ]
    matched = torch.tensor([found.matched for found in lying])
    assert 0.25 < matched.mean() < 0.75
    wrong = Explanation(along(0, -1, vectors), torch.zeros(COUNT, 0))
    assert observe(scores, 11, 9, similarities, wrong).accuracy == 0.0


def test_a_tie_counts_as_half() -> None:
    scores, vectors = photographs()
    alike = Explanation(torch.ones(COUNT, 1), torch.ones(COUNT, 1))
    assert observe(scores, 11, 9, vectors @ vectors.T, alike).accuracy == 0.5


@pytest.mark.parametrize("excited", [0, 4, 30])
def test_photographs_that_excite_a_unit_alike_make_no_task(excited: int) -> None:
    scores = torch.zeros(COUNT)
    scores[torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[:excited]] += 1
    tasks = make_tasks(scores, count=5, references=3)
    assert len(tasks.strong) == len(tasks.weak) == (5 if excited >= 20 else 0)
    assert (scores[tasks.strong_references] == 1).all()
    assert (scores[tasks.weak_references] == 0).all()
    if excited == 30:
        assert tasks.weak.tolist() != sorted(tasks.weak.tolist()), "not by the order of files"
