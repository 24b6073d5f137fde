"""What a method is: jobs to do, solved in batches, each leaving a record and pictures."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fvis import artifacts
from fvis.artifacts import Writer
from fvis.context import Context
from fvis.optimization import RunStage
from fvis.record.unit import UnitRecord
from fvis.registry import Registry
from fvis.typed_json import to_json


class Job(Protocol):
    """One picture to be made: the row of a batch, and an output directory."""

    @property
    def name(self) -> str:
        """The output directory's name."""
        ...


@dataclass(frozen=True)
class Result:
    """A solved job: its record, and what writes each of its files (name -> writer of a path)."""

    name: str
    record: UnitRecord
    files: dict[str, Writer] = field(default_factory=dict)

    def with_fields(self, **fields: Any) -> "Result":
        """The same result, with these fields of its record replaced."""
        return dataclasses.replace(self, record=dataclasses.replace(self.record, **fields))

    def encoded(self) -> "Result":
        """The same result with the files' contents as bytes, which another process can write."""
        contents = {name: artifacts.content(name, write) for name, write in self.files.items()}
        files: dict[str, Writer] = {
            name: functools.partial(artifacts.write_bytes, content=content)
            for name, content in contents.items()
        }
        return dataclasses.replace(self, files=files)

    @property
    def metadata(self) -> dict[str, Any]:
        """The record as metadata.json will hold it."""
        content: dict[str, Any] = to_json(self.record)
        return content


class Method(Protocol):
    """Solves jobs in batches; rows never depend on one another, save those of one group."""

    @property
    def refused(self) -> Mapping[str, str]:
        """What was asked for and cannot be done, and why; the rest goes on."""
        ...

    @property
    def inputs(self) -> Sequence[Path]:
        """Files, besides the model's own, that the results depend on."""
        ...

    @property
    def groups(self) -> Sequence[Sequence[Job]]:
        """All jobs, in groups that must share a batch."""
        ...

    @property
    def steps(self) -> int:
        """Optimization steps per job, as far as they are known beforehand."""
        ...

    @property
    def share(self) -> float:
        """The share of the network's input that is synthesised, in (0, 1]."""
        ...

    def solve(self, jobs: Sequence[Any], run: RunStage) -> list[Result]:
        """The results of a batch of jobs, in their order.

        Every optimization is run by `run(stage, optimization)`, under a name that is its own within
        the batch: this is where progress is shown and the state is saved. Everything else must be
        the same whenever it is computed again from the same jobs.
        """
        ...


def solve_timed(method: Method, jobs: Sequence[Any], run: RunStage) -> list[Result]:
    """The results of a batch of jobs, each with its share of the seconds that the batch took."""
    started = time.monotonic()
    results = method.solve(jobs, run)
    seconds = round((time.monotonic() - started) / len(jobs), 3)
    return [result.with_fields(seconds=seconds) for result in results]


METHODS: Registry[Callable[[Context], Method]] = Registry(
    "method", "fvis.methods", entry_points="fvis.methods"
)
