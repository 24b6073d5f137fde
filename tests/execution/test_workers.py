"""Workers solve batches to the same bytes as one process does, whichever of them are lost."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fvis import runner, schema
from fvis.compose import compose
from fvis.errors import LostBatchesError, RequestError
from fvis.execution import ray as driver
from fvis.execution.worker import Batch, Worker
from fvis.optimization import Optimization
from fvis.run_folder import read_run
from tests.execution.fake_ray import FakeRay
from tests.test_resume import tree

SETTINGS = (
    *("engine.device=cpu", "engine.steps=2", "engine.batch_size=2"),
    *("target.layer=[layer1,logits]", "target.units=0:5"),
)
Run = Callable[..., Path]


def config_of(*settings: str) -> schema.Config:
    return schema.parse(compose([*SETTINGS, *settings]))


def comparable(folder: Path) -> dict[str, Any]:
    files = tree(folder)
    del files["run.json"]["config"]["execution"]
    return files


def keep_all(*call: object) -> bool:
    return False


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs and resumes with two workers in this process; `lose` says which calls are lost."""

    def carry_out(lose: Callable[..., bool] = keep_all, build: Any = Worker) -> Path:
        fake = FakeRay(build, lose)

        class Execution(driver.Ray):
            def __init__(self, config: schema.Config) -> None: ...

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None: ...

            def solve(self, work: Any) -> None:
                work.show()
                driver.Workers(fake, fake, work).solve(2)

        monkeypatch.setitem(runner.EXECUTIONS._entries, "ray", Execution)
        folder = tmp_path / "run"
        if (folder / "run.json").is_file():
            runner.resume(folder)
            return folder
        return runner.run(config_of("execution=ray"), folder)

    return carry_out


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runner.run(config_of(), tmp_path_factory.mktemp("here") / "run")


def test_workers_give_the_bytes_of_one_process(here: Path, run: Run) -> None:
    assert comparable(run()) == comparable(here)


def test_the_batch_of_a_lost_worker_goes_to_another(here: Path, run: Run) -> None:
    lost = []

    def lose(number: int, name: str, *given: Any) -> bool:
        if name == "solve" and given[0].number == 1 and len(lost) < driver.LOSSES:
            lost.append(number)
            return True
        return False

    assert comparable(run(lose)) == comparable(here)
    assert len(set(lost)) == driver.LOSSES, "each time it was another worker"


def test_a_batch_that_no_worker_survives_is_reported_and_the_rest_goes_on(
    here: Path, run: Run
) -> None:
    def lose(number: int, name: str, *given: Any) -> bool:
        return name == "solve" and given[0].number == 1

    with pytest.raises(LostBatchesError, match="layer1-00002, layer1-00003; `fvis resume") as found:
        run(lose)
    folder = Path(str(found.value).rpartition("resume ")[2].partition("`")[0])
    record = read_run(folder).record
    assert record.status == "interrupted"
    assert set(record.jobs) - set(record.units or ()) == {"layer1-00002", "layer1-00003"}
    assert comparable(run()) == comparable(here)


def test_workers_that_die_as_they_start_end_the_run(run: Run) -> None:
    calls = []

    def lose(number: int, name: str, *given: Any) -> bool:
        calls.append(name)
        return name == "build"

    with pytest.raises(RuntimeError, match=r"end as they start: .*the worker died"):
        run(lose)
    assert calls == ["build"] * (driver.LOSSES + 1)


def test_workers_that_die_as_they_start_now_and_then_end_nothing(here: Path, run: Run) -> None:
    built, tried = list[int](), set[int]()

    def lose(number: int, name: str, *given: Any) -> bool:
        if name == "build":
            built.append(number)
            return len(built) % 2 == 1
        if name != "solve" or given[0].number in tried:
            return False
        tried.add(given[0].number)
        return True

    assert comparable(run(lose)) == comparable(here)
    assert len(built) > 2 * driver.LOSSES


def test_an_error_of_a_worker_is_that_of_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(worker: Worker, batch: Batch) -> None:
        raise RequestError("of the network")

    monkeypatch.setattr(Worker, "solve", fail)
    with pytest.raises(RequestError, match="of the network"):
        run()


def test_a_worker_with_other_weights_is_refused(run: Run) -> None:
    class Other(Worker):
        def build(self, *given: Any) -> Any:
            record = super().build(*given)
            weights = dataclasses.replace(record.model.weights, sha256="0")
            return dataclasses.replace(
                record, model=dataclasses.replace(record.model, weights=weights)
            )

    with pytest.raises(RequestError, match="differs from this process: the weights"):
        run(build=Other)


def test_a_batch_too_large_for_a_worker_is_halved_there_and_so_are_those_after_it(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, sizes = Optimization.step, list[int]()

    def fit_one(optimization: Any) -> None:
        sizes.append(len(optimization._parameters[0]))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        step(optimization)

    monkeypatch.setattr(Optimization, "step", fit_one)
    folder = run()
    assert 1 <= sizes.count(2) <= 3, "no more than were given out before the first one was halved"
    record = json.loads((folder / "run.json").read_text())
    assert sum(record["batches"]) == 10
    assert record["batch_size"] == 1
    for name in record["jobs"]:
        files = [place / "units" / name / "metadata.json" for place in (here, folder)]
        ours, theirs = (json.loads(file.read_text())["activation"]["final"] for file in files)
        assert theirs == pytest.approx(ours, rel=1e-3, abs=1e-3)


def test_a_batch_of_one_that_does_not_fit_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(optimization: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Optimization, "step", fail)
    with pytest.raises(RequestError, match="a batch of 1 does not fit into memory"):
        run()


def test_without_ray_the_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(RequestError, match=r"pip install 'fvis\[ray\]'"):
        runner.run(config_of("execution=ray"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
