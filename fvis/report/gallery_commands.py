"""The command that makes one unit's pictures again, from what its run left in `.hydra`."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # PyYAML ships no types

# A path that Hydra reads as itself; anything else is put in its quotes.
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")


@dataclass(frozen=True)
class Origin:
    """How a run was asked for: the words after `fvis run`, and the folder they were typed in."""

    words: tuple[str, ...]
    folder: str | None = None


def read_origin(run: Path) -> Origin | None:
    """What `run` was asked with; None where it left no readable `.hydra/overrides.yaml`."""
    overrides = _load(run / ".hydra" / "overrides.yaml")
    if not isinstance(overrides, list):
        return None
    words = [str(word) for word in overrides if not str(word).startswith("hydra.")]
    settings = _load(run / ".hydra" / "hydra.yaml")
    runtime = _get(settings, "hydra", "runtime")
    folder = _get(runtime, "cwd")
    for source in _get(runtime, "config_sources") or []:
        if _get(source, "provider") == "command-line":
            words = ["--config-dir", str(_get(source, "path")), *words]
    return Origin(tuple(words), folder if isinstance(folder, str) else None)


def command(origin: Origin, config: Mapping[str, Any], unit: Mapping[str, Any]) -> str:
    """The shell's line that makes the unit with this metadata again, of a run with `config`."""
    words = list(origin.words)
    for key, value in _choice(config, unit).items():
        words = [word for word in words if word.partition("=")[0].lstrip("+") != key]
        words.append(f"{key}={value}")
    return shlex.join(["fvis", "run", *words])


def _choice(config: Mapping[str, Any], unit: Mapping[str, Any]) -> dict[str, str]:
    """The settings that pick this unit out of its run; none where the run has but one choice."""
    if unit.get("method") == "adversarial":
        if not isinstance(unit.get("source"), str):
            return {}
        return {
            "method.images": _quoted(unit["source"]),
            "method.target": str(unit.get("target", unit.get("unit"))),
        }
    target = _get(config, "target")
    one_of_its_kind = _get(target, "direction") is not None or _get(target, "joint") is not None
    if one_of_its_kind or type(unit.get("unit")) is not int:
        return {}
    return {"target.units": str(unit["unit"])}


def _quoted(text: str) -> str:
    """`text` as a string of Hydra's override grammar."""
    if PLAIN.fullmatch(text):
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def _load(path: Path) -> Any:
    """A YAML file's plain content, interpolations left as they are; None if it is not readable."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException):
        return None


def _get(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content
