"""Which process is at work on a run, and whether it still is."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
BOOT_ID = PROC / "sys" / "kernel" / "random" / "boot_id"
START_TIME = 19  # index of a process's start time in /proc/PID/stat, counted after its name


@dataclass(frozen=True)
class Process:
    """A process on some machine.

    `boot` and `started` tell it from a later process of the same number: the machine's boot id,
    and the process's start in clock ticks since then. They are empty where a system has no /proc.
    """

    pid: int = 0
    host: str = ""
    boot: str = ""
    started: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def current() -> Process:
    """The process that calls."""
    return Process(os.getpid(), platform.node(), _boot_id(), _started(os.getpid()))


def is_gone(process: Process | None) -> bool:
    """Whether a process has ended, as far as this machine can know.

    A process on another host may still be running. No process at all is gone.
    """
    if process is None:
        return True
    if process.host != platform.node():
        return False
    if process.boot != _boot_id():
        return True
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return process.started != _started(process.pid)


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[START_TIME]  # Z: ended, its parent does not know yet
