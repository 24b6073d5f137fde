"""The output folder while a run is at work in it: locked, cleared, begun, left in a true state."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from fvis import artifacts, whole_files
from fvis.errors import RequestError, UnwritableError
from fvis.gallery.page import write_page
from fvis.record.run import DONE, RunRecord
from fvis.recorder import Recorder
from fvis.run_folder import RUN_FILE, UNIT_FILE, UNITS, SavedRun, read_run

logger = logging.getLogger(__name__)

STATE, HYDRA = ".state", ".hydra"
BATCH_FILE, LOCK, INDEX, LOG = f"{STATE}/batch.pt", f"{STATE}/lock", "index.html", "fvis.log"
FOLDERS = (UNITS, STATE, HYDRA)
FILES = (RUN_FILE, INDEX, LOG, LOCK, BATCH_FILE)


@contextlib.contextmanager
def working_directory(folder: str | None) -> Iterator[None]:
    """A context with another working directory, if that is there: where relative paths start."""
    before = Path.cwd()
    if folder is not None and Path(folder).is_dir():
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """A context in which no other process works in the folder; raises `RequestError` if one does.

    `.state` is removed at the end, unless it holds the state of a batch that is not done.
    """
    state = directory / STATE
    lock = FileLock(directory / LOCK, timeout=0)
    with whole_files.writing(state):
        state.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except NotImplementedError:
            logger.warning("%s cannot be locked: nothing keeps another process from it", directory)
        except Timeout:
            process = read_run(directory).record.process if has_begun(directory) else None
            at_work = process or "another process"
            raise RequestError(f"{at_work} is at work in {directory}") from None
    try:
        yield
    finally:
        if not (directory / BATCH_FILE).is_file():
            shutil.rmtree(state, ignore_errors=True)  # the folder may be gone
        lock.release()


def check_place(directory: Path) -> None:
    """Raise `RequestError` where something else stands in the place of a run's folder or files."""
    for folder in (directory, *(directory / name for name in FOLDERS)):
        if os.path.lexists(folder) and not folder.is_dir():
            raise RequestError(f"{folder} is in the way: it is no folder")
    for file in (directory / name for name in FILES):
        if os.path.lexists(file) and not file.is_file():
            raise RequestError(f"{file} is in the way: it is no regular file")


def refuse_to_replace(directory: Path, old: RunRecord, new: RunRecord) -> None:
    """Raise `RequestError` where a new run in the folder would lose what another one left."""
    begun = old.units or (directory / BATCH_FILE).is_file() or _has_units(directory)
    if old.status != DONE and begun:
        raise RequestError(
            f"{directory} holds a run that was interrupted: `fvis resume {directory}` finishes it "
            "(--force begins anew and replaces it)"
        )
    if old.status == DONE and old.config_sha256 != new.config_sha256:
        raise RequestError(
            f"{directory} holds the finished run of another config: give another hydra.run.dir "
            "(--force replaces it)"
        )


def _has_units(directory: Path) -> bool:
    return any((directory / UNITS).glob(f"[!.]*/{UNIT_FILE}"))


def clear_leftovers(directory: Path) -> None:
    """Remove what a killed process left half-written anywhere in the folder."""
    for folder in (directory, directory / UNITS, directory / STATE, directory / HYDRA):
        whole_files.clear_leftovers(folder)


def clear_done(directory: Path) -> None:
    """Remove what a process has left that was killed as it ended the run, or wrote a report."""
    clear_leftovers(directory)
    if (directory / STATE).is_dir():
        with locked(directory):
            (directory / BATCH_FILE).unlink(missing_ok=True)


def clear(directory: Path) -> None:
    """Remove what the run has left that a new one replaces, first what says that it is there."""
    for file in (RUN_FILE, INDEX, BATCH_FILE):
        (directory / file).unlink(missing_ok=True)
    shutil.rmtree(directory / HYDRA, ignore_errors=True)
    for unit in (directory / UNITS).glob(f"*/{UNIT_FILE}"):
        shutil.rmtree(unit.parent)


def begin(directory: Path, recorder: Recorder, texts: Mapping[str, str]) -> None:
    """Write the texts, by path, then run.json: with that the run has begun."""
    for name, text in texts.items():
        artifacts.write_text(directory / name, text)
    recorder.begin()


def has_begun(directory: Path) -> bool:
    """Whether a run has begun in the folder."""
    return (directory / RUN_FILE).is_file()


def leave(directory: Path, recorder: Recorder, texts: Iterable[str]) -> None:
    """Leave a run that is not done: its run.json and its page say so, as far as they can.

    Of a run that has not even begun nothing stays. A page that cannot be written is removed, lest
    it say what is no longer true.
    """
    if not has_begun(directory):
        for name in texts:
            (directory / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (directory / name).parent.rmdir()
        return
    try:
        recorder.interrupt()
        show(directory, recorder.record)
    except UnwritableError as error:
        logger.warning("%s", error)
        (directory / INDEX).unlink(missing_ok=True)


def show(directory: Path, record: RunRecord) -> None:
    """Write the page of the run, as the record describes it, and a grid's sheet once it is done."""
    run = SavedRun(directory, record)
    write_page([run], directory / INDEX)
    if record.status == DONE and record.setting("target", "grid") is not None:
        from fvis.figures.grid import write_grid  # with matplotlib, which takes long to import

        write_grid(run)
