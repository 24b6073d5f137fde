"""How units and positions are written: what of a target can be read before there is a network."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fvis.errors import RequestError
from fvis.paths import expand

Index = tuple[int, ...]

UNITS = "3, [1,5], 0:64, all, random:16, @file, or a class's name for logits"
UNIT_WORD = re.compile(r"all|random:\d+|\d+|\d*:\d*(:\d+)?")
CLASS_NAME = re.compile(r"(?!random:|@).*[^\W\d].*", re.DOTALL)  # it has a letter


def unit_words(spec: Any) -> list[str]:
    """The words of `target.units`; lists, files (`@file`) and the units of each layer unfolded.

    A word with a letter in it may be a class's name: that is for the network to say. Raises
    `RequestError` for any other word that is no unit, for a file that cannot be read, and for no
    words at all.

    >>> unit_words([3, "8:", "random:2"])
    ['3', '8:', 'random:2']
    """
    if isinstance(spec, Mapping):
        spec = list(spec.values())
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        words = [word for part in spec for word in unit_words(part)]
        if not words:
            raise RequestError("target.units is empty")
        return words
    text = str(spec).strip()
    if text.startswith("@"):
        return unit_words(_words_in(expand(text[1:])))
    if UNIT_WORD.fullmatch(text) is None and CLASS_NAME.fullmatch(text) is None:
        raise RequestError(f"target.units is {text!r}; it takes {UNITS}")
    return [text]


def parse_position(spec: Any) -> tuple[str, Index | None]:
    """`target.position` as a word and, where the word is "index", the index.

    >>> parse_position("mean"), parse_position([3, 4])
    (('mean', None), ('index', (3, 4)))
    """
    if isinstance(spec, str) and spec in ("mean", "center", "cls"):
        return spec, None
    numbers = [spec] if isinstance(spec, int) else spec
    if isinstance(numbers, Sequence) and numbers and all(type(n) is int for n in numbers):
        return "index", tuple(numbers)
    raise RequestError(
        f"target.position is {spec!r}; it takes mean, center, cls, or an index such as [3,3]"
    )


def _words_in(path: Path) -> list[str]:
    """The words of a file of units: separated by spaces, commas or lines; # starts a comment."""
    if not path.is_file():
        raise RequestError(f"target.units: no file {str(path)!r}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"target.units: {str(path)!r} cannot be read: {error}") from None
    return [word for line in lines for word in line.partition("#")[0].replace(",", " ").split()]
