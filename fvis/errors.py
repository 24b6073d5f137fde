"""The errors that the command line reports in one line, without a traceback."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path


class RequestError(ValueError):
    """The user asked for something impossible. The one-line message is shown, exit status 2."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> RequestError:
    """A `RequestError` for a name that does not exist.

    It suggests up to three similar names. If there are none, it lists all names if they are few.
    """
    names = sorted(set(valid))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near = near or [other for other in names if name and name.lower() in other.lower()][:3]
    if near:
        return RequestError(f"no {kind} {name!r}; nearest: {', '.join(near)}")
    if len(names) <= 12:
        return RequestError(f"no {kind} {name!r}; there are: {', '.join(names)}")
    return RequestError(f"no {kind} {name!r}")


class UnwritableError(RuntimeError):
    """A file cannot be written, as on a full disk; `remedy` says what to do about it."""

    def __init__(self, path: Path, reason: str, remedy: str = "") -> None:
        super().__init__(f"{path} cannot be written: {reason}" + (f" ({remedy})" if remedy else ""))
        self.path, self.reason, self.remedy = path, reason, remedy


class FailedRunError(RuntimeError):
    """A run went to its end, and not one of its units could be shown."""


@contextlib.contextmanager
def exits_are_errors(what: str) -> Iterator[None]:
    """A context in which code that is not ours cannot end the process by sys.exit.

    Such an exit would look like success. It becomes a `RuntimeError` that names `what`.
    """
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"{what} called sys.exit({error.code!r})") from error


class InterruptedRunError(KeyboardInterrupt):
    """A run was interrupted; `fvis resume` can finish it from what is saved in `directory`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory))
        self.directory = directory
