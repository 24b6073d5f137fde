"""Parsing of `target.units`, and the names of units' output directories."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fvis.artifacts import safe_name
from fvis.errors import RequestError, unknown
from fvis.models.classes import classes_called
from fvis.paths import expand

GRAMMAR = "3, [1,5], 0:64, all, random:16, @file, or a class's name for logits"


def parse_units(spec: Any, count: int, seed: int, classes: Sequence[str] = ()) -> list[int]:
    """Unit indices from `3`, `[1, 5]`, `"0:64"`, `"all"` or `"random:16"`, of a layer of `count`.

    Where the units are `classes`, a class's name or one of its synonyms is a unit too.

    >>> parse_units("1:7:2", 10, 0), parse_units([3, "8:"], 10, 0)
    ([1, 3, 5], [3, 8, 9])
    >>> parse_units("tench", 2, 0, ["goldfish", "tench, Tinca tinca"])
    [1]
    """
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        units = [unit for part in spec for unit in parse_units(part, count, seed, classes)]
        if not units:
            raise RequestError("target.units is empty")
        return list(dict.fromkeys(units))
    text = str(spec).strip()
    if text.startswith("@"):
        return parse_units(_words_in(expand(text[1:])), count, seed, classes)
    if text == "all":
        return list(range(count))
    if match := re.fullmatch(r"random:(\d+)", text):
        return _random_units(int(match[1]), count, seed)
    if re.fullmatch(r"\d+", text):
        if int(text) >= count:
            raise RequestError(f"target.units has {text}; the layer has units 0 to {count - 1}")
        return [int(text)]
    if re.fullmatch(r"\d*:\d*(:\d+)?", text):
        start, stop, step = ([int(p) if p else None for p in text.split(":")] + [None])[:3]
        beyond = max(start or 0, stop or 0) > count
        units = [] if step == 0 or beyond else list(range(count)[start:stop:step])
        if units:
            return units
        raise RequestError(f"target.units is {text}; the layer has units 0 to {count - 1}")
    return [_class_called(text, classes[:count])]


def _class_called(name: str, classes: Sequence[str]) -> int:
    found = classes_called(name, classes)
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(map(str, found))
        raise RequestError(f"target.units {name!r} names several classes: {places}; give an index")
    hint = f" ({unknown('class', name, classes)})" if classes else ""
    raise RequestError(f"target.units is {name!r}; it takes {GRAMMAR}{hint}")


def _words_in(path: Path) -> list[str]:
    """The words of a file of units: separated by spaces, commas or lines; # starts a comment."""
    if not path.is_file():
        raise RequestError(f"target.units: no file {str(path)!r}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"target.units: {str(path)!r} cannot be read: {error}") from None
    return [word for line in lines for word in line.partition("#")[0].replace(",", " ").split()]


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
