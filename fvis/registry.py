"""Finds the choices of a kind (model sources, parametrizations, methods) by name."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from fvis.errors import unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Named objects of one kind, each registered by the module that defines it.

    Every module of `package` is imported at the first lookup, so adding a choice is adding a file.
    """

    def __init__(self, kind: str, package: str) -> None:
        self._kind = kind
        self._package = package
        self._entries: dict[str, T] = {}
        self._imported = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: `name` stands for the decorated object."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self._kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        """The object called `name`; raises `RequestError` with the nearest names."""
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
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._imported = True
