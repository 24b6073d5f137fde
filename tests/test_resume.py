"""A run that ends at any moment is finished by `fvis resume`, to the same bytes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fvis import batch_state, provenance, runner, schema
from fvis.compose import compose
from fvis.errors import InterruptedRunError, RequestError
from fvis.interactions import files
from fvis.interactions.study import carry_out
from fvis.optimization import Optimization
from fvis.photographs import EXAMPLES
from tests.conftest import PROGRAM, QUIET, SMALL_CLIPS, TIMEOUT, Call

pytestmark = pytest.mark.slow

BRIEF = ("engine.device=cpu", "engine.checkpoint_every=1", "output.mp4=false")
GLYPHS = EXAMPLES / "glyphs"
MOTION = (
    *("model=drift_r3d", *SMALL_CLIPS, "method=texture_motion"),
    *("target.units=[0,8]", "engine.steps=5"),
)
CASES = {
    "activation_maximization": ("target.units=0:3", "engine.steps=9", "engine.batch_size=2"),
    "canvas": (
        *("target.layer=layer2", "target.position=center", "target.units=0:3"),
        *("engine.steps=9", "engine.batch_size=2"),
    ),
    "rescue": (
        *("model=glyph_vit", "target.layer=blocks.2.mlp.act", "target.units=0:6"),
        *("engine.steps=9", "engine.batch_size=4"),
    ),
    "repeats": ("target.units=[1,4]", "target.repeats=2", "engine.steps=9"),
    "layers": (
        *("target.layer=[logits,layer1]", "target.units=0:3"),
        *("engine.steps=5", "engine.batch_size=2"),
    ),
    "factored": (*MOTION, "method.steps=5", "method.pilot_steps=2", "method.mirror_steps=4"),
    "tracking": (
        *(*MOTION, "method.solver=tracking"),
        *("method.fit.frame_steps=2", "method.fit.refine_steps=5"),
    ),
    "joint": (*MOTION, "method.solver=joint", "method.fit.joint_steps=9"),
    "adversarial": (
        *("method=adversarial", "method.images=zoo:glyphs", "method.target=[3,random]"),
        *("engine.steps=9", "engine.batch_size=5"),
    ),
    "networks": (
        *("method=adversarial", "method.models=[zoo/glyph_vit]", "method.images=zoo:glyphs"),
        *("method.target=any", "engine.steps=9", "engine.batch_size=5"),
    ),
    "accentuation": (
        *("method=accentuation", "target.layer=layer3", "target.units=0:3", "engine.steps=5"),
        "parametrization.start=zoo:glyphs/03-striped-disc.png",
    ),
    "inversion": (
        *("method=inversion", "target.layer=[layer1,layer2]", "engine.steps=5"),
        "method.images=zoo:glyphs/03-striped-disc.png",
    ),
}

Tree = dict[str, Any]


class Killed(BaseException):
    """What a test raises where SIGKILL would end the process: nothing may handle it."""


def config_of(*settings: str) -> schema.Config:
    return schema.parse(compose([*BRIEF, *settings]))


def tree(folder: Path) -> Tree:
    """Every file of a run but for its log, without what says how long or when."""
    return {
        str(path.relative_to(folder)): _timeless(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "fvis.log"
    }


def _timeless(path: Path) -> Any:
    if path.name in ("run.json", "metadata.json"):
        content = json.loads(path.read_text())
        return {key: value for key, value in content.items() if key not in ("timings", "seconds")}
    if path.name == "index.html":
        text = re.sub(r'"seconds":[\d.e-]+|[\d.]+ s\b', "", path.read_text())
        return re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.+]+", "", text)
    return path.read_bytes()


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, Callable[[], None]], None]]:
    """Ends a run after so many steps: `ending(7, end)`; 0: never. The state is saved at each step.

    `end()` is called after the step, before anything is saved of it.
    """
    step = Optimization.step
    left = [0]
    action: list[Callable[[], None]] = []

    def counted(optimization: Optimization) -> None:
        step(optimization)
        left[0] -= 1
        if left[0] == 0:
            action[0]()

    def end_after(steps: int, end: Callable[[], None]) -> None:
        left[0] = steps
        action[:] = [end]

    clock = iter(range(10**9))
    monkeypatch.setattr(batch_state.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(Optimization, "step", counted)
    yield end_after


def kill() -> None:
    raise Killed


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, int]]:
    """The folder of each case's undisturbed run, and how many steps it took."""
    made: dict[str, tuple[Path, int]] = {}

    def run(case: str) -> tuple[Path, int]:
        if case not in made:
            steps, step = [0], Optimization.step
            with pytest.MonkeyPatch.context() as patch:

                def counted(optimization: Optimization) -> None:
                    steps[0] += 1
                    step(optimization)

                patch.setattr(Optimization, "step", counted)
                folder = tmp_path_factory.mktemp(case) / "run"
                runner.run(config_of(*CASES[case]), folder)
            made[case] = folder, steps[0]
        return made[case]

    return run


