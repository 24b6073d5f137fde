"""Runs one command in a process of its own, and watches its time, its memory and its streams."""

import multiprocessing
import os
import resource
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.hostile.case import Signal

PRELOADED = ["fvis.cli", "fvis.runner", "timm", "torchvision"]
QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
SECONDS = 20.0  # then the process hangs
MEMORY = 4_000_000_000  # bytes; then the process is ended, for the machine's sake
SHOWN = 4_000_000  # bytes that are kept of a stream
PAUSE = 0.01
PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Call:
    """A command: its words, its folder, its environment, and what happens to it."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    file_size: int | None = None
    signal: Signal | None = None


@dataclass(frozen=True)
class Ran:
    """What became of a command; `status` is None for one that hung, negative for a signal's."""

    status: int | None
    stdout: str = ""
    stderr: str = ""
    peak: int = 0  # bytes of memory
    seconds: float = 0.0


class Runner:
    """Runs commands in processes that are forked where torch is already imported."""

    def __init__(self) -> None:
        os.environ.update(QUIET)  # libraries read it when they are imported
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)

    def __call__(self, call: Call) -> Ran:
        """Run one command, and wait for its end."""
        receiving, sending = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_supervise, args=(call, sending))
        process.start()
        sending.close()
        try:
            ran: Ran = receiving.recv()
        finally:
            process.join()
            receiving.close()
        return ran


def _supervise(call: Call, connection: Connection) -> None:
    """Fork the process that runs the command, and send what became of it."""
    streams = [os.pipe() for _ in range(2)]
    pid = os.fork()
    if pid == 0:
        _run(call, [writing for _, writing in streams])
    for _, writing in streams:
        os.close(writing)
    connection.send(_watch(pid, call.signal, [reading for reading, _ in streams]))
    connection.close()


def _run(call: Call, streams: list[int]) -> None:
    """What the forked process does; it never returns."""
    status = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, stream in enumerate(streams, 1):
            os.dup2(stream, number)
        os.chdir(call.folder)
        os.environ.update(call.environment)
        if call.file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (call.file_size, call.file_size))
        multiprocessing.set_start_method("fork", force=True)  # as where fvis is the main program
        sys.argv = ["fvis", *call.arguments]
        status = _status()
    finally:
        os._exit(status)


def _status() -> int:
    """The exit status of the command line, as Python would give it."""
    from fvis import cli

    code: object = 1
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or taken away
            continue
    if code is None or isinstance(code, int):
        return code or 0
    os.write(2, f"{code}\n".encode(errors="replace"))
    return 1


def _watch(pid: int, sent: Signal | None, streams: list[int]) -> Ran:
    """Read the streams, send the signals, end what takes too long or too much."""
    started, waiting, ended = time.monotonic(), _moments(sent), ""
    texts = dict.fromkeys(streams, b"")
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while True:
            _drain(selector, texts)
            seconds = time.monotonic() - started
            while waiting and seconds >= waiting[0][0]:
                os.kill(pid, waiting.pop(0)[1])
            gone, status, usage = os.wait4(pid, os.WNOHANG)
            if gone:
                break
            if seconds > SECONDS or _resident(pid) > MEMORY:
                ended = ended or ("time" if seconds > SECONDS else "memory")
                os.killpg(pid, signal.SIGKILL)
        _drain(selector, texts, whole=True)
    out, err = (texts[stream].decode("utf-8", "surrogateescape") for stream in streams)
    code = None if ended == "time" else os.waitstatus_to_exitcode(status)
    return Ran(code, out, err, usage.ru_maxrss * 1024, seconds)


def _moments(sent: Signal | None) -> list[tuple[float, int]]:
    """When to send which signal."""
    if sent is None:
        return []
    moments = [(sent.seconds, sent.number)]
    if sent.again is not None:
        moments.append((sent.seconds + sent.again, sent.number))
    return moments


def _drain(selector: selectors.BaseSelector, texts: dict[int, bytes], whole: bool = False) -> None:
    """Take what is in the pipes, after a short wait; `whole`: until nothing more is there."""
    if not selector.get_map():
        time.sleep(0 if whole else PAUSE)
        return
    while True:
        ready = selector.select(0 if whole else PAUSE)
        for key, _ in ready:
            content = os.read(key.fd, 65_536)
            if not content:
                selector.unregister(key.fd)
            texts[key.fd] = (texts[key.fd] + content)[-SHOWN:]
        if not whole or not ready or not selector.get_map():
            return


def _resident(pid: int) -> int:
    """The memory that a process has at the moment, in bytes."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0
