"""Times steps and their peak memory, also in loops of others that only show a forward pass."""

import contextlib
import re
import resource
import statistics
import time
from pathlib import Path

import torch

WARM_UP = 1  # steps left out: the first one builds kernels, caches and the optimizer's state


class TimeUp(Exception):  # noqa: N818  # no error: how a loop of others is ended
    """Enough steps have been timed."""


class Steps:
    """Wall times of steps, the first `WARM_UP` left out."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def add(self, seconds: float) -> None:
        """Record one step."""
        self._seconds.append(seconds)

    @property
    def count(self) -> int:
        """How many steps count."""
        return max(0, len(self._seconds) - WARM_UP)

    @property
    def total(self) -> float:
        """Seconds that the counted steps took together."""
        return sum(self._seconds[WARM_UP:])

    @property
    def median(self) -> float:
        """Median seconds of a counted step; raises `ValueError` where there is none."""
        if not self.count:
            raise ValueError("no step was timed")
        return statistics.median(self._seconds[WARM_UP:])


class StepClock:
    """Times the steps of a loop that calls `tick` once per step; `TimeUp` ends the loop.

    At least one step is timed, however long it takes.
    """

    def __init__(self, seconds: float, device: torch.device) -> None:
        self.steps = Steps()
        self._limit = seconds
        self._device = device
        self._started: float | None = None

    def tick(self) -> None:
        """A step begins, and the one before ends; raises `TimeUp` when the time is up."""
        now = synchronised_time(self._device)
        if self._started is not None:
            self.steps.add(now - self._started)
        if self.steps.count and self.steps.total >= self._limit:
            raise TimeUp
        self._started = now


def synchronised_time(device: torch.device) -> float:
    """Seconds on a wall clock, once all that was asked of `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def reset_peak(device: torch.device) -> None:
    """Forget the peak so far; where Linux doesn't let us, `peak` is that of the process's life."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> float:
    """Peak memory since `reset_peak` in MiB: allocated tensors on a GPU, resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists() and (match := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(match[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS
