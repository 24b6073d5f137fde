"""What must be true of the benchmark itself: no cell is lost, and its numbers read back."""

import json
import math
from pathlib import Path

import pytest
import torch

from .cases import BARE, BATCHES, LAYERS, TOOLS, Case, Measurement, all_cases
from .clock import StepClock, Steps, TimeUp
from .driver import Plan, Report, measure, ratio
from .table import markdown

CASES = (Case("resnet10t", "layer1", 2), Case("resnet10t", "no.such.layer", 1))


@pytest.fixture(scope="module")
def report() -> Report:
    return measure(plan(("fvis",), CASES))


def plan(tools: tuple[str, ...], cases: tuple[Case, ...], peers: str = "/no/python") -> Plan:
    return Plan(tools, cases, "cpu", seconds=0.01, threads=1, peers=Path(peers))


@pytest.mark.slow
def test_fvis_and_its_bare_limit_are_measured_in_turns(report: Report) -> None:
    ours, bare = (report.find(tool, CASES[0]) for tool in ("fvis", BARE))
    assert ours is not None and bare is not None
    assert ours.steps == bare.steps >= 2
    overhead = ratio(report, CASES[0])
    assert overhead is not None and math.isfinite(overhead) and overhead > 0
    assert ours.memory is not None and ours.memory > 0


def test_a_case_that_fails_says_why_and_costs_no_other(report: Report) -> None:
    failed = report.find("fvis", CASES[1])
    assert failed is not None and failed.rate is None
    assert "no.such.layer" in failed.note
    assert ratio(report, CASES[1]) is None


def test_report_reads_back_from_json(report: Report) -> None:
    again = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert again == report


def test_table_has_every_cell_and_every_note(report: Report) -> None:
    text = markdown(report, CASES, ("fvis",))
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [row[1:3] for row in rows[2:]] == [["layer1", "2"], ["no.such.layer", "1"]]
    assert all(len(row) == len(rows[0]) for row in rows)
    assert all(cell.strip("| ") for cell in rows[2])
    failed = report.find("fvis", CASES[1])
    assert failed is not None and f"1. {failed.note}" in text


def test_dead_worker_leaves_a_note_for_each_case(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 9\n")
    python.chmod(0o755)
    found = measure(plan(("lucent",), CASES, str(python)))
    assert [m.case for m in found.measurements] == list(CASES)
    assert all(m.note == "the process ended with status 9" for m in found.measurements)


def test_tool_that_is_not_installed_says_so() -> None:
    absent = measure(plan(("horama",), CASES))
    assert [m.note for m in absent.measurements] == ["not measured: there is no /no/python"] * 2


def test_every_layer_is_measured_at_every_batch_size() -> None:
    assert len(set(all_cases())) == len(BATCHES) * sum(map(len, LAYERS.values()))


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
