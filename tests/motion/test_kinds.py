"""No direction is told of a unit that no motion explains, that needs none, or accepts any."""

import math
from dataclasses import replace

import pytest

from fvis.motion.kinds import (
    APPEARS,
    FLICKER,
    MOVING,
    STILL,
    UNEXPLAINED,
    doubt,
    kind_of,
)
from fvis.record.motion import TuningRecord


@pytest.mark.parametrize(
    ("kept", "static", "flicker", "appears", "kind"),
    [
        (1.0, 0.1, 0.5, 0.2, MOVING),
        (0.5, -0.3, 0.4, 0.3, MOVING),
        (1.0, 0.95, 0.2, 0.2, STILL),
        (1.2, 1.4, 0.2, 0.2, STILL),
        (1.0, math.nan, 0.2, 0.2, STILL),
        (1.0, 0.1, 0.95, 0.2, FLICKER),
        (0.6, 0.1, 0.58, 0.57, FLICKER),
        (0.53, 0.1, 0.49, 0.1, MOVING),  # what changes in place keeps less than half, too
        (0.7, 0.1, 0.8, 1.4, APPEARS),
        (0.06, 0.0, 0.0, 0.0, UNEXPLAINED),
        (0.4, 0.0, 1.0, 0.0, FLICKER),
        (0.4, 0.4, 0.5, 0.0, UNEXPLAINED),
        (-0.2, 0.3, 0.0, 0.0, UNEXPLAINED),
        (math.nan, math.nan, math.nan, math.nan, UNEXPLAINED),
    ],
)
def test_the_controls_decide(
    kept: float, static: float, flicker: float, appears: float, kind: str
) -> None:
    names = ("reconstruction", "static", "flicker", "appears")
    assert kind_of(dict(zip(names, (kept, static, flicker, appears), strict=True))) == kind


@pytest.mark.parametrize(("held", "kind"), [(0.2, FLICKER), (0.8, FLICKER), (1.0, STILL)])
def test_what_stands_needs_no_change_in_place_though_no_moving_texture_was_found(
    held: float, kind: str
) -> None:
    shares = {"reconstruction": 0.0, "static": 0.0, "flicker": 1.01, "appears": 0.3}
    assert kind_of(shares | {"held": held}) == kind


CURVE = TuningRecord([1.0], [[]], 0.8, 350.0, 40.0)
SURE = {"direction_deg": 5.0, "agreeing": 1, "searches": 3}


def test_a_direction_needs_finalists_and_a_tuning_curve_that_agree() -> None:
    assert doubt(10.0, SURE, CURVE) is None
    assert doubt(None, SURE, CURVE) == "not all of it moves one way"
    for preferred in (190.0, 100.0):
        turned = replace(CURVE, preferred_deg=preferred)
        assert doubt(10.0, SURE, turned) == "drifts prefer another direction"
    for index in (0.1, math.nan, None):
        flat = replace(CURVE, direction_index=index)
        assert doubt(10.0, SURE, flat) == "other directions excite as much"
    assert doubt(10.0, SURE, replace(CURVE, preferred_deg=None)) is not None
    wide = SURE | {"direction_deg": 60.0}
    assert doubt(10.0, wide, CURVE) == "searches disagree on the direction"


def test_what_one_search_of_several_found_is_not_told() -> None:
    alone = SURE | {"agreeing": 0}
    assert doubt(10.0, alone, CURVE) == "searches disagree on the direction"
    assert doubt(10.0, alone | {"searches": 1}, CURVE) is None
