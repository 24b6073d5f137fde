"""Work is split to fit, and no job is lost or done twice when memory runs out."""

import pytest
import torch

from fvis import memory
from fvis.batching import ROOM, auto_size, in_batches
from fvis.errors import RequestError


def groups(*sizes: int) -> list[list[int]]:
    numbers = iter(range(100))
    return [[next(numbers) for _ in range(size)] for size in sizes]


def test_batches_hold_at_most_the_size_and_never_divide_a_group() -> None:
    batches = list(in_batches(groups(1, 1, 2, 1, 3), 3, lambda batch: list(batch)))
    assert batches == [[0, 1], [2, 3, 4], [5, 6, 7]]


def test_a_group_larger_than_the_size_goes_alone() -> None:
    batches = list(in_batches(groups(1, 4, 1), 2, lambda batch: list(batch)))
    assert batches == [[0], [1, 2, 3, 4], [5]]


def test_the_batch_is_halved_when_memory_runs_out() -> None:
    tried: list[int] = []

    def solve(batch: list[int]) -> list[int]:
        tried.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return batch

    batches = list(in_batches(groups(*[1] * 9), 8, solve))
    assert [job for batch in batches for job in batch] == list(range(9))
    assert tried == [8, 4, 2, 2, 2, 2, 1]


def test_one_job_that_does_not_fit_is_the_requests_fault() -> None:
    def solve(batch: list[int]) -> list[int]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RequestError, match="does not fit"):
        list(in_batches(groups(1, 1), 4, solve))


def test_other_errors_are_not_taken_for_memory() -> None:
    def solve(batch: list[int]) -> list[int]:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(in_batches(groups(1), 4, solve))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("could not create a primitive"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: "
                     "can't allocate memory: you tried to allocate 1 bytes. Error code 12 "
                     "(Cannot allocate memory)"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)  # fmt: skip
def test_memory_runs_out_in_other_words(error: Exception) -> None:
    def solve(batch: list[int]) -> list[int]:
        if len(batch) > 1:
            raise error
        return batch

    resized: list[int] = []
    batches = list(in_batches(groups(1, 1, 1, 1), 4, solve, on_resize=resized.append))
    assert batches == [[0], [1], [2], [3]]
    assert resized == [2, 1]


def test_first_batches_may_have_sizes_of_their_own() -> None:
    batches = list(in_batches(groups(1, 1, 1, 1, 1, 1), 4, list, sizes=[1, 2]))
    assert batches == [[0], [1, 2], [3, 4, 5]]


CPU, CUDA, GIGABYTE = torch.device("cpu"), torch.device("cuda"), 10**9


@pytest.mark.parametrize(
    ("device", "share", "row", "size"),
    [
        (CPU, 1.0, GIGABYTE // 100, 4),
        (CPU, 0.1, GIGABYTE // 100, 16),
        (CPU, 0.1, 2 * GIGABYTE, 3),  # more would not fit
        (CPU, 1.0, 100 * GIGABYTE, 1),
        (CUDA, 1.0, GIGABYTE // 50, 256),  # 300 would
        (CUDA, 1.0, GIGABYTE // 20, 64),  # 120 would
        (CUDA, 1.0, 3, 256),  # more are no faster
        (CUDA, 0.5, 3, 512),
        (CUDA, 0.1, 3, 1024),
        (CUDA, 1.0, 100 * GIGABYTE, 1),
        (CUDA, 0.5, 0, 128),  # nothing is known of its rows
    ],
)
def test_the_first_batch_fits_into_the_free_memory(
    device: torch.device, share: float, row: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free", lambda device: int(6 * GIGABYTE / ROOM))
    assert auto_size(device, share, row) == size


def test_a_size_is_fixed_where_the_memory_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda device: None)
    assert auto_size(CPU, 1.0, GIGABYTE) == 4
