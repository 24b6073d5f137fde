"""Which classes, or units, a picture shall be taken for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fvis.errors import RequestError, unknown
from fvis.randomness import random_generator

RANDOM, LEAST_LIKELY = "random", "least_likely"
WORDS = (RANDOM, LEAST_LIKELY)

Goal = int | str


def parse_goals(spec: Any, count: int, classes: Sequence[str] | None) -> list[Goal]:
    """Indices below `count`, and words that each picture gives its own meaning, each once.

    `spec` is an index, a class's name or one of its synonyms, `random`, `least_likely`, or a list
    of these. Raises `RequestError` for what is none of them.

    >>> parse_goals(["Tinca tinca", 2, "random"], 3, ["goldfish", "tench, Tinca tinca", "ray"])
    [1, 2, 'random']
    """
    parts = list(spec) if isinstance(spec, Sequence) and not isinstance(spec, str) else [spec]
    if not parts:
        raise RequestError("method.target is empty")
    return list(dict.fromkeys(_goal(part, count, classes) for part in parts))


def _goal(part: Any, count: int, classes: Sequence[str] | None) -> Goal:
    text = str(part).strip()
    if text in WORDS:
        return text
    if text.isdecimal():
        if int(text) >= count:
            raise RequestError(f"method.target has {text}; there are 0 to {count - 1}")
        return int(text)
    if not classes:
        raise RequestError(f"method.target is {text!r}; these outputs have no names: give an index")
    wanted = text.casefold()
    named = [i for i, name in enumerate(classes) if wanted in synonyms(name)]
    if len(named) > 1:
        places = ", ".join(map(str, named))
        raise RequestError(f"method.target {text!r} names several classes: {places}")
    if not named:
        raise unknown("class", text, [*WORDS, *classes])
    return named[0]


def synonyms(name: str) -> list[str]:
    """What a class is called: its whole name, and each part between commas, in small letters."""
    whole = name.casefold()
    return [whole, *(part.strip() for part in whole.split(","))]


def goal_of(goal: Goal, values: Tensor, taken: Sequence[int], *key: object) -> int | None:
    """The index that a goal means for a picture whose outputs are `values` (C,).

    `random` is none of `taken` nor what the picture is taken for, drawn by `key`; None where
    nothing is left.
    """
    if isinstance(goal, int):
        return goal
    if goal == LEAST_LIKELY:
        return int(values.argmin())
    barred = {*taken, int(values.argmax())}
    order = torch.randperm(len(values), generator=random_generator(*key)).tolist()
    return next((index for index in order if index not in barred), None)
