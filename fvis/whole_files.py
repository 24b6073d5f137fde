"""Files and folders that come to be whole or not at all, whatever stops the process."""

import contextlib
import errno
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from fvis.errors import UnwritableError

# How the names of files and folders begin that are not whole yet, or are being replaced.
UNFINISHED, REPLACED = ".fvis-tmp-", ".fvis-old-"

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
OWN_STATUS = Path("/proc/self/status")
_UMASK = threading.Lock()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """A context in which what the system refuses is an `UnwritableError` that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "free some space" if error.errno in NO_ROOM else ""
        raise UnwritableError(path, reason, remedy) from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file to write the content of `path` to.

    It becomes `path`, replacing it, if the block ends without an error, and is deleted otherwise,
    with the folders that were made for it. Raises `UnwritableError` where the system refuses.
    """
    with writing(path), _folder(path.parent):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=path.suffix)
        os.close(handle)
        place = Path(name)
        try:
            yield place
            place.chmod(0o666 & ~_umask())
            place.replace(path)
        finally:
            place.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A temporary directory to fill with the content of `path`.

    It becomes `path`, replacing it, if the block ends without an error, and is deleted otherwise,
    with the folders that were made for it. Raises `UnwritableError` where the system refuses.
    """
    with writing(path), _folder(path.parent):
        place = Path(tempfile.mkdtemp(dir=path.parent, prefix=UNFINISHED))
        try:
            place.chmod(0o777 & ~_umask())
            yield place
            if os.path.lexists(path):  # a dangling link is replaced too
                _replace(path, place)
            else:
                place.rename(path)
        except UnwritableError as error:  # of a file in it, which has no other name yet
            known = path / error.path.relative_to(place)
            raise UnwritableError(known, error.reason, error.remedy) from error
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _replace(path: Path, place: Path) -> None:
    """Put the directory `place` where the directory `path` is; on an error `path` stays."""
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=REPLACED))
    try:
        path.rename(old / path.name)
        place.rename(path)
    finally:
        if not os.path.lexists(path):
            (old / path.name).rename(path)
        shutil.rmtree(old)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """A context in which a folder is there; if it fails, no empty folder made for it is left."""
    made = [place for place in (path, *path.parents) if not place.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder.

    A directory that was to be replaced, and whose successor had not yet taken its place, is put
    back.
    """
    for old in (place for place in folder.glob(f"{REPLACED}*") if place.is_dir()):
        for path in old.iterdir():
            if not (folder / path.name).exists():
                path.rename(folder / path.name)
        shutil.rmtree(old)
    for place in folder.glob(f"{UNFINISHED}*"):
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()


def remove_if_empty(directory: Path, base: Path) -> None:
    """Remove a directory that is empty, and those around it up to `base`, which stays."""
    for folder in (directory, *directory.parents):
        if folder == base or not (folder == directory or folder.is_relative_to(base)):
            return
        try:
            folder.rmdir()
        except OSError:
            return


def _umask() -> int:
    """The process's mask of permissions.

    Outside Linux it can only be read by setting it, which threads share.
    """
    with contextlib.suppress(OSError):
        known = re.search(r"^Umask:\s*([0-7]+)$", OWN_STATUS.read_text(), re.MULTILINE)
        if known:
            return int(known[1], 8)
    with _UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return mask
