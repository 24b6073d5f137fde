"""The saved state of the batch at work, from which a killed run goes on."""

import io
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from fvis.artifacts import write_bytes
from fvis.batching import is_out_of_memory
from fvis.interruption import DeferredInterruption
from fvis.optimization import Optimization
from fvis.progress import Progress

logger = logging.getLogger(__name__)


class BatchState:
    """Runs the stages of one batch, and saves them in `path` now and then.

    A stage that has been saved goes on where it was; a finished one is not run again. The state is
    saved every `every` seconds (0: never) and when SIGINT or SIGTERM ends the run. `jobs` are the
    names of the batch's jobs: the state of another batch is not used. `before_saving` is called
    before the state of another batch that `path` may hold is replaced.
    """

    def __init__(
        self,
        path: Path,
        jobs: Sequence[str],
        every: float,
        progress: Progress,
        before_saving: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._jobs, self._every, self._progress = path, list(jobs), every, progress
        self._before_saving = before_saving
        self._stages: dict[str, dict[str, Any]] = {}
        self._running: tuple[str, Optimization] | None = None
        self._earlier = 0.0  # seconds that other processes have worked on the batch

    def __enter__(self) -> "BatchState":
        self._started = self._saved = time.monotonic()
        saved = self._read()
        if saved is not None:
            self._stages, self._earlier = saved["stages"], saved["seconds"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if error is not None and is_out_of_memory(error):
            self.remove()  # the batch that follows is a smaller one
        elif isinstance(error, KeyboardInterrupt) and self._running is None:
            self.save()  # between two stages

    @property
    def seconds(self) -> float:
        """For how long the batch has been worked on."""
        return self._earlier + time.monotonic() - self._started

    def run(self, stage: str, optimization: Optimization) -> None:
        """Run an optimization to its end, from where its saved state says."""
        self.begin(stage, optimization)
        with DeferredInterruption() as interruption:

            def on_step(optimization: Optimization) -> None:
                self._progress.on_step(optimization)
                if interruption.requested:
                    self.save()
                    raise KeyboardInterrupt
                if self._every and time.monotonic() - self._saved >= self._every:
                    self.save()

            optimization.run(on_step)
        self._stages[stage] = optimization.state_dict()
        self._running = None
        if interruption.requested:  # after the last step
            self.save()
            raise KeyboardInterrupt

    def begin(self, stage: str, optimization: Optimization) -> None:
        """Bring an optimization to where its saved state says; `save` saves it from now on."""
        if stage in self._stages:
            optimization.load_state_dict(self._stages[stage])
            self._progress.skip(optimization.done)
        self._running = (stage, optimization)

    def remove(self) -> None:
        """Forget the state on disk: the batch is done."""
        self._path.unlink(missing_ok=True)

    def save(self) -> None:
        """Save all stages, the one that is running included; call this between two steps."""
        self._before_saving()
        stages = dict(self._stages)
        if self._running is not None:
            stage, optimization = self._running
            stages[stage] = optimization.state_dict()
        content = {"jobs": self._jobs, "seconds": self.seconds, "stages": stages}
        data = io.BytesIO()
        torch.save(content, data)
        write_bytes(self._path, data.getvalue())
        self._saved = time.monotonic()

    def _read(self) -> dict[str, Any] | None:
        """The saved state of this very batch; None where there is none that can be read."""
        if not self._path.is_file():
            return None
        content = None
        try:
            content = torch.load(self._path, map_location="cpu", weights_only=True)
        except Exception:  # what a damaged file makes of torch.load is anybody's guess
            logger.warning("%s is not readable: the batch starts anew", self._path)
        fits = isinstance(content, dict) and content.get("jobs") == self._jobs
        return content if fits else None
