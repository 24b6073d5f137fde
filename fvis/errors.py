"""The errors that the command line reports in one line, without a traceback."""

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml
from omegaconf.errors import OmegaConfBaseException

LONGEST = 1000  # characters of an error line
ABOUT_A_PATH = frozenset({  # what the system says of a path that the user gave
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENODEV,
    errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.EPERM, errno.EROFS,
})  # fmt: skip


class RequestError(ValueError):
    """The user asked for something impossible. The one-line message is shown, exit status 2."""


ABOUT_A_REQUEST = (RequestError, OmegaConfBaseException, UnicodeError, yaml.YAMLError)


class JobError(Exception):
    """A job failed with an exit status, and has said why. `jobs` names those of a sweep."""

    def __init__(self, status: int, jobs: Sequence[str] = ()) -> None:
        super().__init__(status)
        self.status, self.jobs = status, jobs


def exit_status(error: BaseException) -> int:
    """2 where an error is about the request or a file that the user gave, 1 for any other."""
    if isinstance(error, OSError):
        return 2 if error.errno in ABOUT_A_PATH else 1
    return 2 if isinstance(error, ABOUT_A_REQUEST) else 1


def one_line(error: BaseException) -> str:
    """An error's message on one line, without its middle if it is very long."""
    text = _text(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    text = " ".join(text.split()) or type(error).__name__
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"


def unknown(kind: str, name: str, valid: Iterable[str]) -> RequestError:
    """A `RequestError` for a name that does not exist.

    It suggests up to three similar names. If there are none, it lists all names if they are few.
    """
    names = sorted(set(valid))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near = near or [other for other in names if name and name.lower() in other.lower()][:3]
    if near:
        return RequestError(f"no {kind} {name!r}; nearest: {', '.join(near)}")
    if len(names) <= 16:
        return RequestError(f"no {kind} {name!r}; there are: {', '.join(names)}")
    return RequestError(f"no {kind} {name!r}")


def described(error: BaseException) -> str:
    """An error of code that is not ours: its first line, after its class where that is odd."""
    first = (_text(error).strip().splitlines() or [""])[0]
    plain = isinstance(error, RuntimeError | ValueError | TypeError | AssertionError)
    text = one_line(ValueError(first)) if first else ""
    return text if plain and text else ": ".join(filter(None, (type(error).__name__, text)))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # that of a user's own exception may fail in turn
        return ""


class UnwritableError(RuntimeError):
    """A file cannot be written, as on a full disk; `remedy` says what to do about it."""

    def __init__(self, path: Path, reason: str, remedy: str = "") -> None:
        super().__init__(f"{path} cannot be written: {reason}" + (f" ({remedy})" if remedy else ""))
        self.path, self.reason, self.remedy = path, reason, remedy


class FailedRunError(RuntimeError):
    """A run went to its end, and not one of its units could be shown."""


class LostBatchesError(RuntimeError):
    """Workers were lost again and again with the same units, which have no pictures."""

    def __init__(self, units: Sequence[str], directory: Path) -> None:
        more = f" and {len(units) - 3} more" if len(units) > 3 else ""
        named = ", ".join(units[:3]) + more
        super().__init__(
            f"workers were lost with {named}; `fvis resume {directory}` tries them again"
        )


@contextlib.contextmanager
def exits_are_errors(what: str) -> Iterator[None]:
    """A context in which code that is not ours cannot end the process by sys.exit and the like.

    Such an exit would look like success. It becomes a `RuntimeError` that names `what`.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise RuntimeError(f"{what} called sys.exit({error.code!r})") from error
    except BaseException as error:
        raise RuntimeError(f"{what} raised {type(error).__name__}") from error


class InterruptedRunError(KeyboardInterrupt):
    """A run was interrupted; `fvis resume` can finish it from what is saved in `directory`.

    With `repeat` it is a study of several runs, which its own command, given again, goes on with.
    """

    def __init__(self, directory: Path, *, repeat: bool = False) -> None:
        super().__init__(str(directory))
        self.directory, self.repeat = directory, repeat
