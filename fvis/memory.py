"""Refuses a run that cannot fit into memory; keeps what steps need, and hands the rest back."""

import ctypes
import functools
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import torch

from fvis.errors import RequestError
from fvis.pacing import Pace
from fvis.schema import AccentuationConfig, AscentConfig, Config, InversionConfig

MEMINFO, CGROUPS, OWN_CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup"), "/proc/self/cgroup"
FLOAT = 4  # bytes
NUMBERS_PER_DRAW = 5  # floats that the place (two whole numbers) and the sign of noise take
# Parameters of mallopt(3), and the largest number it takes.
TRIM_THRESHOLD, MMAP_THRESHOLD, MOST = -1, -3, 2**31 - 1
OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
_pace = Pace(1.0)  # of this process, as its memory is


def check(config: Config, shape: tuple[int, ...], device: torch.device, prior: int = 0) -> None:
    """Raise `RequestError` where not even one picture of `shape` (3, ...) fits into memory.

    A batch that does not fit is halved, so its size does not count. `prior` is what the weights of
    the prior take, bytes.
    """
    room, needed = available(device), prior + least_bytes(config, shape)
    if room is not None and needed > room:
        size = "x".join(map(str, shape))
        raise RequestError(
            f"one picture of {size} with transforms.views={config.transforms.views} and "
            f"engine.steps={config.engine.steps} needs more than {needed / 1e9:.0f} GB of memory, "
            f"and {device.type} has {room / 1e9:.0f} GB"
        )


def least_bytes(config: Config, shape: tuple[int, ...]) -> int:
    """A number of bytes that a run on inputs of `shape` needs at any rate, all layers left out.

    These are the picture, each of its views and the gradient of each view. The views of all steps
    are drawn beforehand.
    """
    picture = FLOAT * math.prod(shape)
    if not isinstance(config.method, AscentConfig):
        return 3 * picture
    views, rows = config.transforms.views, config.target.repeats
    draws = config.engine.steps * views if config.transforms.noise > 0 else 0
    pictures = 1 + 2 * views
    if isinstance(config.method, AccentuationConfig | InversionConfig):
        pictures += 1 + views  # the photograph, and the same views of it
    return rows * (picture * pictures + FLOAT * NUMBERS_PER_DRAW * draws)


def available(device: torch.device) -> int | None:
    """The bytes of memory that a device has, in use or not; None where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        text = MEMINFO.read_text(encoding="ascii")
    except OSError:
        return None
    sizes = dict(re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE))
    machine = 1024 * (int(sizes.get("MemTotal", 0)) + int(sizes.get("SwapTotal", 0)))
    return min([machine, *_cgroup_limits()]) or None


def free(device: torch.device) -> int | None:
    """The bytes of memory that batches may take; None where that is not known.

    On CUDA those that are free now; elsewhere what the machine has, whatever else it does.
    """
    if device.type != "cuda":
        return available(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


@functools.cache
def keep_freed() -> None:
    """Let this process keep the memory that it frees, for its next use, till `give_back`.

    The GNU C library gives every large tensor's memory back to the system at once, and so each step
    of an ascent would ask for all of it again, page by page. Settings of the user's own count more.
    """
    if not any(name in os.environ for name in OWN_SETTINGS):
        for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            _of_c("mallopt")(parameter, MOST)


def give_back() -> None:
    """Hand memory that is free back to the system, once in a while; to be called between batches.

    Otherwise the free pieces that are kept would grow a little with every batch.
    """
    if _pace.is_due:
        with _pace.timed():
            trim()


def trim() -> None:
    """Hand all memory that is free back to the system, where its C library can."""
    _of_c("malloc_trim")(0)


@functools.cache
def _of_c(name: str) -> Callable[..., int]:
    """A function of the C library; one that does nothing where it has none of that name."""
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library
        return lambda *numbers: 0
    return function


def _cgroup_limits() -> list[int]:
    """The limits on the memory of the process's control group and of those around it."""
    try:
        own = Path(OWN_CGROUP).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    paths = [line.split(":", 2)[2] for line in own if line.startswith("0::")]
    places = [CGROUPS / path.lstrip("/") for path in paths]
    files = [place / "memory.max" for group in places for place in (group, *group.parents)]
    files.append(CGROUPS / "memory" / "memory.limit_in_bytes")
    limits = []
    for file in files:
        try:
            limits.append(int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return limits
