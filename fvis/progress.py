"""What a run shows while it works: a progress bar on stderr, and its messages in a file."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from fvis.optimization import Optimization
from fvis.whole_files import writing


class Progress:
    """A bar on stderr that counts pictures times steps, with the batch's mean score."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.batch = 1  # pictures in the batch at work
        self._score = LastScore()

    def __enter__(self) -> "Progress":
        self._bar = tqdm(total=self._total, unit="step", smoothing=0.1, mininterval=0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def on_step(self, optimization: Optimization) -> None:
        """Advance by one step of every picture; scores are read only when they were logged."""
        self.advance(self.batch, self._score.read(optimization) if optimization.logged else "")

    def skip(self, steps: int) -> None:
        """Advance by steps of every picture, without looking at them."""
        self.advance(steps * self.batch)

    def advance(self, count: int, shown: str = "") -> None:
        """Advance by a number of steps, of all pictures together, and show a text with them."""
        if shown:
            self._bar.set_postfix_str(shown, False)
        if self._bar.n + count > self._bar.total:  # steps of a second attempt come on top
            self._bar.total = self._bar.n + count
        self._bar.update(count)


class LastScore:
    """The batch's mean score as it was last logged, and what it measures.

    On CUDA it is the one logged before: to read the last one would wait for the device.
    """

    def __init__(self) -> None:
        self._coming: tuple[str, _Coming] | None = None

    def read(self, optimization: Optimization) -> str:
        """The score in words, to be called whenever scores are logged; empty if there is none."""
        mean = optimization.trace.scores[-1].mean()
        now = (optimization.quantity, _Coming(mean))
        shown, self._coming = (self._coming if mean.is_cuda else now), now
        return f"{shown[0]} {shown[1].number():.4g}" if shown else ""


class _Coming:
    """A number on its way from its device to the host."""

    def __init__(self, number: Tensor) -> None:
        self._number, self._copied = number, None
        if number.is_cuda:
            self._number = torch.empty((), dtype=number.dtype, pin_memory=True)
            self._number.copy_(number, non_blocking=True)
            self._copied = torch.cuda.current_stream(number.device).record_event()

    def number(self) -> float:
        """The number, once it has come; what the device was given since then is not waited for."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._number.item()


class _LogFile(logging.FileHandler):
    """A log file that a full disk cuts short, without ending what writes to it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's own name
        """Leave the message out."""


class _Kept(logging.Handler):
    """Keeps messages."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.records.append(record)


@contextlib.contextmanager
def kept_messages() -> Iterator[list[logging.LogRecord]]:
    """A context in which the package's messages are also kept: for a log file to come."""
    handler, package = _Kept(), logging.getLogger("fvis")
    package.addHandler(handler)
    try:
        yield handler.records
    finally:
        package.removeHandler(handler)


@contextlib.contextmanager
def log_file(path: Path, earlier: Sequence[logging.LogRecord] = ()) -> Iterator[None]:
    """A context in which the package's messages also go to `path`, after the `earlier` ones."""
    with writing(path):
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("fvis")
    for record in earlier:
        handler.handle(record)
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        with contextlib.suppress(OSError):  # what could not be written is not written now either
            handler.close()
