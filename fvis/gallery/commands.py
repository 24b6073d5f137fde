"""The `fvis run` command that makes one unit's pictures again, from the run's `.hydra` folder."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fvis import yaml_files
from fvis.interruption import interruptions_first
from fvis.record.attack import AdversarialRecord
from fvis.record.photograph import AccentuationRecord, InversionRecord
from fvis.record.unit import UnitRecord

# A path that needs no quotes in Hydra's override grammar.
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
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


def told_apart(runs: Sequence[Path]) -> list[str]:
    """Of each run, those words of its command that not all of the runs had; empty for none."""
    origins = [read_origin(run) for run in runs]
    words = [origin.words if origin else () for origin in origins]
    shared = set(words[0]).intersection(*words) if words else set()
    return [" ".join(word for word in each if word not in shared) for each in words]


def command(origin: Origin, config: Mapping[str, Any], unit: UnitRecord) -> str:
    """The shell command that makes one unit again.

    `config` is the config of its run, `unit` its metadata.
    """
    words = list(origin.words)
    for key, value in _choice(config, unit).items():
        words = [word for word in words if word.partition("=")[0].lstrip("+") != key]
        words.append(f"{key}={value}")
    return shlex.join(["fvis", "run", *words])


def _choice(config: Mapping[str, Any], unit: UnitRecord) -> dict[str, str]:
    """The settings that select this unit among those of its run; none if there is only one."""
    if isinstance(unit, AdversarialRecord):
        if unit.source is None:
            return {}
        return {
            f"method.{'images' if unit.start is None else 'clips'}": _quoted(unit.source),
            "method.target": str(unit.unit if unit.target is None else unit.target),
        }
    if isinstance(unit, InversionRecord):
        known = {"target.layer": unit.layer, "method.images": unit.source}
        return {key: _quoted(text) for key, text in known.items() if text is not None}
    chosen = _units_choice(config, unit)
    if isinstance(unit, AccentuationRecord) and unit.source is not None:
        chosen["parametrization.start"] = _quoted(unit.source)
    return chosen


def _units_choice(config: Mapping[str, Any], unit: UnitRecord) -> dict[str, str]:
    """The settings that select a unit of a layer; none for directions and joint targets."""
    target = _get(config, "target")
    one_of_its_kind = any(_get(target, key) for key in ("direction", "joint", "grid"))
    if one_of_its_kind or not isinstance(unit.unit, int):
        return {}
    units = {"target.units": str(unit.unit)}
    if unit.layer is None or _get(target, "layer") in (unit.layer, None):
        return units
    return {"target.layer": _quoted(unit.layer), **units}


def _quoted(text: str) -> str:
    """`text` as a string in Hydra's override grammar."""
    if PLAIN.fullmatch(text):
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


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
