"""The bench of hard units calls what is false false."""

import pytest

from fvis.record.motion import MotionRecord
from fvis.zoo import hard
from tests.benchmarks.hard_motion import Answer, answers

BANK = {unit.name: unit for unit in hard.bank()}
QUICK = (
    "engine.steps=60", "method.steps=80", "method.pilot_steps=10", "method.finalists=2",
    "engine.device=cpu",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "direction", "verdict"),
    [
        ("plaid, 90 degrees apart", "moving", 60.0, "true"),
        ("plaid, 90 degrees apart", "moving", 100.0, "false"),
        ("plaid, 90 degrees apart", "undirected", None, "unsure"),
        ("plaid, 90 degrees apart", "still", None, "false"),
        ("shear", "moving", 10.0, "false"),
        ("shear", "undirected", None, "true"),
        ("shear", "flicker", None, "false"),
        ("still grating", "still", None, "true"),
        ("still grating", "undirected", None, "false"),
    ],
)
def test_a_verdict_follows_from_the_key(
    name: str, kind: str, direction: float | None, verdict: str
) -> None:
    motion = MotionRecord(kind=kind, direction_deg=direction, speed=1.0)
    assert Answer(BANK[name], 0, motion, 1.0).verdict == verdict


@pytest.mark.slow
def test_units_of_every_kind_are_read_or_left_unsaid() -> None:
    names = [
        "plaid, 90 degrees apart", "off-centre clockwise rotation", "counterphase grating",
    ]  # fmt: skip
    found = list(answers(0, [list(BANK).index(name) for name in names], QUICK))
    assert len(found) == len(names)
    assert not [answer.cells() for answer in found if answer.verdict == "false"]
    assert sum(answer.verdict == "true" for answer in found) >= 2
    turning = found[1].motion.curl
    assert turning is not None and turning > 0.06
