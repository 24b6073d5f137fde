"""Batches of jobs that fit into memory: their size is halved whenever memory runs out."""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from fvis import memory
from fvis.errors import RequestError

logger = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")

AUTO_SIZE = {"cpu": 4, "mps": 16}  # of whole inputs; a CPU is no faster per row with more than 4
AUTO_SIZE_CUDA = 64  # where it is not known how much memory a row takes
MOST_SMALLER = 4  # times as many pictures on a small canvas; still more would gain nothing
MOST_CUDA = 256  # whole inputs; more are no faster, and would put off the files and the saved state
ROOM = 0.6  # of the free memory; the rest is for what a row's bytes leave out, such as workspaces
# What torch's allocators, its CPU kernels and CUDA's libraries say when memory runs out.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "could not create a primitive",
    "std::bad_alloc",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "unable to find an engine",
)


def auto_size(device: torch.device, share: float = 1.0, row_bytes: int = 0) -> int:
    """The batch size tried first on a device when none is asked for.

    On CUDA it is the largest power of two that fits into `ROOM` of the free memory, up to
    `MOST_CUDA` whole inputs. Elsewhere, and where `row_bytes` is 0, it is a fixed one, divided by
    `share`, or as many as fit if those are fewer. (Pictures of other batches differ by rounding, so
    a size that hangs on what else uses the memory is taken only where it makes pictures much
    faster.)

    Args:
        device: where the batches are solved.
        share: that of the network's input which is synthesised, in (0, 1].
        row_bytes: what the ascent of one picture takes; 0 where that is not known.

    >>> auto_size(torch.device("cpu")), auto_size(torch.device("cpu"), 0.5)
    (4, 8)
    """
    room = memory.free(device) if row_bytes else None
    fitting = max(1, int(ROOM * room) // row_bytes) if room is not None else None
    smaller = min(1 / share, MOST_SMALLER)
    if device.type == "cuda" and fitting is not None:
        return 1 << (min(int(MOST_CUDA * smaller), fitting).bit_length() - 1)
    size = int(AUTO_SIZE.get(device.type, AUTO_SIZE_CUDA) * smaller)
    return size if fitting is None else min(size, fitting)


def in_batches(
    groups: Sequence[Sequence[J]],
    size: int,
    solve: Callable[[list[J]], R],
    *,
    sizes: Sequence[int] = (),
    on_resize: Callable[[int], None] = lambda size: None,
) -> Iterator[R]:
    """Solve all jobs, at most `size` at once (a group is never divided), yielding batch by batch.

    The first batches have the sizes in `sizes` instead, so that a resumed run composes its batches
    as before. When `solve` runs out of memory, the size is halved for this batch and all that
    follow, and `on_resize(size)` is called. Raises `RequestError` if a single group does not fit.
    """
    place, given = 0, list(sizes)
    while place < len(groups):
        count = fitting(groups, place, given.pop(0) if given else size)
        batch = [job for group in groups[place : place + count] for job in group]
        try:
            results = [solve(batch)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if count == 1:
                raise RequestError(f"a batch of {len(batch)} does not fit into memory") from error
            results = []
        if not results:  # outside the handler: its traceback keeps tensors alive
            torch.cuda.empty_cache()
            given, size = [], max(1, len(batch) // 2)
            logger.warning("out of memory with a batch of %d; going on with %d", len(batch), size)
            on_resize(size)
            continue
        place += count
        yield from results
        memory.give_back()


def size_after(sizes: Sequence[int]) -> int:
    """The size to go on with after a batch that had to be solved in parts of `sizes`.

    It is that of the last parts, of which the very last one may be what was left.

    >>> size_after([3, 3, 1]), size_after([3, 1, 1, 1])
    (3, 1)
    """
    return max(sizes[-2:])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's or the host's memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in OUT_OF_MEMORY)


def fitting(groups: Sequence[Sequence[J]], place: int, size: int) -> int:
    """How many groups from `place` on fit into a batch of `size` jobs, but at least one."""
    total = count = 0
    for group in itertools.islice(groups, place, None):
        total += len(group)
        if count and total > size:
            break
        count += 1
    return count
