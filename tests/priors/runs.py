"""Runs of activation maximization without files, for the tests of priors."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fvis.batch_state import BatchState
from fvis.context import Context
from fvis.methods import METHODS, Result
from fvis.optimization import Optimization, RunStage, run_stage
from fvis.progress import Progress


def solved(given: Context, run: RunStage = run_stage) -> list[Result]:
    """The results of all units, in one batch."""
    method = METHODS["activation_maximization"](given)
    return method.solve([job for group in method.groups for job in group], run)


def png(result: Result, folder: Path) -> bytes:
    """The content of a result's image.png, which is also left in `folder`."""
    result.files["image.png"](folder / "image.png")
    return (folder / "image.png").read_bytes()


def resumed_after(steps: int, prepared: Callable[[], Context], state: Path) -> list[Result]:
    """The results of a run that ends after so many steps, and of another that goes on from it."""

    def stop(stage: str, optimization: Optimization) -> None:
        with Progress(1) as progress, BatchState(state, ["batch"], 0, progress) as saved:
            saved.begin(stage, optimization)
            for _ in range(steps):
                optimization.step()
            saved.save()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solved(prepared(), stop)
    with Progress(1) as progress, BatchState(state, ["batch"], 0, progress) as saved:
        return solved(prepared(), saved.run)
