"""The `fvis run` command that makes one unit's pictures again, from the run's `.hydra` folder."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from fvis.origin import Origin
from fvis.record.attack import AdversarialRecord
from fvis.record.photograph import AccentuationRecord, InversionRecord
from fvis.record.unit import UnitRecord

# A path that needs no quotes in Hydra's override grammar.
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")


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


def _get(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content
