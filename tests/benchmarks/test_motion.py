"""What must be true of texture_motion's timing: what takes turns, what counts, what is shown."""

import dataclasses
import json
from collections.abc import Sequence

import pytest
import torch

from fvis.motion.decomposition import Descent
from fvis.schema import FitConfig

from . import motion
from .cases import Case
from .motion import ALONE, BARE_LIMIT, CUT, ONE_BY_ONE, Comparison, Gaps

CPU = torch.device("cpu")
CASE = Case("drift_r3d", "layer3", 8)


def test_ratio_is_of_what_is_measured_to_what_stands_beside_it() -> None:
    comparison = Comparison(CASE, "tracking", ONE_BY_ONE, seconds=3.0, beside_seconds=4.0, turns=2)
    assert comparison.ratio == 0.75
    assert json.loads(json.dumps(comparison.to_json()))["ratio"] == 0.75


def test_table_has_a_line_per_comparison() -> None:
    comparisons = [
        Comparison(CASE, "free clip", BARE_LIMIT, 12.34, 10.0, 5),
        Comparison(CASE, "factored", ONE_BY_ONE, 1.0, 2.0, 2),
    ]
    text = motion.markdown(comparisons, {"device": "a CPU", "torch": "2"})
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert "- device a CPU, torch 2" in text
    assert lines[2] == ("| drift_r3d | layer3 | 8 | free clip | 12.3 | bare limit | 10 | 1.234 |")
    assert lines[3].endswith("| factored | 1 | one by one | 2 | 0.500 |")
    assert len({line.count("|") for line in lines}) == 1


def test_all_rows_take_turns_with_single_ones() -> None:
    asked: list[list[int]] = []

    def solve(rows: Sequence[int]) -> list[float]:
        asked.append(list(rows))
        return [10.0 * len(rows) + len(asked)]

    together, alone, turns = motion.in_turns(solve, 3, seconds=0)
    assert (ALONE, turns) == (2, 2)
    assert asked == [[0, 1, 2], [0], [1], [0, 1, 2], [2], [0]]
    assert together == (31 + 34) / 2
    assert alone == 14  # the median of 12, 13, 15 and 16


def test_turns_are_taken_until_the_time_is_up() -> None:
    *_, turns = motion.in_turns(lambda rows: [1.0], 3, seconds=10)
    assert turns == 4


def test_first_step_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([5.0, 7.0, 10.0])
    monkeypatch.setattr(motion, "synchronised_time", lambda device: next(clock))
    gaps = Gaps(CPU)
    for _ in range(3):
        gaps.on_step(Descent(lambda: torch.zeros(1), [torch.zeros(1)], 1.0, 3))
    assert gaps.seconds == [2.0, 3.0]


def test_shortened_fit_is_an_exact_share_of_the_default_one() -> None:
    fit, short = FitConfig(), motion.shortened(FitConfig())
    assert (CUT * short.frame_steps, CUT * short.refine_steps) == (
        fit.frame_steps,
        fit.refine_steps,
    )
    with pytest.raises(ValueError, match="101"):
        motion.shortened(dataclasses.replace(fit, frame_steps=101))


def test_plan_has_every_network_and_batch_and_is_shorter_when_quick() -> None:
    whole = motion.plan((1, 8), quick=False)
    assert [case for case in whole if case.position == "mean"] == whole[: 2 * len(motion.MODELS)]
    assert [case.layer for case in whole[2 * len(motion.MODELS) :]] == [*motion.EARLY]
    quick = motion.plan((1, 8), quick=True)
    assert [(case.network, case.batch) for case in quick] == [
        ("drift_r3d", 1),
        ("drift_r3d", 8),
        ("r3d_18", 1),
    ]


@pytest.mark.slow
def test_stages_of_a_batch_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "CUT", FitConfig().frame_steps)
    monkeypatch.setattr(motion, "LEAST", 1)
    case = dataclasses.replace(CASE, batch=2)
    comparisons = list(motion.measure(case, CPU, seconds=0.01))
    assert [(c.stage, c.beside) for c in comparisons] == [
        ("free clip", BARE_LIMIT),
        ("tracking", ONE_BY_ONE),
        ("factored", ONE_BY_ONE),
    ]
    assert all(c.seconds > 0 and c.beside_seconds > 0 for c in comparisons)
    assert comparisons[0].ratio > 0.3  # the ascent's step holds a whole bare one


@pytest.mark.slow
def test_a_canvas_is_compared_with_the_whole_input() -> None:
    case = Case("drift_r3d", "stem", 1, "center")
    (comparison,) = motion.measure(case, CPU, seconds=0.01)
    assert (comparison.stage, comparison.beside) == ("canvas of 32 px", motion.WHOLE)
    assert comparison.seconds > 0
    assert comparison.beside_seconds > 0
