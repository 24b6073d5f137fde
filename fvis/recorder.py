"""Keeps run.json true while a run goes on: before, after and between its batches."""

import dataclasses
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from fvis import processes
from fvis.errors import UnwritableError
from fvis.pacing import Pace
from fvis.record.run import DONE, INTERRUPTED, RUNNING, MeanRecord, RunRecord, TimingsRecord
from fvis.record.unit import UnitRecord
from fvis.run_folder import UNITS, finished_unit, overwrite_run, write_run


class _Done(NamedTuple):
    """What run.json needs to know of a unit that is done."""

    status: str
    failed: bool
    tally: dict[str, float]


class Recorder:
    """The record of the run in `directory`, whose run.json it writes.

    `record` is the run as it was described or as it was left. `units` are its units that are done.
    """

    def __init__(
        self, directory: Path, record: RunRecord, units: Mapping[str, UnitRecord] | None = None
    ) -> None:
        self._directory = directory
        self._started = time.time()
        self._earlier = record.timings.seconds or 0.0
        self._done: dict[str, _Done] = {}
        self._before = list(record.batches)  # sizes of batches as they were composed before
        self._batches: list[int] = []  # and of those that are done now
        self._pace = Pace()
        for name, unit in (units or {}).items():
            self.add(name, unit)
        now = datetime.fromtimestamp(self._started, UTC).isoformat()
        timings = TimingsRecord(now)
        if record.timings.started is not None:
            timings = dataclasses.replace(record.timings, resumed=[*record.timings.resumed, now])
        self.record = dataclasses.replace(record, timings=timings)

    def begin(self) -> None:
        """Say that the run is at work."""
        self._write(self._at(RUNNING))

    def end(self, before: Callable[[RunRecord], None]) -> None:
        """Say that the run is done, after `before` has been called with the record that says so."""
        record = self._at(DONE)
        before(record)
        self._write(record)

    def interrupt(self) -> None:
        """Say that the run has been interrupted, also where the disk has no room left."""
        last = self.record
        try:
            self._write(self._at(INTERRUPTED))
        except UnwritableError:  # run.json as it is, with no process at work, is shorter
            self.record = dataclasses.replace(last, status=INTERRUPTED, process=None)
            overwrite_run(self._directory, self.record)

    @property
    def finished(self) -> set[str]:
        """The names of the units that are done."""
        return set(self._done)

    @property
    def all_failed(self) -> bool:
        """Whether not one unit that is done has a finite activation."""
        return bool(self._done) and all(unit.failed for unit in self._done.values())

    def add(self, name: str, unit: UnitRecord) -> None:
        """Count a unit that has been written."""
        self._done[name] = _Done(str(unit.status), unit.failed, unit.tally())

    @property
    def coming(self) -> list[int]:
        """The sizes that the next batches had before, when the run was composed."""
        return self._before[len(self._batches) :]

    def set_batch_size(self, size: int) -> None:
        """Say how large the next batch may be, whatever it was before."""
        self._before = []
        self.record = dataclasses.replace(self.record, batch_size=size)
        self.begin()

    def batch_done(self, jobs: int) -> None:
        """Count a batch that is solved, of so many jobs; run.json says so sooner or later.

        It lists all units, and is not written each time a few more are done. What it lacks of them
        is found on the disk, and the batches that follow are composed of `batch_size` jobs.
        """
        self._batches.append(jobs)
        if self._pace.is_due:
            self.begin()

    def _write(self, record: RunRecord) -> None:
        with self._pace.timed():
            write_run(self._directory, record)
        self.record = record

    def _at(self, status: str) -> RunRecord:
        """The record as it is now, with this status."""
        units = [name for name in self.record.jobs if name in self._done]
        seconds = round(self._earlier + time.time() - self._started, 3)
        return dataclasses.replace(
            self.record,
            status=status,
            process=processes.current() if status == RUNNING else None,
            batches=[*self._batches, *self.coming],
            units=units,
            statuses=dict(Counter(self._done[name].status for name in units)),
            summary=summary_of(self._done[name].tally for name in units),
            timings=dataclasses.replace(self.record.timings, seconds=seconds),
        )


def summary_of(tallies: Iterable[Mapping[str, float]]) -> dict[str, MeanRecord]:
    """The mean of each number over all units that have it."""
    columns: dict[str, list[float]] = {}
    for tally in tallies:
        for key, number in tally.items():
            columns.setdefault(key, []).append(number)
    return {key: MeanRecord(statistics.fmean(some), len(some)) for key, some in columns.items()}


def finished_units(directory: Path, record: RunRecord) -> dict[str, UnitRecord]:
    """The units of a run that lie whole in its folder, whatever its run.json lists."""
    found = {}
    for name in record.jobs:
        unit = finished_unit(directory / UNITS / name, record.config_sha256 or "")
        if unit is not None:
            found[name] = unit
    return found
