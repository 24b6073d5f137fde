"""Reading `method.target`: the classes, or units, that adversarial examples aim at."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fvis.errors import RequestError, unknown
from fvis.models.classes import classes_called
from fvis.randomness import random_generator

RANDOM, LEAST_LIKELY = "random", "least_likely"
ANY = "any"  # any class but the one that the network sees in the picture as it is
WORDS = (RANDOM, LEAST_LIKELY, ANY)

Goal = int | str


def parse_goals(spec: Any, count: int, classes: Sequence[str] | None) -> list[Goal]:
    """Read the setting `method.target` as class indices and words, without duplicates.

    `spec` is an index below `count`, a class's name or one of its synonyms, `random`,
    `least_likely` or `any`, or a list of these. The words are kept, since their meaning depends on
    the picture (see `goal_of`). Raises `RequestError` for anything else.

    >>> parse_goals(["Tinca tinca", 2, "random"], 3, ["goldfish", "tench, Tinca tinca", "ray"])
    [1, 2, 'random']
    """
    parts = list(spec) if isinstance(spec, Sequence) and not isinstance(spec, str) else [spec]
    if not parts:
        raise RequestError(
            f"method.target is empty; give an index, a class's name, {', '.join(WORDS)}"
        )
    return list(dict.fromkeys(_goal(part, count, classes) for part in parts))


def _goal(part: Any, count: int, classes: Sequence[str] | None) -> Goal:
    text = str(part).strip()
    if text in WORDS:
        return text
    if text.isdecimal():
        if int(text) >= count:
            raise RequestError(f"method.target has {text}; indices go from 0 to {count - 1}")
        return int(text)
    if not classes:
        raise RequestError(
            f"method.target is {text!r}, but these outputs have no names: give an index, "
            f"{', '.join(WORDS)}"
        )
    named = classes_called(text, classes)
    if len(named) > 1:
        places = ", ".join(map(str, named))
        raise RequestError(
            f"method.target {text!r} names several classes: {places}; give one of these indices"
        )
    if not named:
        raise unknown("class", text, [*WORDS, *classes])
    return named[0]


def goal_of(goal: Goal, values: Tensor, taken: Sequence[Goal], *key: object) -> Goal | None:
    """The index that `goal` stands for, for one picture whose outputs are `values` (C,).

    An index and `any` stand for themselves, and `least_likely` for the smallest output. `random`
    stands for an index drawn by `key`, other than those of `taken` and that of the largest output;
    None if no such index is left.
    """
    if isinstance(goal, int) or goal == ANY:
        return goal
    if goal == LEAST_LIKELY:
        return int(values.argmin())
    barred = {*taken, int(values.argmax())}
    order = torch.randperm(len(values), generator=random_generator(*key)).tolist()
    return next((index for index in order if index not in barred), None)
