"""What an execution is: it solves the batches that a run lacks, and hands over their results."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from fvis import workspace
from fvis.context import Context
from fvis.methods import Method, Result
from fvis.pacing import Pace
from fvis.plan import Plan
from fvis.record.unit import UnitRecord
from fvis.recorder import Recorder
from fvis.registry import Registry
from fvis.run_folder import UNITS, write_unit
from fvis.schema import Config

PAGE_EVERY = 20  # seconds between two pages of a run that is at work


class Work:
    """What a run has left to do, and the folder that receives its results.

    Batches are composed as they were at the start of the run; a batch belongs to one layer.
    """

    def __init__(
        self, directory: Path, recorder: Recorder, context: Context, planned: Plan
    ) -> None:
        self.directory, self.recorder = directory, recorder
        self.context, self.planned = context, planned
        self._pace = Pace(PAGE_EVERY)

    def missing(self, method: Method) -> set[str]:
        """The names of all jobs in groups that are not finished as a whole."""
        finished = self.recorder.finished
        return {
            job.name
            for group in method.groups
            if not finished.issuperset(job.name for job in group)
            for job in group
        }

    def write(self, result: Result) -> UnitRecord:
        """Write a unit's directory; any thread may call this."""
        result = result.with_fields(config_sha256=self.recorder.record.config_sha256)
        return write_unit(self.directory / UNITS, result.name, result.record, result.files)

    def count(self, units: Mapping[str, UnitRecord]) -> None:
        """Count units that have been written; run.json and the page say so sooner or later."""
        for name, unit in units.items():
            self.recorder.add(name, unit)
        if self._pace.is_due:
            self.show()

    def show(self) -> None:
        """Write run.json and the page."""
        with self._pace.timed():
            self.recorder.begin()
            workspace.show(self.directory, self.recorder.record)


class Execution(AbstractContextManager["Execution"], Protocol):
    """Solves a run's batches somewhere, once it is entered: what it needs is there from then on."""

    def solve(self, work: Work) -> None:
        """Solve and write what is missing; whatever is solved when this fails is written first."""
        ...


EXECUTIONS: Registry[Callable[[Config], Execution]] = Registry("execution", "fvis.execution")
