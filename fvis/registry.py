"""Finds the choices of a kind (model sources, parametrizations, methods) by name."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from fvis.errors import RequestError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Named objects of one kind, each registered by the module that defines it.

    A lookup imports the module of `package` that has the choice's name. Where that does not
    register it, every module of `package` is imported, and every module that an installed package
    declares in the `entry_points` group. So a new choice only needs a new file.
    """

    def __init__(self, kind: str, package: str, entry_points: str | None = None) -> None:
        self._kind = kind
        self._package = package
        self._group = entry_points
        self._entries: dict[str, T] = {}
        self._imported = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers the decorated object under `name`."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self._kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        """The object called `name`; else raises `RequestError`, which lists the nearest names."""
        if name not in self._entries and name in module_names(self._package):
            importlib.import_module(f"{self._package}.{name}")
        if name not in self._entries:
            self._import()
        if name not in self._entries:
            raise unknown(self._kind, name, self._entries)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._import()
        return iter(sorted(self._entries))

    def _import(self) -> None:
        if self._imported:
            return
        self._imported = True  # set first, because an imported module may look names up itself
        for name in module_names(self._package):
            importlib.import_module(f"{self._package}.{name}")
        if self._group is not None:
            load_entry_points(self._group)


def module_names(package: str) -> list[str]:
    """The names of the modules of one of fvis's packages, which is not imported for it."""
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    return [module.name for module in pkgutil.iter_modules([str(folder)])]


def load_entry_points(group: str) -> list[str]:
    """Import what installed packages declare under `group`; returns the names of their modules.

    Raises `RequestError` where a declared module cannot be imported.
    """
    modules = []
    for entry in entry_points(group=group):
        try:
            entry.load()
        except (ImportError, AttributeError) as error:
            raise RequestError(f"{group} entry point {entry.name!r} fails: {error}") from error
        modules.append(entry.module)
    return modules
