"""No direction is told of a unit that no motion explains, or that needs none."""

import math

import pytest

from fvis.motion.kinds import MOVING, STILL, UNDIRECTED, UNEXPLAINED, kind_of


@pytest.mark.parametrize(
    ("kept", "static", "direction", "kind"),
    [
        (1.0, 0.1, 90.0, MOVING),
        (0.5, -0.3, 0.0, MOVING),
        (1.0, 0.1, None, UNDIRECTED),
        (1.0, 0.95, 90.0, STILL),
        (1.2, 1.4, None, STILL),
        (1.0, math.nan, 90.0, STILL),
        (0.06, 0.0, 282.0, UNEXPLAINED),
        (0.0, 0.0, 282.0, UNEXPLAINED),
        (-0.2, 0.3, 10.0, UNEXPLAINED),
        (math.nan, math.nan, 10.0, UNEXPLAINED),
    ],
)
def test_the_controls_decide(
    kept: float, static: float, direction: float | None, kind: str
) -> None:
    assert kind_of({"reconstruction": kept, "static": static}, direction) == kind
