"""How often a run may do what takes the longer the more units there are, such as its page."""

import contextlib
import time
from collections.abc import Iterator

SHARE = 0.05  # of a run's time


class Pace:
    """Says when something is due again, so that it takes no more than `SHARE` of the time.

    `least` is the shortest time between two times, in seconds.
    """

    def __init__(self, least: float = 0.0) -> None:
        self._least, self._ended, self._took = least, -float("inf"), 0.0

    @property
    def is_due(self) -> bool:
        """Whether it may be done again."""
        return time.monotonic() - self._ended >= max(self._least, self._took / SHARE)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """A context in which it is done."""
        started = time.monotonic()
        yield
        self._ended = time.monotonic()
        self._took = self._ended - started
