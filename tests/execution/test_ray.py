"""Ray itself solves batches to the same bytes, whichever process is killed meanwhile."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, QUIET, TIMEOUT, Call
from tests.execution.test_workers import SETTINGS, comparable

pytest.importorskip("ray", reason="no Ray: pip install 'fvis[ray]'")
pytestmark = pytest.mark.slow

WORDS = ("run", *SETTINGS, "engine.steps=20", "engine.threads=1", "hydra.run.dir=run")
WORKERS = ("execution=ray", "execution.workers=2")


@pytest.fixture(scope="module")
def here(fvis: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("here")
    ran = fvis(*WORDS, cwd=cwd)
    assert ran.returncode == 0, ran.stderr
    return cwd / "run"


def assert_same(ours: Path, theirs: Path) -> None:
    """The same files, but for what says how and in which folder they were asked for."""
    sides = [comparable(folder) for folder in (ours, theirs)]
    for side in sides:
        del side["run.json"]["directory"], side["index.html"]
        for name in [name for name in side if name.startswith(".hydra/")]:
            del side[name]
    assert sides[0] == sides[1]


def start(cwd: Path) -> "subprocess.Popen[bytes]":
    """A run by two workers that has written a unit."""
    process = subprocess.Popen([PROGRAM, *WORDS, *WORKERS], cwd=cwd, env={**os.environ, **QUIET})
    deadline = time.monotonic() + TIMEOUT
    while not list(cwd.glob("run/units/[!.]*/metadata.json")):
        assert process.poll() is None, "it ended early"
        assert time.monotonic() < deadline, "no unit ever came"
        time.sleep(0.05)
    return process


def workers_below(pid: int) -> list[int]:
    """The workers that solve batches among the processes that a process has started."""
    found = []
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, check=False).stdout
    for child in map(int, children.split()):
        named = subprocess.run(["ps", "-o", "args=", "-p", str(child)], capture_output=True)
        found += [child] if named.stdout.startswith(b"ray::Worker") else workers_below(child)
    return found


def test_two_workers_give_the_bytes_of_one_process(here: Path, fvis: Call, tmp_path: Path) -> None:
    ran = fvis(*WORDS, *WORKERS, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "run\n"
    assert_same(here, tmp_path / "run")


def test_a_killed_worker_changes_nothing(here: Path, tmp_path: Path) -> None:
    process = start(tmp_path)
    os.kill(workers_below(process.pid)[0], signal.SIGKILL)
    assert process.wait(TIMEOUT) == 0
    assert "its batch goes to another" in (tmp_path / "run" / "fvis.log").read_text()
    assert_same(here, tmp_path / "run")


def test_a_killed_run_is_finished(here: Path, fvis: Call, tmp_path: Path) -> None:
    process = start(tmp_path)
    process.kill()
    process.wait()
    ran = fvis("resume", "run", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert_same(here, tmp_path / "run")
