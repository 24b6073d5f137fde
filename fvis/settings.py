"""Dataclass fields that carry the range or choices of a setting, and the check of given values."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from omegaconf.resolvers import oc

from fvis.errors import RequestError, unknown

T = TypeVar("T")

OWN_VARIABLES = "FVIS_"  # how the environment variables begin that a config may read
REFUSED_VALUE = "RequestError raised while resolving interpolation: "  # OmegaConf's words
LARGEST = 1e9  # of a number that has no limit of its own: what is larger overflows sooner or later


def setting(
    default: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    one_of: Sequence[str | int] | None = None,
) -> Any:
    """A dataclass field with the range or the choices that `section` checks its value against."""
    limits = {"at_least": at_least, "above": above, "at_most": at_most, "one_of": one_of}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=limits)
    return field(default=default, metadata=limits)


@contextlib.contextmanager
def own_environment() -> Iterator[None]:
    """A context in which a config may read of the environment only what is meant for fvis.

    What a config holds is recorded, and `${oc.env:NAME}` would record a secret. So a name that does
    not start with `FVIS_` is refused, however the config comes to it.
    """
    resolvers = BaseContainer._resolvers  # OmegaConf replaces a resolver, but gives none back
    before = resolvers["oc.env"]

    def read(name: str, *default: str | None) -> str | None:
        if name.startswith(OWN_VARIABLES):
            if not default and name not in os.environ:
                raise RequestError(f"the environment variable {name} is not set")
            return oc.env(name, *default)
        raise RequestError(
            f"the environment variable {name} would be recorded with the config; "
            f"only names that start with {OWN_VARIABLES} are read: give its value instead"
        )

    OmegaConf.register_new_resolver("oc.env", read, replace=True)
    try:
        yield
    finally:
        resolvers["oc.env"] = before


def section(given: Any, key: str, kind: type[T]) -> T:
    """The settings `given` of one section, typed and checked; `key` is its name in errors.

    Raises `RequestError` for an unknown setting, a wrong type or a value out of range.
    """
    if not isinstance(given, Mapping):
        raise RequestError(f"{key} is {given!r}; it takes settings")
    try:
        typed = OmegaConf.merge(OmegaConf.structured(kind), given)
        found = OmegaConf.to_object(typed)
    except (OmegaConfBaseException, OverflowError) as error:
        name = getattr(error, "full_key", None) or ""
        said = str(getattr(error, "msg", None) or error)
        text = re.sub(r"\s+", " ", said).partition(" full_key:")[0].strip()
        text = text.removeprefix(REFUSED_VALUE)
        if isinstance(error, ConfigKeyError | ConfigAttributeError):
            raise unknown("setting", f"{key}.{name}", setting_names(key, kind)) from None
        place = f"{key}.{name}" if name else key
        if "is not a ListConfig" in text:
            value = OmegaConf.select(OmegaConf.create(dict(given)), name)
            raise RequestError(f"{place} is {value!r}; it takes a list, as [{value}]") from None
        raise RequestError(f"{place}: {text}") from None
    assert isinstance(found, kind)
    for path, value, limits in _walk(found, key):
        _check(path, value, limits)
    return found


def setting_names(prefix: str, kind: type) -> Iterator[str]:
    """The dotted names of all settings of a config dataclass."""
    for entry in dataclasses.fields(kind):
        name = f"{prefix}.{entry.name}"
        yield name
        if dataclasses.is_dataclass(entry.type) and isinstance(entry.type, type):
            yield from setting_names(name, entry.type)


def _walk(section: Any, prefix: str) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    for entry in dataclasses.fields(section):
        value = getattr(section, entry.name)
        if dataclasses.is_dataclass(value):
            yield from _walk(value, f"{prefix}.{entry.name}")
        elif value is not None:
            yield f"{prefix}.{entry.name}", value, entry.metadata


def _check(path: str, value: Any, limits: Mapping[str, Any]) -> None:
    one_of = limits.get("one_of")
    if one_of is not None and value not in one_of:
        raise RequestError(f"{path} is {value!r}; it takes one of: {', '.join(map(str, one_of))}")
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if not number == number or number in (float("inf"), float("-inf")):
            raise RequestError(f"{path} is {value}; it must be finite")
        if limits.get("at_least") is not None and number < limits["at_least"]:
            raise RequestError(f"{path} is {value}; it must be at least {limits['at_least']:g}")
        if limits.get("above") is not None and number <= limits["above"]:
            raise RequestError(f"{path} is {value}; it must be above {limits['above']:g}")
        most = LARGEST if limits.get("at_most") is None else limits["at_most"]
        if number > most:
            raise RequestError(f"{path} is {value}; it must be at most {most:g}")