@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_at_any_step_is_finished_to_the_same_bytes(
    case: str, whole: Any, ending: Any, tmp_path: Path
) -> None:
    undisturbed, steps = whole(case)
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        ending(max(2, round(0.4 * steps)), kill)
        runner.run(config_of(*CASES[case]), folder)
    with pytest.raises(Killed):
        ending(max(2, round(0.3 * steps)), kill)
        runner.resume(folder)
    ending(0, kill)
    assert runner.resume(folder)
    assert tree(folder) == tree(undisturbed)
    assert not (folder / ".state").exists()


@pytest.mark.parametrize("after", [7, 2 * 5 + 3], ids=["alone", "together"])
def test_interactions_that_are_killed_are_finished_to_the_same_bytes(
    after: int, ending: Any, tmp_path: Path
) -> None:
    asked = config_of(
        *("target.layer=layer3", "target.units=0:3", "engine.steps=5", "engine.batch_size=2"),
        *("grounding.images=zoo:glyphs", f"grounding.cache={tmp_path / 'cache'}"),
        *("engine.canvas=full", "method.rescue=false"),
    )

    def made(folder: Path) -> None:
        files.write(carry_out(asked, folder), folder)

    made(tmp_path / "undisturbed" / "study")
    folder = tmp_path / "killed" / "study"
    with pytest.raises(Killed):
        ending(after, kill)
        made(folder)
    assert not (folder / files.PAIRS).exists(), "no half of a study"
    assert (folder / "together").exists() is (after > 2 * 5), "where it was killed"
    ending(0, kill)
    made(folder)
    assert tree(folder) == tree(tmp_path / "undisturbed" / "study")


@pytest.mark.parametrize("case", ["activation_maximization", "factored"])
def test_resuming_makes_only_the_steps_that_are_left(
    case: str, whole: Any, ending: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, steps = whole(case)
    folder = tmp_path / "run"
    ending(steps - 3, kill)
    with pytest.raises(Killed):
        runner.run(config_of(*CASES[case]), folder)
    made: list[int] = []
    step = Optimization.step
    monkeypatch.setattr(
        Optimization, "step", lambda optimization: (made.append(1), step(optimization))[1]
    )
    runner.resume(folder)
    assert len(made) == 4  # the three that were left, and the one that was not yet saved


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_after_the_step(
    whole: Any, ending: Any, tmp_path: Path, number: signal.Signals
) -> None:
    undisturbed, _ = whole("activation_maximization")
    folder = tmp_path / "run"
    config = config_of(*CASES["activation_maximization"], "engine.checkpoint_every=0")
    ending(13, lambda: os.kill(os.getpid(), number))
    before = signal.signal(number, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(InterruptedRunError) as caught:
            runner.run(config, folder)
    finally:
        signal.signal(number, before)
    assert caught.value.directory == folder
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["process"], record["batches"]) == ("interrupted", None, [2])
    assert "interrupted" in (folder / "index.html").read_text()
    state = torch.load(folder / ".state" / "batch.pt", weights_only=True)
    assert state["stages"]["optimal"]["done"] == 13 - 9
    ending(0, kill)
    runner.resume(folder)
    pictures = {name: data for name, data in tree(folder).items() if name.endswith(".png")}
    assert pictures == {n: data for n, data in tree(undisturbed).items() if n.endswith(".png")}


def test_finished_units_are_found_on_disk_and_left_as_they_are(
    whole: Any, ending: Any, tmp_path: Path
) -> None:
    undisturbed, steps = whole("activation_maximization")
    folder = tmp_path / "run"
    ending(steps - 1, kill)
    with pytest.raises(Killed):
        runner.run(config_of(*CASES["activation_maximization"]), folder)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"units": ["logits-00002"]}))
    kept, damaged = folder / "units" / "logits-00000", folder / "units" / "logits-00001"
    (damaged / "image.png").unlink()
    before = (kept / "metadata.json").stat().st_mtime_ns
    ending(0, kill)
    runner.resume(folder)
    assert (kept / "metadata.json").stat().st_mtime_ns == before
    assert tree(folder) == tree(undisturbed)


