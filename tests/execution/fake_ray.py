"""As much of Ray as the driver uses, in this process: what workers do, and how they are lost."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """Something of Ray's, such as the loss of a worker."""


class RayTaskError(RayError):
    """An error that a worker's own code has raised: `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class FakeRay:
    """Calls are made as they are waited for, the latest first; `lose` says which are lost.

    It is called with a worker's number and the name and arguments of the call.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, build: Callable[[], Any], lose: Callable[..., bool]) -> None:
        self._build, self._lose = build, lose
        self.started = 0

    def remote(self) -> Any:
        """An actor, as `ray.remote(Worker).remote()` gives it."""
        number, worker = self.started, self._build()
        self.started += 1

        def method(name: str) -> Any:
            return SimpleNamespace(remote=lambda *given: _Call(number, worker, name, given))

        return SimpleNamespace(**{name: method(name) for name in ("build", "solve", "progress")})

    def wait(
        self, calls: Sequence["_Call"], *, num_returns: int = 1, timeout: float = 0
    ) -> tuple[list["_Call"], list["_Call"]]:
        """The calls that are done, and the others."""
        done = list(calls)[-num_returns:]
        return done, [call for call in calls if call not in done]

    def get(self, call: "_Call") -> Any:
        """What a call gives back."""
        if self._lose(call.number, call.name, *call.given):
            raise RayError("the worker died")
        try:
            return getattr(call.worker, call.name)(*call.given)
        except Exception as error:
            raise RayTaskError(error) from error


class _Call:
    def __init__(self, number: int, worker: Any, name: str, given: tuple[Any, ...]) -> None:
        self.number, self.worker, self.name, self.given = number, worker, name, given
