"""Batches solved in one process leave the same files, however they are written."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fvis import batch_state, execution, runner, schema, workspace
from fvis.compose import compose
from fvis.errors import UnwritableError
from fvis.execution.here import Writers, _writers
from fvis.methods import Result
from fvis.record.unit import UnitRecord
from fvis.run_folder import read_run
from tests.test_resume import tree

SETTINGS = ("engine.device=cpu", "engine.steps=2", "engine.batch_size=2", "target.units=0:6")


def config_of(*settings: str) -> schema.Config:
    return schema.parse(compose([*SETTINGS, *settings]))


def run_with(writers: int, folder: Path) -> Path:
    return runner.run(config_of(f"execution.writers={writers}"), folder)


def comparable(folder: Path) -> dict[str, Any]:
    files = tree(folder)
    del files["run.json"]["config"]["execution"]
    return files


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose batches are each written before the next one is solved."""
    return run_with(0, tmp_path_factory.mktemp("plain") / "run")


def test_threads_write_the_same_bytes(plain: Path, tmp_path: Path) -> None:
    assert comparable(run_with(3, tmp_path / "run")) == comparable(plain)


def test_threads_that_write_have_none_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With those of the steps they would be more than there are cores, and waiting ones sleep."""
    write, seen = execution.Work.write, set[int]()

    def note(work: execution.Work, result: Result) -> UnitRecord:
        seen.add(torch.get_num_threads())
        return write(work, result)

    monkeypatch.setattr(execution.Work, "write", note)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_with(2, tmp_path / "run")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {1}


def test_how_a_run_is_executed_is_no_part_of_what_it_is(plain: Path) -> None:
    assert runner.run(config_of("execution.writers=1"), plain) == plain


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads write nothing until they are waited for."""
    asked, write, finish = threading.Event(), execution.Work.write, Writers.finish

    def write_late(work: execution.Work, result: Result) -> UnitRecord:
        assert asked.wait(60), "nobody waits"
        return write(work, result)

    def finish_now(writers: Writers) -> None:
        asked.set()
        finish(writers)
        asked.clear()

    monkeypatch.setattr(execution.Work, "write", write_late)
    monkeypatch.setattr(Writers, "finish", finish_now)
    yield
    asked.set()


@pytest.mark.usefixtures("late")
def test_a_state_replaces_that_of_the_batch_before_when_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock, save, written = iter(range(10**9)), batch_state.write_bytes, list[int]()

    def note(path: Path, content: bytes) -> None:
        written.append(len(list(tmp_path.glob("run/units/[!.]*/metadata.json"))))
        save(path, content)

    monkeypatch.setattr(batch_state.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(batch_state, "write_bytes", note)
    settings = ("engine.checkpoint_every=1", "execution.writers=2", "method.rescue=false")
    runner.run(config_of(*settings), tmp_path / "run")
    assert written == [0, 0, 2, 2, 4, 4]  # at each of two steps of three batches


@pytest.mark.usefixtures("late")
def test_no_more_than_one_batch_waits_to_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counted, count, take = list[int](), execution.Work.count, Writers.take

    def note(work: execution.Work, units: dict[str, UnitRecord]) -> None:
        count(work, units)
        counted.append(len(work.recorder.finished))

    def take_and_note(writers: Writers, results: list[Result]) -> None:
        take(writers, results)
        counted.append(-1)

    monkeypatch.setattr(execution.Work, "count", note)
    monkeypatch.setattr(Writers, "take", take_and_note)
    run_with(2, tmp_path / "run")
    assert counted == [-1, 2, -1, 4, -1, 6]


def test_an_error_of_a_thread_ends_the_run_which_can_be_finished(
    plain: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write = execution.Work.write

    def refuse(work: execution.Work, result: Result) -> UnitRecord:
        if result.name == "logits-00002":
            raise UnwritableError(tmp_path / result.name, "no room")
        return write(work, result)

    with monkeypatch.context() as patch:
        patch.setattr(execution.Work, "write", refuse)
        with pytest.raises(UnwritableError, match=r"then `fvis resume .*` finishes the run"):
            run_with(2, tmp_path / "run")
    record = read_run(tmp_path / "run").record
    assert record.status == "interrupted"
    there = sorted(path.name for path in (tmp_path / "run" / "units").iterdir())
    assert there == record.units
    assert {"logits-00000", "logits-00001", "logits-00003"} <= set(there)
    assert runner.resume(tmp_path / "run")
    assert comparable(tmp_path / "run") == comparable(plain)


def test_what_is_solved_is_written_when_the_next_batch_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step, steps = batch_state.Optimization.step, [0]

    def fail(optimization: Any) -> None:
        steps[0] += 1
        if steps[0] == 3:  # the first step of the second batch
            raise ValueError("a network's own")
        step(optimization)

    monkeypatch.setattr(batch_state.Optimization, "step", fail)
    with pytest.raises(ValueError, match="a network's own"):
        run_with(2, tmp_path / "run")
    assert read_run(tmp_path / "run").record.units == ["logits-00000", "logits-00001"]
    assert not (tmp_path / "run" / workspace.BATCH_FILE).exists()


@pytest.mark.parametrize(
    ("kind", "cores", "writers"), [("cpu", 64, 2), ("cuda", 2, 2), ("cuda", 10, 5), ("cuda", 64, 8)]
)
def test_large_batches_are_written_by_more_threads(
    kind: str, cores: int, writers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert _writers(torch.device(kind)) == writers
