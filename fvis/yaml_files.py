"""YAML of unknown origin, looked at before it is loaded."""

from pathlib import Path

import yaml

LARGEST = 1_000_000  # bytes
DEEPEST = 50  # collections inside of one another
EMPTY = ("", "~", "null")
MOST_NODES = 10_000  # keys, values and collections, where aliases count as what they stand for


class UnsafeYamlError(ValueError):
    """A YAML file that would take too much time or memory to load; one line says why."""


def check(path: Path) -> None:
    """Raise `UnsafeYamlError` for a file that is no regular one or no collection, or is too much.

    Aliases inside of anchored nodes multiply: a few lines can stand for billions of nodes. Syntax
    errors are left to whoever loads the file.
    """
    if not path.is_file():
        raise UnsafeYamlError(f"{path} is no regular file")
    if path.stat().st_size > LARGEST:
        raise UnsafeYamlError(f"{path} is larger than {LARGEST // 1_000_000} MB")
    try:
        fault = _fault(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return
    if fault is not None:
        raise UnsafeYamlError(f"{path} {fault}")


def _fault(text: str) -> str | None:
    """In words, what makes a YAML text unsafe to load; None where nothing does."""
    opened: list[tuple[str | None, int]] = []  # anchor and first node of each open collection
    sizes: dict[str, int] = {}  # nodes below each anchor
    nodes = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, first = opened.pop()
            sizes[anchor or ""] = nodes - first
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor is not None for anchor, _ in opened):
                return "has an alias inside of an anchored node"
            nodes += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if not opened and event.value not in EMPTY:
                return "holds a single value"
        if len(opened) > DEEPEST:
            return f"is nested more than {DEEPEST} deep"
        if nodes > MOST_NODES:
            return f"stands for more than {MOST_NODES:,} values"
    return None
