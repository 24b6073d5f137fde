"""Targets by index, name and word."""

import pytest
import torch

from fvis.errors import RequestError
from fvis.perturbation.goals import goal_of, parse_goals

CLASSES = ("tench, Tinca tinca", "crane", "crane, bird", "Persian cat")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [(3, [3]), ("3", [3]), ("tinca tinca", [0]), ("Persian Cat", [3]), ("crane, bird", [2]),
     ("random", ["random"]), ("any", ["any"]), ([1, "least_likely", 1], [1, "least_likely"])],
)  # fmt: skip
def test_goals_are_read(spec: object, expected: list[object]) -> None:
    assert parse_goals(spec, 4, CLASSES) == expected


@pytest.mark.parametrize(
    ("spec", "says"),
    [(4, "0 to 3"), ("crane", "several classes: 1, 2"), ("persian", "nearest: Persian cat"),
     ([], "empty"), ("-1", "no class")],
)  # fmt: skip
def test_what_is_no_goal_is_refused(spec: object, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        parse_goals(spec, 4, CLASSES)


def test_outputs_without_names_take_indices_alone() -> None:
    with pytest.raises(RequestError, match="give an index"):
        parse_goals("cat", 4, None)


def test_random_goals_are_neither_taken_nor_already_reached() -> None:
    values = torch.tensor([0.0, 9.0, 1.0, 2.0])
    drawn = {goal_of("random", values, [3], seed) for seed in range(40)}
    assert drawn == {0, 2}
    assert goal_of("random", values, [0, 2, 3], 0) is None
    assert len({goal_of("random", torch.zeros(1000), [], 7, "cat") for _ in range(3)}) == 1


def test_the_least_likely_is_the_smallest() -> None:
    assert goal_of("least_likely", torch.tensor([0.0, 9.0, -1.0]), [], 0) == 2


def test_any_stands_for_itself() -> None:
    assert goal_of("any", torch.tensor([0.0, 9.0]), [], 0) == "any"
    assert goal_of("random", torch.tensor([0.0, 9.0]), ["any"], 0) == 0
