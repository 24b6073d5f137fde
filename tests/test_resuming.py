"""What `fvis resume` finds to do lies in the folder that it is given, whatever is planted there."""

import json
from pathlib import Path

import pytest

from fvis import resuming
from fvis.errors import RequestError


@pytest.mark.parametrize(
    "job",
    [
        {"folder": "../escaped", "texts": {}},
        {"folder": "/nowhere/escaped", "texts": {}},
        {"folder": "0", "texts": {"../../escaped.txt": "x"}},
        {"folder": "0", "texts": {"run.json": "x"}},
        {"folder": "0", "texts": {".hydra/../../x": "x"}},
    ],
    ids=str,
)
def test_a_planted_sweep_writes_nowhere_else(tmp_path: Path, job: dict[str, object]) -> None:
    record = {"schema": 2, "directory": None, "jobs": [{"config": {}, **job}]}
    (tmp_path / "sweep.json").write_text(json.dumps(record))
    with pytest.raises(RequestError, match="outside of its own folder"):
        list(resuming.unfinished(tmp_path))


def test_a_job_that_never_began_is_found(tmp_path: Path) -> None:
    job = {"folder": "0", "config": {}, "texts": {".hydra/config.yaml": "x"}}
    (tmp_path / "sweep.json").write_text(json.dumps({"schema": 2, "jobs": [job]}))
    assert [work.directory for work in resuming.unfinished(tmp_path)] == [tmp_path / "0"]


def test_a_job_in_a_folder_of_folders_is_found_once(tmp_path: Path) -> None:
    jobs = [{"folder": f"org/{name}", "config": {}, "texts": {}} for name in ("a", "b")]
    (tmp_path / "sweep.json").write_text(json.dumps({"schema": 2, "jobs": jobs}))
    for name in ("a", "other"):
        (tmp_path / "org" / name).mkdir(parents=True)
        (tmp_path / "org" / name / "run.json").write_text("{}")
    found = [work.directory.name for work in resuming.unfinished(tmp_path)]
    assert sorted(found) == ["a", "b", "other"]