@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_a_picture_that_was_cut_off_is_made_again(whole: Any, tmp_path: Path, left: int) -> None:
    undisturbed, _ = whole("activation_maximization")
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    cut = folder / "units" / "logits-00001" / "image.png"
    cut.write_bytes(cut.read_bytes()[:left])
    runner.resume(folder)
    assert tree(folder) == tree(undisturbed)


def test_a_batch_that_memory_halved_keeps_its_pictures(
    ending: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory() -> None:
        raise torch.OutOfMemoryError("out of memory")

    settings = ("target.units=0:5", "engine.steps=6", "engine.batch_size=4")
    config = config_of(*settings)
    ending(3, out_of_memory)
    runner.run(config, tmp_path / "whole" / "run")
    folder = tmp_path / "killed" / "run"
    remaining = iter([(3, out_of_memory), (6 + 4, kill)])
    steps, first = next(remaining)

    def then() -> None:
        ending(*next(remaining))
        first()

    ending(steps, then)
    with pytest.raises(Killed):
        runner.run(config, folder)
    record = json.loads((folder / "run.json").read_text())
    assert (record["batches"], record["batch_size"]) == ([2], 2)
    ending(0, kill)
    runner.resume(folder)
    assert tree(folder) == tree(tmp_path / "whole" / "run")


def test_a_finished_batch_that_memory_halves_when_it_is_redone_is_recorded_so(
    ending: Any, tmp_path: Path
) -> None:
    def out_of_memory() -> None:
        raise torch.OutOfMemoryError("out of memory")

    folder = tmp_path / "run"
    ending(6 + 2, kill)
    with pytest.raises(Killed):
        settings = ("target.units=0:6", "engine.steps=6", "engine.batch_size=4")
        runner.run(config_of(*settings), folder)
    assert json.loads((folder / "run.json").read_text())["batches"] == [4]
    (folder / "units" / "logits-00001" / "image.png").unlink()
    ending(1, out_of_memory)
    runner.resume(folder)
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["batches"], record["batch_size"]) == ("done", [2, 2, 2], 2)
    assert len(record["units"]) == 6


