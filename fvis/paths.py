"""Paths as users write them."""

from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path
from typing import Any

from fvis.errors import RequestError

GLOB = "*?["


def expand(path: str | Path) -> Path:
    """A path that the user gave, with `~` expanded; `~name` of an unknown user stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def find(specs: Any, files_at: Callable[[str], list[Path]], kind: str) -> list[Path]:
    """The files that one or more `specs` refer to, each once, in the order given.

    Raises `RequestError` if `files_at` gives no file for any of them; `kind` is what was looked
    for.
    """
    several = specs if isinstance(specs, list | tuple) else [specs]
    found: dict[Path, None] = {}
    for spec in map(str, several):
        files = files_at(spec)
        if not files:
            where = "in the folder" if expand(spec).is_dir() else "at"
            raise RequestError(f"no {kind} {where} {spec!r}")
        found |= dict.fromkeys(files)
    return list(found)


def files_at(spec: str, suffixes: Set[str]) -> list[Path]:
    """The files that a path, a folder or a glob refers to; none where there are none.

    A folder or glob stands for its files that have one of the `suffixes`, sorted by name; hidden
    ones, as systems leave them beside others (`._a.jpg`), are left out. Raises `RequestError` for a
    device, a pipe or the like, which is never opened.
    """
    path = expand(spec)
    if path.is_dir():
        return with_suffix(_visible(path.iterdir()), suffixes)
    if path.is_file():
        return [path]
    if path.exists():
        raise RequestError(f"{spec!r} is no regular file")
    if any(letter in spec for letter in GLOB):
        found = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        return with_suffix(_visible(found), suffixes)
    return []


def _visible(paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if not path.name.startswith("."))


def with_suffix(paths: Iterable[Path], suffixes: Set[str]) -> list[Path]:
    """The regular files among `paths` that have one of the lower-case `suffixes`, sorted."""
    return sorted(p for p in paths if p.suffix.lower() in suffixes and p.is_file())
