"""What must be true of the benchmark itself: no cell is lost, and its numbers read back."""

import json
import math
from pathlib import Path

import pytest
import torch

from .cases import (
    BARE,
    BATCHES,
    FULL,
    FVIS,
    LAYERS,
    PLACED,
    PLAIN,
    TOOLS,
    Case,
    Measurement,
    all_cases,
    is_compared,
)
from .clock import StepClock, Steps, TimeUp
from .driver import Plan, Report, measure
from .table import markdown
from .tools.fvis import LEAST, MOST, in_turns

CASES = (Case("resnet10t", "layer1", 2, "center"), Case("resnet10t", "no.such.layer", 1))
COMPARED = tuple(case for case in all_cases() if is_compared(case))[:2]


@pytest.fixture(scope="module")
def report() -> Report:
    return measure(plan(("fvis",), CASES))


def plan(tools: tuple[str, ...], cases: tuple[Case, ...], peers: str = "/no/python") -> Plan:
    return Plan(tools, cases, "cpu", seconds=0.01, threads=1, peers=Path(peers))


@pytest.mark.slow
def test_all_ways_of_fvis_and_its_bare_limit_are_measured_in_turns(report: Report) -> None:
    found = [report.find(way, CASES[0]) for way in (FVIS, FULL, PLAIN, BARE)]
    assert all(one is not None and one.steps == LEAST and one.memory for one in found)
    sides = [one and one.side for one in found]
    assert sides[0] is not None and sides[0] < 100 and not any(sides[1:])
    overhead = report.ratio(FVIS, BARE, CASES[0])
    assert overhead is not None and math.isfinite(overhead) and overhead > 0


def test_steps_are_made_in_turns_until_the_time_is_up() -> None:
    made: list[str] = []
    steps = {name: lambda name=name: made.append(name) for name in "ab"}  # type: ignore[misc]
    found = in_turns(steps, torch.device("cpu"), 0.0)
    assert made == ["a", "b"] * (2 + LEAST), "one more turn for the memory"
    assert {taken.count for taken, _ in found.values()} == {LEAST}
    made.clear()
    in_turns(steps, torch.device("cpu"), 1e9)
    assert len(made) == 2 * (2 + MOST)


def test_a_case_that_fails_says_why_and_costs_no_other(report: Report) -> None:
    failed = report.find("fvis", CASES[1])
    assert failed is not None and failed.rate is None
    assert "no.such.layer" in failed.note
    assert report.ratio(FVIS, BARE, CASES[1]) is None


def test_report_reads_back_from_json(report: Report) -> None:
    again = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert again == report


def test_table_has_every_cell_and_every_note(report: Report) -> None:
    text = markdown(report, CASES)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [row[1:4] for row in rows[2:]] == [
        ["layer1", "center", "2"],
        ["no.such.layer", "mean", "1"],
    ]
    assert all(len(row) == len(rows[0]) for row in rows)
    assert all(cell.strip("| ") for cell in rows[2])
    failed = report.find("fvis", CASES[1])
    assert failed is not None and f"1. {failed.note}" in text


def test_dead_worker_leaves_a_note_for_each_case(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 9\n")
    python.chmod(0o755)
    found = measure(plan(("lucent",), COMPARED, str(python)))
    assert [m.case for m in found.measurements] == list(COMPARED)
    assert all(m.note == "the process ended with status 9" for m in found.measurements)


def test_tool_that_is_not_installed_says_so() -> None:
    absent = measure(plan(("horama",), (*COMPARED, *CASES)))
    assert [m.case for m in absent.measurements] == list(COMPARED), "peers read no central position"
    assert [m.note for m in absent.measurements] == ["not measured: there is no /no/python"] * 2


def test_every_layer_is_measured_and_one_by_batch_size() -> None:
    cases = all_cases()
    assert len(set(cases)) == len(cases)
    assert {(c.network, c.layer) for c in cases} >= {
        (n, path) for n in LAYERS for path in LAYERS[n]
    }
    assert {c.network for c in cases if c.position == "center"} == set(PLACED)
    assert {c.batch for c in cases if c.layer == "layer3"} == set(BATCHES)


def test_each_tool_has_a_module() -> None:
    modules = {path.stem for path in (Path(__file__).parent / "tools").glob("*.py")}
    assert set(TOOLS) <= modules


def test_clock_leaves_out_the_warm_up_and_stops_the_loop() -> None:
    clock = StepClock(0.0, torch.device("cpu"))
    clock.tick()
    clock.tick()
    assert clock.steps.count == 0
    with pytest.raises(TimeUp):
        clock.tick()
    assert clock.steps.count == 1


def test_median_is_of_the_counted_steps() -> None:
    steps = Steps()
    with pytest.raises(ValueError, match="no step"):
        _ = steps.median
    for seconds in (100.0, 1.0, 3.0, 2.0):
        steps.add(seconds)
    assert (steps.count, steps.median, steps.total) == (3, 2.0, 6.0)


def test_rate_is_rows_per_second() -> None:
    assert Measurement("fvis", Case("resnet50", "layer1", 8), seconds=2.0).rate == 4.0
