"""What cannot fit into memory is refused, and what may fit is not."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fvis import memory, runner, schema
from fvis.batching import ROOM, in_batches
from fvis.compose import compose
from fvis.context import prepare
from fvis.errors import RequestError
from fvis.pacing import Pace
from fvis.plan import plan
from tests.conftest import Call

CPU = torch.device("cpu")
GIGABYTE = 10**9
OWN = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_MMAP_THRESHOLD_": "131072",
}  # what the GNU C library does anyway


def config_of(*settings: str) -> schema.Config:
    return schema.parse(compose(["engine.device=cpu", *settings]))


@pytest.mark.parametrize(
    "settings",
    [
        ("model.input.height=16384", "model.input.width=16384", "transforms.views=64"),
        ("transforms.views=1024", "engine.steps=10000000"),
        ("model=drift_r3d", "model.input.frames=4096", "transforms.views=1024"),
        ("target.repeats=1000", "transforms.views=1024", "engine.steps=100000"),
    ],
)
def test_a_run_that_cannot_fit_is_refused_before_anything_is_written(
    settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 64 * GIGABYTE)
    with pytest.raises(RequestError, match=r"needs more than .* GB of memory") as caught:
        runner.run(config_of(*settings), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_bound_lies_below_what_a_run_takes() -> None:
    views, steps, shape = 8, 40, (3, 64, 64)
    picture = torch.rand(1, *shape)
    config = config_of(f"transforms.views={views}", f"engine.steps={steps}")
    seen = views * picture.nbytes
    bound = memory.least_bytes(config, shape)
    assert 2 * seen < bound < 3 * seen, "each view and its gradient, and little else"


def test_a_control_group_limits_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = memory.available(CPU)
    assert machine is None or machine > GIGABYTE
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "memory.max").write_text("2000000000\n")
    (tmp_path / "outer" / "inner" / "memory.max").write_text("max\n")
    (tmp_path / "own").write_text("0::/outer/inner\n")
    (tmp_path / "meminfo").write_text("MemTotal:  8000000 kB\nSwapTotal: 1000000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "OWN_CGROUP", str(tmp_path / "own"))
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    assert memory.available(CPU) == 2 * GIGABYTE
    (tmp_path / "outer" / "memory.max").write_text("max\n")
    assert memory.available(CPU) == 9_000_000 * 1024
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "absent")
    assert memory.available(CPU) is None


def test_the_command_line_refuses_it_with_status_2(forked_fvis: Call, tmp_path: Path) -> None:
    words = ("transforms.views=1024", "engine.steps=10000000", "hydra.run.dir=out")
    ran = forked_fvis("run", *words, cwd=tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert not (tmp_path / "out").exists()


def test_the_weights_of_a_prior_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: GIGABYTE)
    config = config_of("target.units=0")
    memory.check(config, (3, 64, 64), CPU, prior=GIGABYTE // 2)
    with pytest.raises(RequestError, match="needs more than 2 GB of memory"):
        memory.check(config, (3, 64, 64), CPU, prior=2 * GIGABYTE)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_memory_that_is_free_is_handed_back_between_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A piece in use above the free ones keeps the C library from handing them back by itself."""

    def resident() -> int:
        text = Path("/proc/self/status").read_text(encoding="ascii")
        return int(text.split("VmRSS:")[1].split()[0]) * 1024

    def solve(batch: list[int]) -> Tensor:
        pieces = [torch.ones(16_000) for _ in range(2000)]  # 64 kB each
        return pieces[-1]

    monkeypatch.setattr(Pace, "is_due", True)
    before = resident()
    kept = list(in_batches([[job] for job in range(4)], 1, solve))
    assert resident() - before < 64e6, "of 128 MB in each batch"
    assert len(kept) == 4


PASSES = """
import resource, sys, torch
from fvis import memory

if sys.argv[1] == "keep":
    memory.keep_freed()
for step in range(24):
    if step == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000)  # 64 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(word: str, **environment: str) -> int:
    """How often new memory was asked for, a page at a time, in twenty steps."""
    clean = {name: set_ for name, set_ in os.environ.items() if name not in memory.OWN_SETTINGS}
    command = [sys.executable, "-c", PASSES, word]
    ran = subprocess.run(command, env=clean | environment, capture_output=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_steps_use_the_same_memory_again_unless_the_user_sets_otherwise() -> None:
    usual = faults("leave")
    assert faults("keep") < 0.05 * usual
    for own in memory.OWN_SETTINGS:
        assert faults("keep", **{own: OWN[own]}) > 0.5 * usual, own


def test_a_run_begins_with_as_many_pictures_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    context = prepare(config_of("target.units=0:6", "transforms.views=2"))
    planned = plan(context)
    assert planned.row_bytes > 2 * 24 * 3 * 64 * 64 * memory.FLOAT
    sizes = []
    for rows in (3.5, 60):
        room = int(rows * planned.row_bytes / ROOM)
        monkeypatch.setattr(memory, "free", lambda device, room=room: room)
        sizes.append(runner.batch_size(planned, context.config, CPU))
    assert sizes == [3, 4]
    cuda, ray = torch.device("cuda"), config_of("execution=ray")
    assert runner.batch_size(planned, context.config, cuda) == 32
    assert runner.batch_size(planned, ray, cuda) == 64, "workers share them"
