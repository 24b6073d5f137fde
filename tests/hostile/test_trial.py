"""No hostile case of a sample is a fault, and the judge calls faults what are faults."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hostile.case import OUT, RESUME, Draft
from tests.hostile.cases import KINDS, case, cases
from tests.hostile.child import Call, Ran, Runner
from tests.hostile.judge import (
    DONE,
    ESCAPED,
    FAILED,
    FAULT,
    REFUSED,
    Traces,
    judge,
    last_line,
    listing,
    look,
)
from tests.hostile.kinds.run_folders import PLANTED
from tests.hostile.trial import faults, printable, run_cases, table

SAMPLE, SEED = 40, 20261126
RUNS = Draft(("run",), "a run")
USERS = replace(RUNS, blames_user=False, chatty=True)
LINE = "fvis: error: no such thing\n"


@pytest.mark.slow
def test_a_sample_of_all_kinds_has_no_fault() -> None:
    results = run_cases(cases(list(KINDS), SAMPLE, SEED), lambda result: None)
    assert {result.case.kind for result in results} == set(KINDS)
    assert not faults(results), table(results) + faults(results)


@pytest.mark.parametrize("kind", KINDS)
def test_a_case_depends_on_its_seed_and_number_alone(kind: str) -> None:
    one, other = case(kind, 3, seed=5), case(kind, 3, seed=5)
    assert (one.draft.arguments, one.draft.what) == (other.draft.arguments, other.draft.what)
    drawn = {case(kind, number, seed=5).draft.what for number in range(20)}
    assert len(drawn) > 5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "run_folders"])
def test_a_case_plants_the_same_files_again(kind: str, tmp_path: Path) -> None:
    planted = []
    for attempt in ("one", "two"):
        folder = tmp_path / attempt / "cwd"
        folder.mkdir(parents=True)
        case(kind, 7, seed=1).draft.plant(folder)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        planted.append({str(p.relative_to(folder)): p.read_bytes() for p in files})
    assert planted[0] == planted[1]


# --- the judge


@pytest.mark.parametrize(
    ("draft", "ran", "traces", "label"),
    [
        (RUNS, Ran(0, "out\n"), Traces(whole=True), DONE),
        (RUNS, Ran(0, "out\n", "  0%|  | 0/4\r100%|##| 4/4\n"), Traces(whole=True), DONE),
        (RUNS, Ran(2, "", LINE), Traces(), REFUSED),
        (USERS, Ran(2, "", "the network's own\n" + LINE), Traces(), REFUSED),
        (RUNS, Ran(2, "", "fvis: left out: a.png\n" + LINE), Traces(), REFUSED),
        (USERS, Ran(1, "", "  0%|  | 0/4\r 10%|#\n" + LINE), Traces(left=("out",)), FAILED),
        (USERS, Ran(1, "", "fvis: interrupted; to go on: fvis resume out\n"), Traces(), FAILED),
        (replace(USERS, several=True), Ran(1, "", LINE + LINE), Traces(), FAILED),
    ],
)
def test_what_may_happen_is_no_fault(draft: Draft, ran: Ran, traces: Traces, label: str) -> None:
    verdict = judge(draft, ran, traces)
    assert (verdict.label, verdict.reason) == (label, "")


@pytest.mark.parametrize(
    ("draft", "ran", "traces", "reason"),
    [
        (RUNS, Ran(0), Traces(), "silent success"),
        (RUNS, Ran(0, "out\n", LINE), Traces(whole=True), "success with an error line"),
        (RUNS, Ran(None), Traces(), "hang"),
        (RUNS, Ran(-11), Traces(), "killed by SIGSEGV"),
        (RUNS, Ran(3, "", LINE), Traces(), "exit status 3"),
        (RUNS, Ran(0, "out\n", peak=3_100_000_000), Traces(whole=True), "memory: 3.1 GB"),
        (RUNS, Ran(0, "out\n"), Traces(whole=True, code_ran=True), "code ran"),
        (RUNS, Ran(0, "out\n"), Traces(whole=True, torn=("x lacks files",)), "torn: x lacks files"),
        (USERS, Ran(1, "", "Traceback (most recent call last):\n" + LINE), Traces(), "traceback"),
        (RUNS, Ran(2, "", "a warning\n" + LINE), Traces(), "several lines"),
        (USERS, Ran(1, "", LINE + LINE), Traces(), "several lines"),
        (USERS, Ran(1, "", ""), Traces(), "no final line"),
        (USERS, Ran(1, "", LINE + "and more\n"), Traces(), "no final line"),
        (USERS, Ran(1, "", LINE.rstrip("\n")), Traces(), "no final line"),
        (RUNS, Ran(1, "", LINE), Traces(), "status 1"),
        (RUNS, Ran(2, "", LINE), Traces(left=("cwd/out",)), "left behind: cwd/out"),
        (USERS, Ran(2, "", LINE), Traces(outside=("up",)), "wrote outside: up"),
    ],
)
def test_what_must_not_happen_is_a_fault(
    draft: Draft, ran: Ran, traces: Traces, reason: str
) -> None:
    verdict = judge(draft, ran, traces)
    assert (verdict.label, verdict.reason) == (FAULT, reason)


def test_the_last_line_is_what_a_terminal_shows() -> None:
    assert last_line(Ran(1, "", "first\n 10%|# |\r 20%|##|\rfvis: error: x\n")) == "fvis: error: x"


# --- what is left on disk


def write_run(folder: Path, status: str, unit_files: tuple[str, ...] = ("image.png",)) -> None:
    unit = folder / "units" / "logits-00000"
    unit.mkdir(parents=True)
    (unit / "metadata.json").write_text(json.dumps({"files": ["image.png"]}))
    for name in unit_files:
        (unit / name).write_bytes(b"x")
    record = {"status": status, "units": ["logits-00000"]}
    (folder / "run.json").write_text(json.dumps(record))


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    assert not any(path.exists() for path in ESCAPED)
    folder = tmp_path / "trial" / "cwd"
    folder.mkdir(parents=True)
    return folder


def test_a_run_that_is_done_is_whole(cwd: Path) -> None:
    before = listing(cwd.parent)
    write_run(cwd / OUT, "done")
    traces = look(RUNS, Ran(0, "out\n"), cwd, before)
    assert (traces.whole, traces.torn, traces.code_ran) == (True, (), False)
    assert "cwd/out/run.json" in traces.left


def test_a_run_that_is_running_or_elsewhere_is_not_whole(cwd: Path) -> None:
    before = listing(cwd.parent)
    write_run(cwd / OUT, "running")
    assert not look(RUNS, Ran(0, "out\n"), cwd, before).whole
    assert not look(RUNS, Ran(0, ""), cwd, before).whole
    assert not look(RUNS, Ran(0, "elsewhere\n"), cwd, before).whole


def test_all_runs_of_a_sweep_are_whole_also_where_a_name_has_a_line_end(cwd: Path) -> None:
    before = listing(cwd.parent)
    write_run(cwd / "a\nb" / "0", "done")
    assert look(RUNS, Ran(0, "a\nb/0\n"), cwd, before).whole
    assert not look(RUNS, Ran(0, "a\nb/0\na\nb/1\n"), cwd, before).whole
    write_run(cwd / "a\nb" / "1", "done")
    assert look(RUNS, Ran(0, "a\nb/0\na\nb/1\n"), cwd, before).whole


def test_a_unit_without_its_files_is_torn(cwd: Path) -> None:
    before = listing(cwd.parent)
    write_run(cwd / OUT, "interrupted", unit_files=())
    (cwd / OUT / "units" / "logits-00001").mkdir()
    (cwd / "elsewhere" / "units" / "no-unit").mkdir(parents=True)
    (cwd / OUT / "units" / ".unfinished").mkdir()
    torn = look(RUNS, Ran(1), cwd, before).torn
    assert len(torn) == 2
    assert "logits-00000 lacks files" in torn[0]
    assert "logits-00001 has no metadata.json" in torn[1]


def test_a_file_outside_of_the_folder_given_is_told(cwd: Path) -> None:
    draft = Draft(("resume", PLANTED), "", leaves=RESUME)
    before = listing(cwd.parent)
    write_run(cwd / PLANTED, "done")
    (cwd.parent / "escaped").write_text("")
    traces = look(draft, Ran(0), cwd, before)
    assert (traces.outside, traces.whole) == (("escaped",), True)


def test_the_canary_is_seen(cwd: Path) -> None:
    (cwd.parent / "canary").touch()
    assert look(RUNS, Ran(2, "", LINE), cwd, frozenset()).code_ran


# --- the process


@pytest.mark.slow
def test_a_command_runs_in_a_process_of_its_own(cwd: Path) -> None:
    """Its status, streams and memory come back, and a limit on files is its own."""
    runner = Runner()
    ran = runner(Call(("run", "target.units=99"), cwd, {"HOME": str(cwd.parent)}))
    assert (ran.status, ran.stdout) == (2, "")
    assert ran.stderr.startswith("fvis: error: ")
    assert 10_000_000 < ran.peak < 3_000_000_000
    assert not list(cwd.iterdir())
    words = ("run", "target.units=[0]", "engine.steps=1", f"hydra.run.dir={OUT}")
    ran = runner(Call(words, cwd, {"HOME": str(cwd.parent)}, file_size=100))
    assert ran.status == 1
    (cwd / "large").write_bytes(bytes(1000))


def test_any_text_is_one_printable_line() -> None:
    shown = printable("a\nb\x1b[31m\udcff" + "x" * 10_000)
    assert shown.isprintable()
    assert len(shown) < 500
    shown.encode(sys.getdefaultencoding())
