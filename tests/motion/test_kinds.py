"""No direction is told of a unit that no motion explains, that needs none, or accepts any."""

import math

import pytest

from fvis.motion.kinds import (
    APPEARS,
    FLICKER,
    MOVING,
    STILL,
    UNEXPLAINED,
    is_directed,
    kind_of,
)
from fvis.record import TuningRecord


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
        (0.7, 0.1, 0.8, 1.4, APPEARS),
        (0.06, 0.0, 0.0, 0.0, UNEXPLAINED),
        (0.4, 0.0, 1.0, 0.0, UNEXPLAINED),
        (-0.2, 0.3, 0.0, 0.0, UNEXPLAINED),
        (math.nan, math.nan, math.nan, math.nan, UNEXPLAINED),
    ],
)
def test_the_controls_decide(
    kept: float, static: float, flicker: float, appears: float, kind: str
) -> None:
    names = ("reconstruction", "static", "flicker", "appears")
    assert kind_of(dict(zip(names, (kept, static, flicker, appears), strict=True))) == kind


@pytest.mark.parametrize(
    ("direction", "deviation", "preferred", "index", "told"),
    [
        (10.0, 5.0, 350.0, 0.8, True),
        (None, 5.0, 350.0, 0.8, False),
        (10.0, 60.0, 10.0, 0.8, False),
        (10.0, 5.0, 190.0, 0.8, False),
        (10.0, 5.0, 100.0, 0.8, False),
        (10.0, 5.0, 10.0, 0.1, False),
        (10.0, 5.0, None, 0.8, False),
        (10.0, 5.0, 10.0, math.nan, False),
        (10.0, 5.0, 10.0, None, False),
    ],
)
def test_a_direction_needs_finalists_and_a_tuning_curve_that_agree(
    direction: float | None, deviation: float, preferred: float | None, index: float | None,
    told: bool,
) -> None:  # fmt: skip
    curve = TuningRecord([1.0], [[]], index, preferred, 40.0)
    assert is_directed(direction, deviation, curve) is told
