"""Work in batches that fit: halved whenever memory runs out."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from fvis.errors import RequestError

logger = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")

AUTO_SIZE = {"cpu": 4, "mps": 16}  # past 4 rows a CPU gains nothing more
AUTO_SIZE_CUDA = 64


def auto_size(device: torch.device) -> int:
    """The batch size tried first on a device when none is asked for."""
    return AUTO_SIZE.get(device.type, AUTO_SIZE_CUDA)


def in_batches(
    groups: Sequence[Sequence[J]], size: int, solve: Callable[[list[J]], list[R]]
) -> Iterator[list[R]]:
    """Solve all jobs, at most `size` at once (a group is never divided), yielding batch by batch.

    When `solve` runs out of memory the size is halved for it and all that follow. Raises
    `RequestError` where a single group does not fit.
    """
    place = 0
    while place < len(groups):
        count = _fitting(groups[place:], size)
        batch = [job for group in groups[place : place + count] for job in group]
        try:
            results = solve(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if count == 1:
                raise RequestError(f"a batch of {len(batch)} does not fit into memory") from error
            results = None
        if results is None:  # outside the handler, whose traceback holds the tensors
            torch.cuda.empty_cache()
            size = max(1, len(batch) // 2)
            logger.warning("out of memory with a batch of %d; going on with %d", len(batch), size)
            continue
        place += count
        yield results


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's or the host's memory ran out."""
    text = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
        or "not enough memory" in text
    )


def _fitting(groups: Sequence[Sequence[J]], size: int) -> int:
    """How many groups, at least one, have `size` jobs or fewer together."""
    total = count = 0
    for group in groups:
        total += len(group)
        if count and total > size:
            break
        count += 1
    return count
