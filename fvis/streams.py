"""The process's streams: stdout has the paths of results alone, stderr never fails."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


class ForgivingStream(io.TextIOBase):
    """A stream that may fail (on a full disk, a closed terminal) without ending what writes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ended = True

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        self._ended = text.endswith("\n") if text else self._ended
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def end_line(self) -> None:
        """End the line, if it is not ended."""
        if not self._ended:
            self.write("\n")

    def flush(self) -> None:
        """Flush, if that is possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether a terminal shows what is written."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor."""
        return self._stream.fileno()


def open_missing() -> None:
    """Open the standard streams that the caller has closed (`>&-`): what is written there is lost.

    Otherwise the next file that is opened would get a closed stream's number, and what is meant
    for the stream would be written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115


@contextlib.contextmanager
def own_streams() -> Iterator[None]:
    """A context for a network, which may print, as stdout is for paths, or take streams away."""
    with contextlib.redirect_stderr(sys.stderr) as ours, contextlib.redirect_stdout(ours):
        try:
            yield
        finally:
            if isinstance(ours, ForgivingStream):
                ours.end_line()
