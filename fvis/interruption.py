"""Signals that end a run: deferred to the end of a step, so that its state can be saved."""

import _thread
import contextlib
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

AGAIN = 0.01  # seconds after which a dropped interruption is raised again
SOON = 0.5  # seconds within which a second signal changes nothing
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGXCPU")
    if hasattr(signal, name)
)

_received: list[float] = []  # when signals have ended something, by the monotonic clock


class DeferredInterruption:
    """A context in which the first of `SIGNALS` only sets `requested`.

    The second one raises `KeyboardInterrupt` at once. Outside the main thread, where Python
    delivers no signals, nothing is deferred.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "DeferredInterruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._defer) for number in _heeded()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _defer(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._say()

    def _say(self) -> None:
        sys.stderr.write("\nfvis: interrupted; saving after this step (once more: at once)\n")


class Uninterrupted(DeferredInterruption):
    """A context in which the first of `SIGNALS` comes when it is left, as whatever it is then.

    For what shares locks with other threads: an exception there would leave a lock that is never
    released, and threads that wait for it for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._number = signal.SIGINT

    def __exit__(self, *given: object) -> None:
        super().__exit__(*given)
        if self.requested:
            signal.raise_signal(self._number)

    def _defer(self, number: int, frame: FrameType | None) -> None:
        self._number = signal.Signals(number)
        super()._defer(number, frame)

    def _say(self) -> None: ...


def end_on_signals() -> None:
    """From now on SIGTERM and SIGHUP end what is going on, as Ctrl-C does."""
    _received.clear()
    for number in _heeded():
        signal.signal(number, interrupt)
    sys.unraisablehook = _insist


def _insist(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raise an interruption again that Python has dropped, a moment later.

    An exception in a finalizer, or in the callback of a weak reference, is otherwise only printed.
    """
    heeded = _heeded()
    if unraisable.exc_type is not KeyboardInterrupt or not heeded:
        sys.__unraisablehook__(unraisable)
        return
    _received.append(-math.inf)  # the next one is not to be passed over
    returning = threading.Event()
    threading.Thread(target=_raise_again, args=(heeded[0], returning), daemon=True).start()
    returning.set()


def _raise_again(number: signal.Signals, returning: threading.Event) -> None:
    """Signal the main thread a moment after `_insist`, in which the signal would be dropped too."""
    returning.wait()
    time.sleep(AGAIN)
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)  # what it waits for ends, too
    else:  # on Windows
        _thread.interrupt_main(number)


def _heeded() -> list[signal.Signals]:
    """The signals that the process does not ignore: under nohup, for one, it ignores SIGHUP."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal handler that ends what is going on, as Ctrl-C does.

    A signal soon after another is passed over: what the first one ends is just being left in order.
    """
    now = time.monotonic()
    if _received and now - _received[-1] < SOON:
        return
    _received.append(now)
    raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether a signal has ended something, whatever error a library has made of it."""
    return bool(_received)


@contextlib.contextmanager
def interruptions_first() -> Iterator[None]:
    """A context in which any error is a `KeyboardInterrupt`, once a signal has ended something.

    Libraries that an interruption reaches may make an error of their own of it.
    """
    try:
        yield
    except Exception as error:
        if was_interrupted():
            raise KeyboardInterrupt from error
        raise
