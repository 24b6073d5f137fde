"""YAML of unknown origin, looked at before it is loaded."""

from pathlib import Path

import yaml  # type: ignore[import-untyped]  # PyYAML ships no types

LARGEST = 1_000_000  # bytes


class UnsafeYamlError(ValueError):
    """A YAML file that would take too much time or memory to load; one line says why."""


def check(path: Path) -> None:
    """Raise `UnsafeYamlError` for a file that is not regular, is too large, or nests aliases.

    Aliases inside of anchored nodes multiply: a few lines can stand for billions of nodes. Syntax
    errors are left to whoever loads the file.
    """
    if not path.is_file():
        raise UnsafeYamlError(f"{path} is no regular file")
    if path.stat().st_size > LARGEST:
        raise UnsafeYamlError(f"{path} is larger than {LARGEST // 1_000_000} MB")
    try:
        nested = _nests_aliases(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return
    if nested:
        raise UnsafeYamlError(f"{path} has an alias inside of an anchored node")


def _nests_aliases(text: str) -> bool:
    anchored: list[bool] = []  # of each collection that is open
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            anchored.append(event.anchor is not None)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchored.pop()
        elif isinstance(event, yaml.AliasEvent) and any(anchored):
            return True
    return False
