"""The units that `target.units` stands for in a layer, and the names of their directories."""

from collections.abc import Sequence
from typing import Any

import torch

from fvis.artifacts import safe_name
from fvis.errors import RequestError, unknown
from fvis.grammar import UNIT_WORD, UNITS, unit_words
from fvis.models.classes import classes_called


def parse_units(spec: Any, count: int, seed: int, classes: Sequence[str] = ()) -> list[int]:
    """Unit indices from `3`, `[1, 5]`, `"0:64"`, `"all"` or `"random:16"`, of a layer of `count`.

    Where the units are `classes`, a class's name or one of its synonyms is a unit too.

    >>> parse_units("1:7:2", 10, 0), parse_units([3, "8:"], 10, 0)
    ([1, 3, 5], [3, 8, 9])
    >>> parse_units("tench", 2, 0, ["goldfish", "tench, Tinca tinca"])
    [1]
    """
    units = [unit for word in unit_words(spec) for unit in _units_of(word, count, seed, classes)]
    return list(dict.fromkeys(units))


def _units_of(word: str, count: int, seed: int, classes: Sequence[str]) -> list[int]:
    """The units that one word of `grammar.unit_words` stands for."""
    if UNIT_WORD.fullmatch(word) is None:
        return [_class_called(word, classes[:count])]
    if word == "all":
        return list(range(count))
    if word.startswith("random:"):
        return _random_units(int(word.removeprefix("random:")), count, seed)
    if ":" not in word:
        if int(word) >= count:
            raise RequestError(f"target.units has {word}; the layer has units 0 to {count - 1}")
        return [int(word)]
    start, stop, step = ([int(p) if p else None for p in word.split(":")] + [None])[:3]
    beyond = max(start or 0, stop or 0) > count
    units = [] if step == 0 or beyond else list(range(count)[start:stop:step])
    if not units:
        why = "" if beyond else ", which is no unit"
        raise RequestError(f"target.units is {word}{why}; the layer has units 0 to {count - 1}")
    return units


def _class_called(name: str, classes: Sequence[str]) -> int:
    found = classes_called(name, classes)
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(map(str, found))
        raise RequestError(f"target.units {name!r} names several classes: {places}; give an index")
    hint = f" ({unknown('class', name, classes)})" if classes else ""
    raise RequestError(f"target.units is {name!r}; it takes {UNITS}{hint}")


def directory_name(layer: str, unit: int | str, repeat: int | None = None) -> str:
    """A unit's directory: layer with its dots, unit zero-padded to 5, repeat as -r<k>.

    >>> directory_name("blocks.6.mlp.act", 17, 1)
    'blocks.6.mlp.act-00017-r1'
    """
    label = f"{unit:05d}" if isinstance(unit, int) else unit
    name = safe_name(f"{layer}-{label}")
    return name if repeat is None else f"{name}-r{repeat}"


def _random_units(wanted: int, count: int, seed: int) -> list[int]:
    if not 1 <= wanted <= count:
        raise RequestError(f"target.units is random:{wanted}; the layer has {count} units")
    generator = torch.Generator().manual_seed(seed)
    return sorted(torch.randperm(count, generator=generator)[:wanted].tolist())
