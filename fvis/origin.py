"""How a run was started, by the record that Hydra leaves in its folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fvis import yaml_files
from fvis.interruption import interruptions_first

LEFT_OUT = re.compile(r"hydra\.|execution[.=]")  # where a run's files are, and where it is solved


@dataclass(frozen=True)
class Origin:
    """How a run was started: the words after `fvis run`, and the folder they were typed in."""

    words: tuple[str, ...]
    folder: str | None = None


def read_origin(run: Path) -> Origin | None:
    """How `run` was started; None if it has no readable `.hydra/overrides.yaml`."""
    overrides = _load(run / ".hydra" / "overrides.yaml")
    if not isinstance(overrides, list):
        return None
    words = [word for word in map(str, overrides) if not LEFT_OUT.match(word)]
    settings = _load(run / ".hydra" / "hydra.yaml")
    runtime = _get(settings, "hydra", "runtime")
    folder = _get(runtime, "cwd")
    for source in _get(runtime, "config_sources") or []:
        if _get(source, "provider") == "command-line":
            words = ["--config-dir", str(_get(source, "path")), *words]
    return Origin(tuple(words), folder if isinstance(folder, str) else None)


def differing_words(runs: Sequence[Path]) -> list[str]:
    """Of each run, those words of its command that not all of the runs had; empty for none."""
    origins = [read_origin(run) for run in runs]
    words = [origin.words if origin else () for origin in origins]
    shared = set(words[0]).intersection(*words) if words else set()
    return [" ".join(word for word in each if word not in shared) for each in words]


def _load(path: Path) -> Any:
    """The content of a YAML file, interpolations unresolved; None if it cannot be read.

    A link is not read: it may lead out of the run's folder.
    """
    if path.is_symlink() or path.parent.is_symlink():
        return None
    try:
        with interruptions_first():
            yaml_files.check(path)
            return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException):
        return None


def _get(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content
