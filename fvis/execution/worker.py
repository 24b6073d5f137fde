"""What solves batches in a process of its own, which may be on another machine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fvis import provenance
from fvis.batching import in_batches
from fvis.context import prepare
from fvis.methods import Result, solve_timed
from fvis.optimization import Optimization
from fvis.plan import Plan, plan
from fvis.progress import LastScore
from fvis.record.run import RunRecord
from fvis.schema import Config


@dataclass(frozen=True)
class Batch:
    """A batch of a run: its number, and `count` groups of a method of the run's plan.

    `method` and `first`, the place of the first group, are counted from 0.
    """

    number: int
    method: int
    first: int
    count: int


class Worker:
    """Builds a run's network once, then solves batches; the run's folder it does not touch.

    `progress` may be called by another thread meanwhile.
    """

    def __init__(self) -> None:
        self._planned = Plan([], {})
        self._steps, self._score = 0, ""

    def build(self, config: Config, directory: str, threads: int | None) -> RunRecord:
        """Build the network and the plan of a run; returns the run as it is described here.

        Relative paths start at `directory`, where that is there.
        """
        if Path(directory).is_dir():
            os.chdir(directory)
        if threads is not None:
            torch.set_num_threads(threads)
        context = prepare(config)
        self._planned = plan(context)
        return provenance.describe(context, self._planned.inputs, self._planned.names)

    def solve(self, batch: Batch) -> list[tuple[int, list[Result]]]:
        """The results of a batch, with the contents of their files, and of how many jobs they are.

        If memory runs out, they are those of several smaller batches.
        """
        method = self._planned.methods[batch.method]
        groups = method.groups[batch.first : batch.first + batch.count]

        def work(jobs: list[Any]) -> tuple[int, list[Result]]:
            results = solve_timed(method, jobs, lambda _, one: self._run(jobs, one))
            return len(jobs), [result.encoded() for result in results]

        return list(in_batches(groups, sum(map(len, groups)), work))

    def progress(self) -> tuple[int, str]:
        """The steps made since `build`, times pictures, and the mean score last logged."""
        return self._steps, self._score

    def _run(self, jobs: Sequence[Any], optimization: Optimization) -> None:
        last = LastScore()

        def on_step(optimization: Optimization) -> None:
            self._steps += len(jobs)
            if optimization.logged:
                self._score = last.read(optimization)

        optimization.run(on_step)