def test_an_unreadable_state_costs_the_batch_and_nothing_else(
    whole: Any, ending: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed, steps = whole("activation_maximization")
    folder = tmp_path / "run"
    ending(steps - 1, kill)
    with pytest.raises(Killed):
        runner.run(config_of(*CASES["activation_maximization"]), folder)
    (folder / ".state" / "batch.pt").write_bytes(b"torn")
    ending(0, kill)
    runner.resume(folder)
    assert "not readable" in caplog.text
    assert tree(folder) == tree(undisturbed)


def interrupted(folder: Path, ending: Any, *settings: str, after: int = 4) -> Path:
    """A run that was killed after so many steps."""
    ending(after, kill)
    with pytest.raises(Killed):
        runner.run(config_of("target.units=0:2", "engine.steps=6", *settings), folder)
    ending(0, kill)
    return folder


@pytest.fixture
def factory(tmp_path: Path) -> list[str]:
    """A user's own network in a file, its weights in another."""
    code = (
        "import torch\nfrom torch import nn\n\n"
        "def build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n"
    )
    (tmp_path / "net.py").write_text(code)
    torch.manual_seed(0)
    torch.save({"0.weight": torch.randn(4, 3, 3, 3), "0.bias": torch.ones(4)}, tmp_path / "w.pth")
    return [
        *("model.source=factory", f"model.factory={tmp_path}/net.py:build"),
        *("model.input.height=16", "model.input.width=16", "target.layer='1'"),
        *(f"model.checkpoint={tmp_path}/w.pth",),
    ]


@pytest.mark.parametrize("changed", ["net.py", "w.pth", "config", "fvis"])
def test_what_has_changed_is_named_and_force_goes_on(
    changed: str, factory: list[str], ending: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupted(tmp_path / "run", ending, *factory)
    named = changed
    if changed == "net.py":
        with (tmp_path / "net.py").open("a") as file:
            file.write("# another comment\n")
    elif changed == "w.pth":
        weights = {"0.weight": torch.randn(4, 3, 3, 3), "0.bias": torch.ones(4)}
        torch.save(weights, tmp_path / "w.pth")
    elif changed == "config":
        record = json.loads((folder / "run.json").read_text())
        record["config"]["engine"]["lr"] = 0.5
        (folder / "run.json").write_text(json.dumps(record))
    else:
        record = json.loads((folder / "run.json").read_text())
        record["versions"]["fvis"] = "0.0.9"
        (folder / "run.json").write_text(json.dumps(record))
        named = "fvis (was 0.0.9"
    before = tree(folder)
    with pytest.raises(RequestError, match=re.escape(named)) as caught:
        runner.resume(folder)
    assert "--force" in str(caught.value) and "\n" not in str(caught.value)
    assert tree(folder) == before
    assert runner.resume(folder, force=True)
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "done"
    (forced,) = record["forced"]
    assert named in forced


def test_code_is_named_before_it_is_run_and_not_run_where_it_has_changed(
    factory: list[str], ending: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = interrupted(tmp_path / "run", ending, *factory)
    source, ran = tmp_path / "net.py", tmp_path / "ran"
    before = source.read_text()
    source.write_text(f"open({str(ran)!r}, 'w').close()\n{before}")
    with pytest.raises(RequestError, match=r"changed since: .*net\.py"):
        runner.resume(folder)
    assert not ran.exists()
    said = f"factory={source}:build is code that this run executes; its source, {source}, is"
    assert f"{said} not the one recorded" in caplog.text
    source.write_text(before)
    assert runner.resume(folder)
    assert f"{said} the one recorded" in caplog.text


ATTACK = ("method=adversarial", "method.images=zoo:glyphs")


@pytest.mark.parametrize(
    ("setting", "words"),
    [("method.transfer", ATTACK), ("method.models", ATTACK), ("target.ensemble", ())],
)
def test_the_code_of_another_network_is_named_too(
    setting: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    package = tmp_path / "strange"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "nets.py").write_text("")
    other = "{source: factory, factory: 'strange.nets:build'}"
    config = config_of(*words, f"{setting}=[{other}]")
    assert provenance.factories(config) == ["strange.nets:build"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        assert provenance.source_of("strange.nets:build") == str(package / "nets.py")
    assert provenance.source_of("strange.nets:build") is None


def test_a_photograph_that_has_changed_is_named(ending: Any, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    first, second, *_ = sorted(GLYPHS.glob("*.png"))
    photo.write_bytes(first.read_bytes())
    settings = ("method=adversarial", f"method.images={photo}", "method.target=[3,5]")
    folder = interrupted(tmp_path / "run", ending, *settings)
    photo.write_bytes(second.read_bytes())
    with pytest.raises(RequestError, match=r"photo\.png"):
        runner.resume(folder)


def test_a_fresh_run_replaces_neither_another_configs_run_nor_an_unfinished_one(
    ending: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    first = config_of("target.units=0:2", "engine.steps=2")
    other = config_of("target.units=[5]", "engine.steps=2")
    runner.run(first, folder)
    before = tree(folder)
    with pytest.raises(RequestError, match="finished run of another config"):
        runner.run(other, folder)
    assert tree(folder) == before
    runner.run(first, folder)
    assert tree(folder) == before
    runner.run(other, folder, force=True)
    assert [unit.name for unit in (folder / "units").iterdir()] == ["logits-00005"]
    unfinished = interrupted(tmp_path / "unfinished", ending)
    with pytest.raises(RequestError, match="fvis resume"):
        runner.run(config_of("target.units=0:2", "engine.steps=6"), unfinished)


def test_a_done_run_has_nothing_to_resume_but_its_index(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    runner.run(config_of("target.units=[5]", "engine.steps=2"), folder)
    before = tree(folder)
    (folder / ".fvis-tmp-killed.html").write_text("<html>")  # as a report leaves it that is killed
    assert not runner.resume(folder)
    assert tree(folder) == before
    (folder / "index.html").unlink()
    assert runner.resume(folder)
    assert tree(folder) == before


@pytest.mark.parametrize("status", ["done", "running"])
def test_nothing_is_left_of_a_process_that_was_killed_as_it_ended_the_run(
    status: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    runner.run(config_of("target.units=[5]", "engine.steps=2"), folder)
    before = tree(folder)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "status": status}))
    (folder / ".state").mkdir()
    for name in ("batch.pt", "lock"):
        (folder / ".state" / name).write_bytes(b"")
    assert runner.resume(folder) == (status == "running")
    assert tree(folder) == before


def test_a_done_run_whose_list_of_units_was_changed_is_put_right(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    runner.run(config_of("target.units=[5]", "engine.steps=2"), folder)
    before = json.loads((folder / "run.json").read_text())
    for units in ([], ["logits-00005", "nosuch"], None):
        (folder / "run.json").write_text(json.dumps({**before, "units": units}))
        assert runner.resume(folder)
        after = json.loads((folder / "run.json").read_text())
        assert (after["units"], after["status"]) == (["logits-00005"], "done")
        assert not runner.resume(folder)


def test_a_run_is_resumed_from_another_folder_and_in_another_environment(
    ending: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FVIS_WEIGHTS", "w.pth")
    relative = [word.replace(f"{tmp_path}/", "") for word in factory]
    relative[-1] = "model.checkpoint=${oc.env:FVIS_WEIGHTS}"
    folder = interrupted(tmp_path / "run", ending, *relative)
    monkeypatch.delenv("FVIS_WEIGHTS")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert runner.resume(Path("../run"))
    assert Path.cwd() == elsewhere
    assert json.loads((folder / "run.json").read_text())["status"] == "done"


def test_random_units_are_the_ones_that_were_drawn(ending: Any, tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "run", ending, "target.units=random:3")
    jobs = json.loads((folder / "run.json").read_text())["jobs"]
    runner.resume(folder)
    assert json.loads((folder / "run.json").read_text())["units"] == jobs
    assert len(jobs) == 3


# As a user does it: processes, signals, exit status.


def start(cwd: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [PROGRAM, *arguments], cwd=cwd, env={**os.environ, **QUIET},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(pattern: str, folder: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + TIMEOUT
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"{pattern} never came"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_process_is_told_from_a_running_one(forked_fvis: Call, tmp_path: Path) -> None:
    settings = ("target.units=0:3", "engine.steps=2000", "engine.batch_size=1")
    process = start(tmp_path, "run", *settings, "engine.checkpoint_every=1", "hydra.run.dir=out")
    wait_for("out/.state/batch.pt", tmp_path, process)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["status"], record["process"]["pid"]) == ("running", process.pid)
    refused = forked_fvis("resume", "out", cwd=tmp_path)
    assert refused.returncode == 2
    assert f"process {process.pid} on " in refused.stderr
    assert refused.stderr.count("\n") == 1
    process.kill()
    process.communicate()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "running"
    shown = forked_fvis("report", "out", cwd=tmp_path)
    assert shown.returncode == 0
    assert "interrupted" in (tmp_path / "out" / "index.html").read_text()


def test_a_sweep_is_resumed_from_its_own_list(forked_fvis: Call, tmp_path: Path) -> None:
    settings = (
        *("target.layer=layer1,layer2,nosuch,layer3", "target.units=0:2"),
        *("engine.steps=4", "hydra.sweep.dir=sweep/run"),
    )
    done = forked_fvis("run", "-m", *settings, cwd=tmp_path)
    assert done.returncode == 1, "a job failed among good ones"
    sweep = tmp_path / "sweep" / "run"
    before = tree(sweep)
    assert len(json.loads((sweep / "sweep.json").read_text())["jobs"]) == 4
    for file in (sweep / "1").rglob("*"):  # as if the sweep had ended in its second job
        if file.is_file() and file.name in ("metadata.json", "index.html"):
            file.unlink()
    for name in ("3/.hydra", "3/units"):
        for file in sorted((sweep / name).rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        (sweep / name).rmdir()
    for file in (sweep / "3").iterdir():
        file.unlink()
    (sweep / "3").rmdir()
    resumed = forked_fvis("resume", "sweep", cwd=tmp_path)
    assert resumed.returncode == 2, "its third job still names a layer that there is not"
    assert resumed.stdout.split() == ["sweep/run/1", "sweep/run/3"]
    assert "no layer 'nosuch'" in resumed.stderr
    assert tree(sweep) == before


def test_what_resume_cannot_do_is_said_in_one_line(forked_fvis: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = forked_fvis("run", "target.units=[1]", "engine.steps=1", "hydra.run.dir=o", cwd=tmp_path)
    assert ran.returncode == 0
    for words, status, said in (
        (("empty",), 2, "no run and no sweep"),
        (("absent",), 2, "no run and no sweep"),
        ((), 2, "usage: fvis resume"),
        (("o", "--hard"), 2, "usage: fvis resume"),
        (("o",), 0, "nothing to resume"),
    ):
        answer = forked_fvis("resume", *words, cwd=tmp_path)
        assert (answer.returncode, answer.stdout) == (status, "")
        assert said in answer.stderr and answer.stderr.count("\n") == 1
