"""The folder of a run or a sweep: reads and writes the records in it."""

import dataclasses
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fvis import artifacts, processes, whole_files
from fvis.artifacts import Writer, safe_name
from fvis.errors import RequestError
from fvis.record.run import DONE, INTERRUPTED, RUNNING, UNIT_RECORDS, RunRecord, SweepRecord
from fvis.record.unit import SCHEMA, UnitRecord
from fvis.typed_json import from_json, to_json

logger = logging.getLogger(__name__)

RUN_FILE, SWEEP_FILE, UNIT_FILE, UNITS = "run.json", "sweep.json", "metadata.json", "units"
NAME = re.compile(r"(.+)-\d{5,}(?:-r\d+)?")  # of a unit's directory: its layer, before its index

R = TypeVar("R", bound=UnitRecord)


@dataclass(frozen=True)
class SavedUnit:
    """A unit's directory, what its metadata.json says, and the keys that the file has."""

    folder: Path
    record: UnitRecord
    keys: frozenset[str] = frozenset()

    def file(self, name: str) -> Path:
        """The path of one of the unit's files; raises `RequestError` where it is missing."""
        path = self.folder / name
        if not path.is_file():
            raise RequestError(f"{self.folder} has no {name}")
        return path

    @property
    def picture(self) -> Path:
        """The file of its optimal picture; raises `RequestError` where it is missing.

        Of a unit that sees but a part of the input, it is this part, enlarged.
        """
        return self.file("motif.png" if "motif.png" in (self.record.files or ()) else "image.png")

    def record_of(self, kind: type[R]) -> R:
        """The record as that of a method; raises `RequestError` where another one made the unit."""
        if not isinstance(self.record, kind):
            raise RequestError(f"{self.folder} was made by method={self.record.method}")
        return self.record


@dataclass(frozen=True)
class SavedRun:
    """A run's directory, and what its run.json says."""

    folder: Path
    record: RunRecord

    def units(self) -> Iterator[SavedUnit]:
        """The run's units on disk, shallow layers first, those of a layer by name.

        They are the ones that run.json lists if the run is done. Until then they are all there are,
        except those of another config.
        """
        listed = self.record.units if self.record.status == DONE else None
        names = None if listed is None else set(listed)
        depths = {safe_name(path): depth for path, depth in self.record.layers.items()}

        def place(folder: Path) -> tuple[int, Any]:
            named = NAME.fullmatch(folder.name)
            return depths.get(named[1], 0) if named else 0, _natural(folder)

        for folder in sorted(_unit_folders(self.folder), key=place):
            if names is None or folder.name in names:
                unit = read_unit(folder)
                if self._owns(unit.record):
                    yield unit

    @property
    def made(self) -> int:
        """How many units are finished: while a run goes on, more than its run.json says."""
        known = sum(self.record.statuses.values())
        return known if self.record.status == DONE else len(list(_unit_folders(self.folder)))

    @property
    def status(self) -> str | None:
        """The run's status; a run whose process is gone is interrupted, whatever its file says."""
        if self.record.status == RUNNING and processes.is_gone(self.record.process):
            return INTERRUPTED
        return self.record.status

    def _owns(self, unit: UnitRecord) -> bool:
        own = self.record.config_sha256
        return None in (unit.config_sha256, own) or unit.config_sha256 == own


def read_run(folder: Path) -> SavedRun:
    """The run in a folder, whatever state it is in; raises `RequestError` where there is none."""
    if not (folder / RUN_FILE).is_file():
        raise RequestError(f"{folder} is no run: it has no {RUN_FILE}")
    record, _ = from_json(RunRecord, read_json(folder / RUN_FILE))
    return SavedRun(folder, record)


def is_done(folder: Path) -> bool:
    """Whether a folder holds a run that is done."""
    return (folder / RUN_FILE).is_file() and read_run(folder).record.status == DONE


def subfolders(folder: Path) -> list[Path]:
    """The folders in which runs may lie that a folder around them holds, in the order of names.

    Numbers in names count as numbers. Links are not followed.
    """
    places = [place for place in folder.iterdir() if place.is_dir() and not place.is_symlink()]
    hidden = [place for place in places if place.name.startswith(".") or place.name == UNITS]
    return sorted(set(places) - set(hidden), key=_natural)


