"""A run looks first where it is to go; how it ends; what it leaves of the process as it was."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from fvis import runner, schema
from fvis.compose import compose
from fvis.errors import RequestError

OWN = ("run.json", "units", ".hydra", ".state", ".state/lock", ".state/batch.pt", "fvis.log")


def run(directory: Path, *more: str) -> None:
    config = compose(["engine.steps=1", "engine.device=cpu", "target.units=[0]", *more])
    runner.run(schema.parse(config), directory)


@pytest.mark.parametrize("name", OWN)
def test_a_pipe_in_the_place_of_an_own_file_or_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RequestError, match=f"{name} is in the way"):
        run(tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_is_no_run_record(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(RequestError, match="no regular file"):
        run(tmp_path)


@pytest.mark.parametrize("kind", ["file", "loop", "dangling"])
def test_an_output_folder_that_is_none(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "out"
    if kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to("out" if kind == "loop" else "nosuch")
    with pytest.raises(RequestError, match="out is in the way: it is no folder"):
        run(place)


def test_units_that_run_json_does_not_list_yet_are_not_replaced(tmp_path: Path) -> None:
    """It is not written with every batch, so that a killed run has left more than it says."""
    folder = tmp_path / "out"
    run(folder)
    record = json.loads((folder / "run.json").read_text())
    gone = {"pid": 0, "host": "", "boot": "", "started": ""}
    early = record | {"status": "running", "units": [], "statuses": {}, "process": gone}
    (folder / "run.json").write_text(json.dumps(early))
    before = (folder / "units" / "logits-00000" / "image.png").stat().st_mtime_ns
    with pytest.raises(RequestError, match="fvis resume"):
        run(folder)
    assert runner.resume(folder)
    assert (folder / "units" / "logits-00000" / "image.png").stat().st_mtime_ns == before
    assert json.loads((folder / "run.json").read_text())["units"] == ["logits-00000"]


def test_a_signal_that_comes_as_a_run_ends_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is done; but of a sweep, the next is not to begin."""
    show = runner.workspace.show

    def interrupted(directory: Path, record: Any) -> None:
        if record.status == "done":
            os.kill(os.getpid(), signal.SIGINT)
        show(directory, record)

    monkeypatch.setattr(runner.workspace, "show", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["units"]) == ("done", ["logits-00000"])


def test_a_run_leaves_as_many_threads_as_there_were(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    run(tmp_path / "run", f"engine.threads={before + 1}")
    assert torch.get_num_threads() == before
    assert json.loads((tmp_path / "run" / "run.json").read_text())["threads"] == before + 1


def test_what_was_said_before_the_folder_was_there_is_in_its_log(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    Image.new("RGB", (64, 64), "red").save(photographs / "whole.png")
    (photographs / "broken.png").write_text("no picture")
    run(tmp_path / "out", f"grounding.images={photographs}", f"grounding.cache={tmp_path / 'c'}")
    lines = (tmp_path / "out" / "fvis.log").read_text().splitlines()
    assert len([line for line in lines if "left out" in line and "broken.png" in line]) == 1
