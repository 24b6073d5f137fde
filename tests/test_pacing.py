"""What takes longer with every unit is done less often: it never takes most of the time."""

import pytest

from fvis import pacing
from fvis.pacing import SHARE, Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which a test sets."""
    now = [100.0]
    monkeypatch.setattr(pacing.time, "monotonic", lambda: now[0])
    return now


def test_the_longer_it_takes_the_rarer_it_is(clock: list[float]) -> None:
    pace, spent = Pace(), 0.0
    for size in range(1, 2000):  # each unit takes 1 s, and writing takes 1 ms for each unit
        clock[0] += 1
        if pace.is_due:
            with pace.timed():
                clock[0] += 0.001 * size
                spent += 0.001 * size
    assert 0.5 * SHARE < spent / (clock[0] - 100) < 1.1 * SHARE


def test_it_is_due_at_first_and_then_no_sooner_than_it_may_be(clock: list[float]) -> None:
    pace = Pace(20)
    assert pace.is_due
    with pace.timed():
        assert pace.is_due
    clock[0] += 19
    assert not pace.is_due
    clock[0] += 1
    assert pace.is_due