def runs_below(folder: Path) -> Iterator[Path]:
    """The folder itself if it is a run, else the runs in it and in the folders below it."""
    if (folder / RUN_FILE).is_file():
        yield folder
    elif folder.is_dir():
        for place in subfolders(folder):
            yield from runs_below(place)


def runs_in(folders: Iterable[Path]) -> list[Path]:
    """The runs in and below all of these folders, each once.

    Raises `RequestError` for a folder that has none.
    """
    runs: dict[Path, Path] = {}
    for folder in folders:
        found = {run.resolve(): run for run in runs_below(folder)}
        if not found:
            raise RequestError(f"{folder} holds no run: there is no {RUN_FILE} in it or below it")
        runs |= found
    return list(runs.values())


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def read_unit(folder: Path) -> SavedUnit:
    """The unit in a folder; what its metadata.json lacks or has wrong is None or empty."""
    content = read_json(folder / UNIT_FILE)
    record, _ = from_json(_kind_of(content), content)
    return SavedUnit(folder, record, frozenset(content))


def finished_unit(folder: Path, config_sha256: str) -> UnitRecord | None:
    """The record of a whole unit of that config, well-formed and with every file whole; or None."""
    content = read_json(folder / UNIT_FILE)
    record, faults = from_json(_kind_of(content), content)
    own = record.config_sha256 == config_sha256
    whole = own and not faults and record.files is not None
    if not whole or not all(artifacts.is_whole(folder / name) for name in record.files or ()):
        return None
    return record


def write_unit(
    directory: Path, name: str, record: UnitRecord, files: Mapping[str, Writer]
) -> UnitRecord:
    """Write a unit's files and metadata.json into `directory/name`, all of them or nothing."""
    record = dataclasses.replace(record, schema=SCHEMA, files=sorted(files))
    with whole_files.whole_directory(directory / name) as place:
        for file, write in files.items():
            write(place / file)
        artifacts.write_json(place / UNIT_FILE, to_json(record))
    return record


def rewrite_unit(folder: Path, record: UnitRecord) -> None:
    """Write the metadata.json of a unit whose files stay as they are."""
    artifacts.write_json(folder / UNIT_FILE, to_json(record))


def write_run(directory: Path, record: RunRecord) -> None:
    """Write run.json, whole or not at all."""
    artifacts.write_json(directory / RUN_FILE, to_json(record))


def overwrite_run(directory: Path, record: RunRecord) -> None:
    """Write run.json over the one that is there, for want of room for a second one."""
    artifacts.overwrite_json(directory / RUN_FILE, to_json(record))


def read_sweep(folder: Path) -> SweepRecord | None:
    """The sweep that a folder's sweep.json describes; None where there is none.

    Raises `RequestError` for one that is damaged.
    """
    file = folder / SWEEP_FILE
    if not file.is_file():
        return None
    content = read_json(file)
    record, faults = from_json(SweepRecord, content)
    if faults or "jobs" not in content:
        raise RequestError(
            f"{file} is damaged: which jobs of the sweep have not begun is not known"
        )
    return record


def write_sweep(directory: Path, record: SweepRecord) -> None:
    """Write sweep.json, whole or not at all."""
    artifacts.write_json(directory / SWEEP_FILE, to_json(record))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object; empty where the file holds none."""
    if not path.is_file():  # a pipe would be read for ever
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _kind_of(content: Mapping[str, Any]) -> type[UnitRecord]:
    return UNIT_RECORDS.get(str(content.get("method")), UnitRecord)


def _unit_folders(run: Path) -> Iterator[Path]:
    """The units' directories in a run's folder, in no order.

    Links are not followed: they may lead out of the folder.
    """
    if (run / UNITS).is_symlink():
        logger.warning("%s is a link, and is not followed", run / UNITS)
        return
    for file in (run / UNITS).glob(f"[!.]*/{UNIT_FILE}"):
        if not file.parent.is_symlink() and not file.is_symlink():
            yield file.parent
