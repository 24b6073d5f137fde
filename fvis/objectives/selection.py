"""Which layers `target.layer` names, and which units of each `target.units` asks for."""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fvis.errors import RequestError, unknown
from fvis.models.base import Model
from fvis.models.layers import Layer, survey
from fvis.models.stages import stages
from fvis.objectives.targets import layers_read
from fvis.schema import TargetConfig

STAGES = "stages"  # instead of a path: the network's own stages
GLOB = re.compile(r"\*\*|\*|\?|\[!?[^]!][^]]*\]")


@dataclass(frozen=True)
class Selected:
    """One layer of a selection, as a target config of its own.

    `named` says whether its path was given, not a pattern that it matches.
    """

    target: TargetConfig
    named: bool

    @property
    def path(self) -> str:
        """The layer's path."""
        return str(self.target.layer)


def is_single(target: TargetConfig) -> bool:
    """Whether a target config names one layer by its path, and its units alone."""
    layer = target.layer
    named = isinstance(layer, str) and not _is_pattern(layer)
    return named and not isinstance(target.units, Mapping)


def survey_asked(target: TargetConfig, model: Model) -> dict[str, Layer]:
    """The model's layers, as `survey` finds them.

    All must run if a pattern is to be matched, else those that are read.
    """
    if is_single(target):
        return survey(model, target.output, layers_read(target))
    words = _words(target)
    return survey(model, target.output, () if any(map(_is_pattern, words)) else words)


def select(target: TargetConfig, model: Model, layers: Collection[str]) -> list[Selected]:
    """The ones among a model's `layers` that a target config asks for, in the same order.

    Raises `RequestError` for a path that the network does not have, a pattern that matches no
    layer, and units given for a layer that is not selected.
    """
    paths, named = list(layers), dict[str, bool]()
    for word in _words(target):
        found = [word] if word in paths and word != STAGES else _matched(word, paths, model)
        for path in found:
            named[path] = named.get(path, False) or not _is_pattern(word)
    order = sorted(named, key=paths.index)
    if isinstance(target.units, Mapping):
        _refuse_stray(target.units, order)
    return [
        Selected(
            dataclasses.replace(target, layer=path, units=_units_of(path, target.units)),
            named[path],
        )
        for path in order
    ]


def matches(pattern: str, path: str) -> bool:
    """Whether a glob matches a layer's path. Raises `RequestError` for one that cannot be read.

    `*` stands for any characters within one part of the path, `**` also for dots; `?` stands for
    one character that is no dot, `[ab]` for one of a set, and `[!ab]` for any other that is no dot.

    >>> matches("blocks.*.act", "blocks.3.act"), matches("blocks.*", "blocks.3.act")
    (True, False)
    >>> matches("**.act", "blocks.3.act"), matches("layer[12]", "layer2")
    (True, True)
    >>> matches("layer[!1]", "layer2"), matches("layer[!1]conv", "layer.conv")
    (True, False)
    """
    translated, place = "", 0
    for wild in GLOB.finditer(pattern):
        translated += re.escape(pattern[place : wild.start()]) + _translated(wild[0])
        place = wild.end()
    try:
        return re.fullmatch(translated + re.escape(pattern[place:]), path) is not None
    except re.error:  # a set such as [z-a]
        raise RequestError(f"target.layer: {pattern!r} is no pattern") from None


def _words(target: TargetConfig) -> list[str]:
    return [target.layer] if isinstance(target.layer, str) else list(target.layer)


def _translated(wild: str) -> str:
    if not wild.startswith("["):
        return {"**": ".*", "*": "[^.]*", "?": "[^.]"}[wild]
    negated = wild.startswith("[!")
    letters = re.sub(r"([\\\[^&~|])", r"\\\1", wild[2 if negated else 1 : -1])
    return f"[^.{letters}]" if negated else f"[{letters}]"


def _matched(word: str, paths: Sequence[str], model: Model) -> list[str]:
    """The paths that a word of `target.layer` stands for."""
    if word == STAGES:
        found = [path for path in stages(model.module) if path in paths]
        if not found:
            raise RequestError(
                f"{model.name} declares no stages, and has no sequence of modules: name its layers"
            )
    else:
        found = [path for path in paths if _is_pattern(word) and matches(word, path)]
    if not found:
        raise unknown("layer", word, paths)
    return found


def _refuse_stray(units: Mapping[str, Any], paths: Collection[str]) -> None:
    """Raise `RequestError` where units are given for a layer that is not selected."""
    for key in units:
        if key not in paths and not any(matches(key, path) for path in paths):
            raise RequestError(f"target.units: {unknown('selected layer', key, paths)}")


def _units_of(path: str, units: Any) -> Any:
    """What `target.units` asks for of one layer: by its path, else by the first fitting pattern."""
    if not isinstance(units, Mapping):
        return units
    keys = [path] if path in units else [key for key in units if matches(key, path)]
    if not keys:
        raise RequestError(f"target.units gives no units for layer {path}")
    return units[keys[0]]


def _is_pattern(word: str) -> bool:
    return word == STAGES or GLOB.search(word) is not None
