"""On a full disk everything that is there is true, and the run can be finished."""

import errno
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fvis import runner, schema
from fvis.compose import compose
from fvis.errors import UnwritableError
from tests.conftest import QUIET, Call
from tests.test_resume import tree

SETTINGS = (
    *("target.units=[0,1]", "engine.steps=1", "engine.batch_size=1", "engine.device=cpu"),
    "output.mp4=false",
)
TEXTS = {".hydra/config.yaml": "a: 1\n", ".hydra/overrides.yaml": "[]\n"}
WRITING = ((os, "mkdir"), (os, "replace"), (Path, "write_bytes"), (tempfile, "mkstemp"))

NEVER = 10**9

Fill = Callable[[int, bool], bool]


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fill]:
    """`fill(n, lasting)`: the disk is full at the n-th write from now on, then full or not.

    It returns whether the disk was full since the last call.
    """
    left, lasts, mkdir = [0], [False], os.mkdir

    def limited(true: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if true is mkdir and Path(arguments[0]).is_dir():
                return true(*arguments, **named)
            left[0] -= 1
            if left[0] == 0 or (left[0] < 0 and lasts[0]):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return true(*arguments, **named)

        return call

    def start(writes: int, lasting: bool) -> bool:
        was_full = left[0] <= 0
        left[0], lasts[0] = writes, lasting
        return was_full

    start(NEVER, False)
    for place, name in WRITING:
        monkeypatch.setattr(place, name, limited(getattr(place, name)))
    yield start


@pytest.mark.slow
@pytest.mark.parametrize("lasting", [False, True])
def test_a_disk_that_is_full_at_any_write_leaves_only_what_is_true(
    lasting: bool, fill: Fill, tmp_path: Path
) -> None:
    config = schema.parse(compose(SETTINGS))
    whole = runner.run(config, tmp_path / "whole" / "run", TEXTS)
    for n in itertools.count(1):
        folder, said = tmp_path / str(n) / "run", ""
        fill(n, lasting)
        try:
            runner.run(config, folder, TEXTS)
        except UnwritableError as error:
            said = str(error)
        if not fill(NEVER, False):
            break
        check_what_is_left(folder, said)
        if (folder / "run.json").exists():
            assert f"`fvis resume {folder}`" in said
            assert runner.resume(folder)
        else:
            runner.run(config, folder, TEXTS)
        assert tree(folder) == tree(whole)
    assert n > 40


def check_what_is_left(folder: Path, said: str) -> None:
    """The error names a file and what to do; run.json and the page are true, or not there."""
    assert re.search(rf"{folder}\S* cannot be written: No space .*free some space", said), said
    assert "\n" not in said and ".fvis-tmp-" not in said
    files = [path for path in folder.rglob("*") if path.is_file()]
    if not (folder / "run.json").exists():
        assert files == [] and not (folder / ".hydra").exists()
        return
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    page = folder / "index.html"
    assert not page.exists() or "interrupted" in page.read_text()
    assert not list(folder.rglob(".fvis-tmp-*"))


def test_a_run_is_done_only_once_its_page_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    before = []
    true = os.replace

    def replace(source: Any, target: Any) -> None:
        if Path(target).name == "run.json" and '"done"' in Path(source).read_text():
            before.append((folder / "index.html").is_file())
        true(source, target)

    monkeypatch.setattr(os, "replace", replace)
    runner.run(schema.parse(compose(SETTINGS)), folder)
    assert before == [True]


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv = ["fvis", *sys.argv[2:]]
from fvis.cli import main
main()
"""


@pytest.mark.slow
def test_the_command_line_says_what_to_do_and_is_status_1(
    forked_fvis: Call, tmp_path: Path
) -> None:
    words = (*SETTINGS, "hydra.run.dir=out", "target.layer=logits")
    ran = run_limited(6000, tmp_path, *words)  # bytes: less than a page has
    assert (ran.returncode, ran.stdout) == (1, "")
    (said,) = (line for line in ran.stderr.splitlines() if line.startswith("fvis: error"))
    assert "out/index.html cannot be written: File too large" in said
    assert "fvis resume" in said
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "interrupted"
    resumed = forked_fvis("resume", "out", cwd=tmp_path)
    assert (resumed.returncode, resumed.stdout) == (0, "out\n")
    ran = run_limited(10, tmp_path, *words, "hydra.run.dir=nothing")
    assert ran.returncode == 1
    assert not (tmp_path / "nothing").exists()


def run_limited(size: int, cwd: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """`fvis run` in a process that can write no file of more than so many bytes."""
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(size), "run", *words],
        cwd=cwd, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False,
    )  # fmt: skip
