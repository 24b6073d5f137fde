"""The spread of several answers is that of those which explain the unit."""

import math

import pytest

from fvis.motion.confidence import circular_deviation_deg, confidence
from fvis.motion.measures import Motion


def motion(direction: float | None, speed: float = 1.0, curl: float = 0.0) -> Motion:
    return Motion((speed, 0.0), (speed, 0.0), speed, direction, 0.9, None, 0.1, curl)


def test_answers_that_trail_do_not_count() -> None:
    motions = [motion(10.0), motion(20.0, 1.2), motion(200.0, 5.0)]
    found = confidence(motions, [1.0, 0.95, 0.5], best=0)
    assert (found["finalists"], found["searches"]) == (2, 3)
    assert found["direction_deg"] == pytest.approx(5, abs=0.1)
    assert found["speed"] == pytest.approx(0.1 / 1.1)
    assert (found["kept_least"], found["kept_most"]) == (0.95, 1.0)
    assert found["coherence"] == 0.9
    assert confidence(motions, [1.0, 0.95, 0.92], best=0)["direction_deg"] > 60


def test_curl_and_divergence_have_their_own_spread() -> None:
    found = confidence([motion(0.0, curl=0.1), motion(0.0, curl=0.3)], [1.0, 1.0], 0)
    assert found["curl"] == pytest.approx(0.1)
    assert found["divergence"] == 0


def test_an_answer_without_direction_makes_the_others_less_sure() -> None:
    assert circular_deviation_deg([0.0, 0.0]) == 0
    assert circular_deviation_deg([0.0, None]) == pytest.approx(
        math.degrees(math.sqrt(-2 * math.log(0.5)))
    )
    assert circular_deviation_deg([None, None]) == 180


def test_no_number_counts_for_the_best_alone() -> None:
    found = confidence([motion(0.0), motion(90.0)], [math.nan, math.nan], 0)
    assert found["finalists"] == 1
