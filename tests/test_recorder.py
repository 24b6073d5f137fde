"""run.json is true when it matters, and is not written the more often the more units there are."""

import json
from pathlib import Path
from typing import Any

import pytest

from fvis import pacing, recorder
from fvis.record.run import RunRecord
from fvis.record.unit import UnitRecord
from fvis.recorder import Recorder


class Clock:
    """A clock that moves when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """The time in seconds."""
        return self.now


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> tuple[Clock, list[int]]:
    """A clock, and how many units each written run.json lists; a write takes 1 ms per unit."""
    clock, listed = Clock(), list[int]()
    true = recorder.write_run

    def write(directory: Path, record: RunRecord) -> None:
        listed.append(len(record.units or ()))
        clock.now += 0.001 * listed[-1]
        true(directory, record)

    monkeypatch.setattr(pacing, "time", clock)
    monkeypatch.setattr(recorder, "write_run", write)
    return clock, listed


def solve(batches: int, folder: Path, clock: Clock) -> tuple[Recorder, list[str]]:
    """A run of two jobs a batch, each batch a tenth of a second."""
    names = [f"layer-{i:05d}" for i in range(2 * batches)]
    made = Recorder(folder, RunRecord(jobs=names, batch_size=2))
    made.begin()
    for first in range(0, len(names), 2):
        clock.now += 0.1
        for name in names[first : first + 2]:
            made.add(name, UnitRecord(status="ok"))
        made.batch_done(2)
    return made, names


def read(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text())


def test_the_units_written_grow_no_faster_than_the_time(
    writes: tuple[Clock, list[int]], tmp_path: Path
) -> None:
    clock, listed = writes
    made, names = solve(400, tmp_path, clock)
    assert sum(listed) * 0.001 < 0.1 * clock.now
    assert len(listed) < 400 / 4
    made.end(lambda record: None)
    content = read(tmp_path)
    assert (content["units"], content["batches"]) == (names, [2] * 400)
    assert content["statuses"] == {"ok": 800}


def test_a_smaller_batch_size_is_written_at_once_with_the_batches_before_it(
    writes: tuple[Clock, list[int]], tmp_path: Path
) -> None:
    made, _ = solve(100, tmp_path, writes[0])
    made.set_batch_size(1)
    content = read(tmp_path)
    assert (content["batch_size"], content["batches"]) == (1, [2] * 100)


def test_a_resumed_run_keeps_the_batches_that_are_to_come(tmp_path: Path) -> None:
    record = RunRecord(jobs=[f"l-{i:05d}" for i in range(5)], batch_size=2, batches=[2, 1, 2])
    made = Recorder(tmp_path, record)
    made.begin()
    assert (made.coming, read(tmp_path)["batches"]) == ([2, 1, 2], [2, 1, 2])
    made.batch_done(2)
    assert made.coming == [1, 2]
    made.set_batch_size(1)
    assert (made.coming, read(tmp_path)["batches"]) == ([], [2])
