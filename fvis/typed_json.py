"""Dataclasses to JSON and back: every value is checked against its field's type."""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")
Number = float | None  # JSON has no NaN and no infinity: they are null

KEY, OMITTED = "json_key", "omitted_when_none"


def key(name: str | None = None, *, omitted: bool = False, default: Any = None) -> Any:
    """A field that stands in JSON under another name, or not at all while it is None."""
    return dataclasses.field(default=default, metadata={KEY: name, OMITTED: omitted})


def to_json(value: Any) -> Any:
    """A dataclass as a JSON object, in the order of its fields; the rest of `value` as it is.

    A field called `extra` holds further keys: they stand beside the others.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        content: dict[str, Any] = {}
        for entry in dataclasses.fields(value):
            part = getattr(value, entry.name)
            if entry.name == "extra":
                content |= part
            elif part is not None or not entry.metadata.get(OMITTED):
                content[_key_of(entry)] = to_json(part)
        return content
    if isinstance(value, Mapping):
        return {str(name): to_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    return value


def from_json(kind: type[T], content: Mapping[str, Any]) -> tuple[T, list[str]]:
    """The dataclass that a JSON object describes, and the keys whose values are of a wrong type.

    Such keys and absent ones get the field's default. Every field needs one.
    """
    hints = _hints(cast(Any, kind))
    faults: list[str] = []
    values: dict[str, Any] = {}
    known = set()
    for entry in dataclasses.fields(kind):  # type: ignore[arg-type]  # callers pass dataclasses
        name = _key_of(entry)
        known.add(name)
        if name in content and entry.name != "extra":
            try:
                values[entry.name] = _converted(hints[entry.name], content[name])
            except (TypeError, ValueError):
                faults.append(name)
    if "extra" in hints:
        values["extra"] = {k: v for k, v in content.items() if k not in known}
    return kind(**values), faults


def _key_of(entry: "dataclasses.Field[Any]") -> str:
    return entry.metadata.get(KEY) or entry.name


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _converted(hint: Any, value: Any) -> Any:
    """`value` as the type hint says; raises `TypeError` or `ValueError` where it is not that."""
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _first_that_fits(arguments, value)
    if dataclasses.is_dataclass(hint):
        return _whole(hint, value)
    if origin in (list, tuple) and isinstance(value, list | tuple):
        if origin is list or arguments[-1] is Ellipsis:
            return origin(_converted(arguments[0], part) for part in value)
        pairs = zip(arguments, value, strict=True)
        return tuple(_converted(part_hint, part) for part_hint, part in pairs)
    if origin is dict and isinstance(value, Mapping):
        return {str(name): _converted(arguments[1], part) for name, part in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise TypeError(f"{value!r} is not {hint}")


def _first_that_fits(hints: tuple[Any, ...], value: Any) -> Any:
    for hint in hints:
        try:
            return _converted(hint, value)
        except (TypeError, ValueError):
            continue
    raise TypeError(f"{value!r} is none of {hints}")


def _whole(kind: Any, value: Any) -> Any:
    """A nested dataclass, whose faults are its owner's."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no mapping")
    found, faults = from_json(kind, value)
    if faults:
        raise TypeError(f"{kind.__name__} has wrong values for {', '.join(faults)}")
    return found
