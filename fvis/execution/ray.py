"""`execution=ray`: Ray's workers solve batches, on this machine or on a cluster; this one writes.

Ray places the workers, tells when one is gone, and carries batches there and bytes back.
"""

import importlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch

from fvis import provenance
from fvis.batching import fitting, size_after
from fvis.context import find_device
from fvis.errors import LostBatchesError, RequestError, described
from fvis.execution.base import EXECUTIONS, Work
from fvis.execution.worker import Batch, Worker
from fvis.interruption import SIGNALS
from fvis.methods import Result
from fvis.models.hub import PATIENCE
from fvis.progress import Progress
from fvis.record.run import RunRecord
from fvis.schema import Config, RayConfig

POLL = 0.5  # seconds between two looks at the workers' progress
LOSSES = 3  # so many workers may be lost with the same batch, or one after another as they start
# A cluster of our own reports nothing to Ray's makers, and hides no GPU from the process itself.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

logger = logging.getLogger(__name__)


@EXECUTIONS.register("ray")
class Ray:
    """Batches go to workers of Ray, one per GPU, or on CPUs as many as there is room for."""

    def __init__(self, config: Config) -> None:
        assert isinstance(config.execution, RayConfig)
        self._settings, self._device = config.execution, config.engine.device
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise RequestError("execution=ray needs Ray: pip install 'fvis[ray]'") from error

    def __enter__(self) -> Self:
        self._own = not self._ray.is_initialized()
        if self._own:
            self._connect(self._settings.address or "local")
        try:
            self._resources = self._of_a_worker()
            self._count = self._workers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._ray.shutdown()

    def solve(self, work: Work) -> None:
        """Solve and write what is missing; a worker that is lost gives its batch to another."""
        work.show()
        actor = self._ray.remote(Worker).options(max_concurrency=2, **self._resources)
        Workers(self._ray, actor, work).solve(self._count)

    def _connect(self, address: str) -> None:
        """Start Ray on this machine, or join the cluster at `address`; signals stay ours."""
        refuse_silent(address)
        main = threading.current_thread() is threading.main_thread()
        handlers = {number: signal.getsignal(number) for number in SIGNALS} if main else {}
        try:
            self._ray.init(
                address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
        except Exception as error:  # Ray has a kind of its own for each way to fail
            reason = described(error)
            raise RequestError(f"execution.address={address} gives no Ray: {reason}") from None
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _of_a_worker(self) -> dict[str, int]:
        if find_device(self._device).type == "cuda":
            return {"num_gpus": 1, "num_cpus": 1}
        return {"num_cpus": torch.get_num_threads()}

    def _workers(self) -> int:
        """How many workers there will be; raises `RequestError` where there is no room for them."""
        kind = "GPU" if "num_gpus" in self._resources else "CPU"
        each = self._resources[f"num_{kind.lower()}s"]
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(int(node.get(kind, 0)) // each for node in nodes)
        asked = self._settings.workers or max(1, room)
        if asked > room:
            hint = "" if kind == "GPU" or each == 1 else "; engine.threads=1 takes one CPU each"
            raise RequestError(
                f"execution.workers={asked} needs {asked} times {each} {kind}, and Ray has room "
                f"for {room} on {len(nodes)} nodes{hint}"
            )
        return asked


def refuse_silent(address: str) -> None:
    """Raise `RequestError` for the `host:port` of a cluster where nobody answers.

    Ray itself would try for a quarter of an hour.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        reason = described(error)
        raise RequestError(f"execution.address={address} gives no Ray: {reason}") from None


@dataclass(eq=False)
class AssignedWorker:
    """A worker of Ray's, the batch that it solves (None while it is built), and steps told."""

    actor: Any
    batch: Batch | None = None
    steps: int = 0


class Workers:
    """Gives a run's batches to workers, and writes what they give back."""

    def __init__(self, ray: Any, actor: Any, work: Work) -> None:
        self._ray, self._actor, self._work = ray, actor, work
        self._waiting: dict[Any, AssignedWorker] = {}  # by the reference to what each gives back
        self._idle: list[AssignedWorker] = []
        self._sizes_before: list[int] = work.recorder.coming  # sizes of batches as composed before
        self._missing = [work.missing(method) for method in work.planned.methods]
        self._solved: dict[int, list[int]] = {}  # sizes by number, until those before are solved
        self._counted, self._skipped = 0, 0
        self._losses: dict[int | None, int] = {}  # by batch; None: as workers were built
        self._back: list[Batch] = []  # batches of workers that are gone
        self._lost: list[Batch] = []
        self._coming = self._batches()
        self._next = next(self._coming, None)
        self._shown_at = time.monotonic()

    def solve(self, count: int) -> None:
        """Solve and write everything; raises what a worker has raised."""
        for _ in range(count):
            self._start()
        with Progress(self._work.planned.steps) as progress:
            while self._next or self._back or any(h.batch for h in self._waiting.values()):
                done, _ = self._ray.wait(list(self._waiting), timeout=POLL)
                for reference in done:
                    self._receive(reference, self._waiting.pop(reference))
                self._show(progress)
            self._show(progress, last=True)
        self._count_solved()
        if self._lost:
            raise LostBatchesError(self._names(self._lost), self._work.directory)

    def _start(self) -> None:
        work, hand = self._work, AssignedWorker(self._actor.remote())
        record = work.recorder.record
        built = hand.actor.build.remote(work.context.config, record.directory, record.threads)
        self._waiting[built] = hand

    def _batches(self) -> Iterator[Batch]:
        """The batches of the run that lack units; others count as solved."""
        number = 0
        for place, method in enumerate(self._work.planned.methods):
            first = 0
            while first < len(method.groups):
                before = self._sizes_before.pop(0) if self._sizes_before else None
                size = before or self._work.recorder.record.batch_size
                count = fitting(method.groups, first, size or 1)
                groups = method.groups[first : first + count]
                if any(job.name in self._missing[place] for group in groups for job in group):
                    yield Batch(number, place, first, count)
                else:
                    self._solved[number] = [jobs := sum(map(len, groups))]
                    self._skipped += jobs * method.steps
                number, first = number + 1, first + count

    def _receive(self, reference: Any, hand: AssignedWorker) -> None:
        """Take what a worker gives back, and give it another batch first."""
        batch, errors = hand.batch, self._ray.exceptions
        try:
            given = self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            self._replace(batch, error)
            return
        hand.batch = None
        if batch is None:
            self._losses.pop(None, None)
            self._compare(given)
        self._idle.append(hand)
        self._give()
        if batch is not None:
            self._take(batch, given)

    def _give(self) -> None:
        """Give batches to idle workers, first those of workers that are gone."""
        while self._idle and (self._back or self._next):
            hand = self._idle.pop()
            if self._back:
                hand.batch = self._back.pop(0)
            else:
                hand.batch, self._next = self._next, next(self._coming, None)
            self._waiting[hand.actor.solve.remote(hand.batch)] = hand

    def _take(self, batch: Batch, given: list[tuple[int, list[Result]]]) -> None:
        """Write and count what a batch has given."""
        missing = self._missing[batch.method]
        results = [result for _, some in given for result in some if result.name in missing]
        self._work.count({result.name: self._work.write(result) for result in results})
        self._solved[batch.number] = [jobs for jobs, _ in given]
        self._count_solved()
        if len(given) > 1:
            size = size_after([jobs for jobs, _ in given])
            size = min(size, self._work.recorder.record.batch_size or size)
            logger.warning("out of memory in a worker; going on with batches of %d", size)
            self._sizes_before.clear()
            self._work.recorder.set_batch_size(size)

    def _count_solved(self) -> None:
        """Count the solved batches, in their order."""
        while self._counted in self._solved:
            for jobs in self._solved.pop(self._counted):
                self._work.recorder.batch_done(jobs)
            self._counted += 1

    def _replace(self, batch: Batch | None, error: Exception) -> None:
        """Start another worker for one that is gone, whose batch is given back or given up."""
        reason = described(error)
        number = None if batch is None else batch.number
        self._losses[number] = self._losses.get(number, 0) + 1
        if self._losses[number] > LOSSES and batch is None:
            raise RuntimeError(f"Ray's workers end as they start: {reason}")
        if batch is not None and self._losses[number] > LOSSES:
            names = self._names([batch])
            logger.error("%d workers were lost with %s: %s", LOSSES + 1, ", ".join(names), reason)
            self._lost.append(batch)
        elif batch is not None:
            logger.warning("a worker is gone, its batch goes to another: %s", reason)
            self._back.append(batch)
        self._start()
        self._give()

    def _compare(self, theirs: RunRecord) -> None:
        """Raise `RequestError` where a worker would make other pictures than this process."""
        ours = self._work.recorder.record
        found = provenance.changes(ours, theirs)
        if ours.device != theirs.device:
            logger.warning("a worker has another device (%s, not %s)", theirs.device, ours.device)
            found = [change for change in found if not change.startswith("the device ")]
        if found:
            raise RequestError(f"a worker of Ray's differs from this process: {', '.join(found)}")

    def _show(self, progress: Progress, *, last: bool = False) -> None:
        """Show how many steps the workers have made since the last time."""
        if time.monotonic() - self._shown_at < POLL and not last:
            return
        hands = [*self._idle, *(hand for hand in self._waiting.values() if hand.batch)]
        if not hands:
            return
        asked = {hand.actor.progress.remote(): hand for hand in hands}
        answers, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=POLL)
        progress.advance(self._skipped)
        self._skipped = 0
        for reference in answers:
            try:
                steps, score = self._ray.get(reference)
            except self._ray.exceptions.RayError:  # the worker is gone, as `_receive` will learn
                continue
            progress.advance(steps - asked[reference].steps, score)
            asked[reference].steps = steps
        self._shown_at = time.monotonic()

    def _names(self, batches: list[Batch]) -> list[str]:
        """The names of the jobs of batches."""
        methods = self._work.planned.methods
        groups = [g for b in batches for g in methods[b.method].groups[b.first : b.first + b.count]]
        return [job.name for group in groups for job in group]
