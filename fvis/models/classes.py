"""Finds a network's classes by name."""

from collections.abc import Sequence


def synonyms(name: str) -> list[str]:
    """The names of a class, in lower case: its whole name, and each of its parts between commas.

    >>> synonyms("tench, Tinca tinca")
    ['tench, tinca tinca', 'tench', 'tinca tinca']
    """
    whole = name.casefold()
    return [whole, *(part.strip() for part in whole.split(","))]


def classes_called(name: str, classes: Sequence[str]) -> list[int]:
    """The indices of the classes that have this name, or this synonym.

    >>> classes_called("Tench", ["goldfish", "tench, Tinca tinca"])
    [1]
    """
    wanted = name.casefold()
    return [index for index, known in enumerate(classes) if wanted in synonyms(known)]
