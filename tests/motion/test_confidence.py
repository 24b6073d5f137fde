"""The spread of several answers is that of those which explain the unit."""

import dataclasses
import math

import pytest

from fvis.motion.confidence import SHARPEST, circular_deviation_deg, confidence
from fvis.motion.measures import Motion
from fvis.record.motion import TuningRecord


def motion(speed: float = 1.0, curl: float = 0.0) -> Motion:
    return Motion((speed, 0.0), (speed, 0.0), speed, 10.0, 0.9, None, 0.1, curl)


def preferring(*directions: float | None) -> list[TuningRecord]:
    return [TuningRecord([1.0], [[]], 0.8, direction, 40.0) for direction in directions]


def test_answers_that_trail_do_not_count() -> None:
    motions, tunings = [motion(), motion(1.2), motion(5.0)], preferring(10.0, 20.0, 200.0)
    found = confidence(motions, tunings, [1.0, 0.95, 0.5], best=0)
    assert (found["finalists"], found["searches"]) == (2, 3)
    assert found["direction_deg"] == pytest.approx(5, abs=0.1)
    assert found["speed"] == pytest.approx(0.1 / 1.1)
    assert (found["kept_least"], found["kept_most"]) == (0.95, 1.0)
    assert found["coherence"] == 0.9
    assert confidence(motions, tunings, [1.0, 0.95, 0.92], best=0)["direction_deg"] > 60


def test_a_search_that_stopped_on_the_way_can_confirm_but_not_contradict() -> None:
    motions, shares = [motion()] * 3, [1.0, 0.6, 0.4]
    for second, third, agreeing in ((25.0, 10.0, 1), (100.0, 10.0, 0), (None, 10.0, 0)):
        found = confidence(motions, preferring(10.0, second, third), shares, best=0)
        assert (found["finalists"], found["agreeing"]) == (1, agreeing)
        assert found["direction_deg"] == SHARPEST


def test_a_direction_is_as_unsure_as_drifts_of_its_texture_are_apart_from_it() -> None:
    found = confidence([motion()] * 2, preferring(4.0, 4.0), [1.0, 1.0], best=0)
    assert found["direction_deg"] == pytest.approx(6)


def test_a_curve_that_hardly_prefers_a_direction_counts_as_any() -> None:
    weak = dataclasses.replace(preferring(10.0)[0], direction_index=0.2)
    found = confidence([motion()] * 2, [*preferring(10.0), weak], [1.0, 1.0], best=0)
    assert found["direction_deg"] > 60 and found["agreeing"] == 0


def test_curl_and_divergence_have_their_own_spread() -> None:
    found = confidence([motion(curl=0.1), motion(curl=0.3)], preferring(0.0, 0.0), [1.0, 1.0], 0)
    assert found["curl"] == pytest.approx(0.1)
    assert found["divergence"] == 0


def test_an_answer_without_direction_makes_the_others_less_sure() -> None:
    assert circular_deviation_deg([0.0, 0.0]) == 0
    assert circular_deviation_deg([0.0, None]) == pytest.approx(
        math.degrees(math.sqrt(-2 * math.log(0.5)))
    )
    assert circular_deviation_deg([None, None]) == 180


def test_no_number_counts_for_the_best_alone() -> None:
    found = confidence([motion(), motion()], preferring(0.0, 90.0), [math.nan, math.nan], 0)
    assert found["finalists"] == 1


def test_a_search_that_a_grating_has_helped_is_confirmed_by_what_it_was_before() -> None:
    motions, tunings = [motion()] * 2, preferring(10.0, 10.0)
    assert confidence(motions, tunings, [1.0, 0.4], 0)["agreeing"] == 0
    assert confidence(motions, tunings, [1.0, 0.4], 0, 0.7)["agreeing"] == 1


def test_a_single_answer_has_no_spread() -> None:
    found = confidence([motion()] * 2, preferring(0.0, 0.0), [1.0, 0.1], 0)
    assert found["finalists"] == 1
    assert all(math.isnan(found[name]) for name in ("speed", "divergence", "curl"))
