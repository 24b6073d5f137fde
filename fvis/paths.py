"""Paths as users write them."""

from pathlib import Path


def expand(path: str | Path) -> Path:
    """A path that the user gave, with `~` expanded; `~name` of an unknown user stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
