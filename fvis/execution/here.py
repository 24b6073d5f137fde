"""`execution=here`: batches are solved in this process, and written by threads meanwhile."""

import concurrent.futures
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import torch

from fvis.batch_state import BatchState
from fvis.batching import in_batches
from fvis.execution.base import EXECUTIONS, Work
from fvis.interruption import Uninterrupted
from fvis.methods import Method, Result
from fvis.progress import Progress
from fvis.record.unit import UnitRecord
from fvis.schema import Config, HereConfig
from fvis.workspace import BATCH_FILE

LEAST_WRITERS, MOST_WRITERS = 2, 8  # threads, where the config does not say


@EXECUTIONS.register("here")
class Here:
    """Solves one batch after another; the pictures of one are written while the next is solved."""

    def __init__(self, config: Config) -> None:
        assert isinstance(config.execution, HereConfig)
        self._threads = config.execution.writers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def solve(self, work: Work) -> None:
        """Solve and write what is missing, and save the state of the batch at work."""
        work.show()
        threads = _writers(work.context.device) if self._threads is None else self._threads
        with Progress(work.planned.steps) as progress, Writers(work, threads) as writers:
            for method in work.planned.methods:
                self._solve(method, work, progress, writers)
        (work.directory / BATCH_FILE).unlink(missing_ok=True)  # of a process killed at its end

    def _solve(self, method: Method, work: Work, progress: Progress, writers: "Writers") -> None:
        path, every = work.directory / BATCH_FILE, work.context.config.engine.checkpoint_every
        missing, recorder = work.missing(method), work.recorder

        def solve(batch: list[Any]) -> tuple[int, list[Result]]:
            names = [job.name for job in batch]
            progress.batch = len(batch)
            if not missing.intersection(names):
                progress.skip(method.steps)
                return len(batch), []
            with BatchState(path, names, every, progress, writers.finish) as state:
                results = method.solve(batch, state.run)
            seconds = round(state.seconds / len(batch), 3)
            return len(batch), [
                r.with_fields(seconds=seconds) for r in results if r.name in missing
            ]

        size, sizes = recorder.record.batch_size or 1, recorder.coming
        resize = recorder.set_batch_size
        for jobs, results in in_batches(method.groups, size, solve, sizes=sizes, on_resize=resize):
            recorder.batch_done(jobs)
            writers.take(results)


def _writers(device: torch.device) -> int:
    """How many threads write where the config does not say."""
    if device.type != "cuda":
        return LEAST_WRITERS
    return min(MOST_WRITERS, max(LEAST_WRITERS, (os.cpu_count() or 1) // 2))


def _use_one_thread() -> None:
    """Let the calling thread do alone what it does with torch.

    Otherwise torch would give it helpers. Once there are more threads than cores, OpenMP lets
    waiting threads sleep, those of the ascent too, and its steps take half as long again.
    """
    torch.set_num_threads(1)


class Writers:
    """Threads that encode and write the results of one batch while the next one is solved.

    So no more than two batches are in memory. The state of a batch on disk is replaced only when
    all results of the batch before it are written: a run that is killed loses no more than without
    threads. With no `threads`, each batch is written before the next one is solved.
    """

    def __init__(self, work: Work, threads: int) -> None:
        self._work, self._meanwhile = work, threads > 0
        self._pool = ThreadPoolExecutor(
            max(1, threads), thread_name_prefix="writer", initializer=_use_one_thread
        )
        self._at_work: dict[str, Future[UnitRecord]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.finish()  # also when the run ends early: what is solved is not lost
        finally:
            with Uninterrupted():
                self._pool.shutdown(cancel_futures=True)

    def take(self, results: Sequence[Result]) -> None:
        """Write the results of a batch, once those of the batch before it are written."""
        self.finish()
        write = self._work.write
        with Uninterrupted():
            self._at_work = {result.name: self._pool.submit(write, result) for result in results}
        if not self._meanwhile:
            self.finish()

    def finish(self) -> None:
        """Wait until everything taken is written and counted; raises what a thread has raised."""
        if not self._at_work:
            return
        with Uninterrupted():
            concurrent.futures.wait(self._at_work.values())
        taken, self._at_work = self._at_work, {}
        failed = [future.exception() for future in taken.values()]
        self._work.count(
            {name: future.result() for name, future in taken.items() if not future.exception()}
        )
        for error in failed:
            if error is not None:
                raise error
        (self._work.directory / BATCH_FILE).unlink(missing_ok=True)  # it is of these results
