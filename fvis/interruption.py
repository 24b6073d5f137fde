"""Signals that end a run: deferred to the end of a step, so that its state can be saved."""

import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferredInterruption:
    """A context in which the first SIGINT or SIGTERM only sets `requested`.

    The second one raises `KeyboardInterrupt` at once. Outside the main thread, where Python
    delivers no signals, nothing is deferred.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "DeferredInterruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._defer) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _defer(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        sys.stderr.write("\nfvis: interrupted; saving after this step (once more: at once)\n")


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A signal handler that ends what is going on, as Ctrl-C does."""
    raise KeyboardInterrupt
