"""What must be true of the solvers' comparison: errors, what is read, and what the table says."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fvis.methods.texture_motion import TextureMotion
from fvis.zoo import drifts, planted

from . import solvers
from .solvers import HEADS, PLANTED_UNITS, SWIPES, Finding, Row, Truth

METADATA = {
    "unit": 2,
    "class": "up",
    "motion": {"direction_deg": 85.0, "normal_velocity": [0.6, -0.8], "speed": 7.0},
    "activations": {"optimal": 1.0, "reconstruction": 0.9, "reversed": 0.3},
    "becomes": {"optimal": "up", "reconstruction": "up", "reversed": "down"},
}


def finding(truth: Truth, **found: Any) -> Finding:
    values = {"kept": 1.0, "reversed": 0.0, "direction_deg": 0.0, "speed": 1.0, "own": None}
    return Finding(unit=0, truth=truth, **{**values, **found})


def cells(*findings: Finding) -> dict[str, str]:
    row = Row("net", "tracking", findings, 2.0)
    return dict(zip(HEADS, row.cells(), strict=True))


def read(folder: Path, truth: Truth, **content: Any) -> Finding:
    path = folder / "metadata.json"
    path.write_text(json.dumps({**METADATA, **content}))
    return solvers.read(path, truth)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [(10, 350, 20), (350, 10, 20), (0, 180, 180), (90, 90, 0), (359.5, 0, 0.5), (-90, 270, 0)],
)
def test_angles_wrap_around(one: float, other: float, apart: float) -> None:
    assert solvers.degrees_apart(one, other) == pytest.approx(apart)


def test_errors_are_taken_from_what_is_known() -> None:
    moving = finding(Truth(350.0, 2.0), direction_deg=5.0, speed=1.5)
    assert moving.direction_error == pytest.approx(15)
    assert moving.speed_error == pytest.approx(0.25)
    unknown = finding(Truth())
    assert unknown.direction_error is None and unknown.speed_error is None
    still = finding(Truth(None, 0.0), speed=0.1)
    assert still.direction_error is None and still.speed_error is None and not still.lost


def test_direction_that_is_not_found_is_counted_as_lost() -> None:
    lost = finding(Truth(90.0), direction_deg=None)
    assert lost.lost and lost.direction_error is None
    shown = cells(lost, finding(Truth(90.0), direction_deg=88.0))
    assert (shown["direction error, mean"], shown["max"]) == ("2.0", "2.0 (1 lost)")


def test_reversal_is_judged_by_what_the_reconstruction_kept() -> None:
    assert finding(Truth(0.0), kept=0.9, reversed=0.4).falls_reversed
    assert not finding(Truth(0.0), kept=0.3, reversed=0.2).falls_reversed
    assert not finding(Truth(0.0), kept=math.nan, reversed=math.nan).falls_reversed


def test_metadata_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, Truth(90.0))
    assert (found.unit, found.kept, found.reversed, found.own) == (2, 0.9, 0.3, True)
    assert found.speed == pytest.approx(1.0)  # the normal velocity's, not the mean speed
    assert found.direction_error == pytest.approx(5)


def test_nulls_are_numbers_that_are_none(tmp_path: Path) -> None:
    found = read(tmp_path, Truth(), activations={"reconstruction": None, "reversed": None})
    assert math.isnan(found.kept) and math.isnan(found.reversed)


def test_own_class_goes_by_name_by_index_or_is_unknown(tmp_path: Path) -> None:
    by_index = {"class": None, "becomes": {"reconstruction": 2}}
    assert read(tmp_path, Truth(), **by_index).own is True
    assert read(tmp_path, Truth(), becomes={"reconstruction": "down"}).own is False
    assert read(tmp_path, Truth(), becomes=None).own is None


def test_row_shows_every_number() -> None:
    shown = cells(
        finding(Truth(0.0, 1.0), kept=0.9, reversed=0.2, direction_deg=4.0, speed=1.1, own=True),
        finding(Truth(90.0, 2.0), kept=0.5, reversed=0.4, direction_deg=88.0, speed=1.4, own=False),
        finding(Truth(None, 0.0), kept=1.0, reversed=1.0, direction_deg=None, speed=0.07, own=True),
    )
    assert shown == {
        "network": "net",
        "solver": "tracking",
        "units": "3",
        "kept, mean": "80 %",
        "least": "50 %",
        "direction error, mean": "3.0",
        "max": "4.0",
        "speed error": "20 %",
        "still units move": "0.07",
        "falls reversed": "1 of 2",
        "own class": "2 of 3",
        "CPU s a unit": "2.0",
    }


def test_unknown_numbers_leave_their_cells_empty() -> None:
    shown = cells(finding(Truth(), own=None))
    unknown = ["direction error, mean", "max", "speed error", "still units move", "own class"]
    assert [shown[head] for head in unknown] == [""] * len(unknown)
    assert shown["falls reversed"] == "1 of 1"


def test_table_has_a_line_per_row() -> None:
    row = Row("net", "joint", (finding(Truth(0.0)),), 1.0)
    lines = [line for line in solvers.markdown([row, row]).splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {len(HEADS) + 1}


def test_truths_are_those_of_the_networks() -> None:
    motion, drift = solvers.all_cases(None)
    energy = planted.answer_key().energy
    assert sorted(motion.truths) == sorted(PLANTED_UNITS)
    for unit, truth in motion.truths.items():
        assert truth.speed == energy[unit].speed
        assert truth.still or truth.direction_deg == energy[unit].direction_deg
    assert any(truth.still for truth in motion.truths.values())
    by_class = {drifts.CLASSES[unit]: truth for unit, truth in drift.truths.items()}
    assert by_class["up left"].direction_deg == 135 and by_class["still"].still
    assert len(by_class) == 9


def test_gestures_are_measured_where_their_network_is(tmp_path: Path) -> None:
    *_, gestures = solvers.all_cases(tmp_path)
    assert tuple(gestures.truths) == SWIPES
    assert f"model.factory={tmp_path}/models/shufflenet3d.py:build" in gestures.settings
    assert "model.input.mean=[0.4500973,0.4224918,0.390098]" in gestures.settings


def test_decompositions_are_timed_and_the_method_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def busy(self: object, number: int) -> torch.Tensor:
        return torch.rand(200, 200).matrix_power(50 * number)

    monkeypatch.setattr(TextureMotion, "_decompose", busy)
    with solvers.decomposition_timed() as spent:
        parts = TextureMotion._decompose(None, 2)  # type: ignore[arg-type,call-arg]
    assert parts.shape == (200, 200)
    assert len(spent) == 1 and spent[0] > 0
    assert TextureMotion._decompose is busy


@pytest.mark.slow
def test_one_solver_runs_on_one_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "FOLDER", tmp_path)
    case = solvers.all_cases(None)[0]
    one = solvers.Case(case.network, case.settings, {9: case.truths[9]})
    brief = ["engine.steps=2", "method.fit.frame_steps=1", "method.fit.refine_steps=1"]
    row = solvers.measure(one, "tracking", brief)
    (found,) = row.findings
    assert found.unit == 9 and math.isfinite(found.kept) and found.own is None
    assert row.cpu_seconds > 0
    assert (tmp_path / "planted_motion/tracking/run.json").exists()
