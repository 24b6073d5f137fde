"""The tables of what evidence says, from records alone."""

from dataclasses import replace

import pytest

from fvis.evidence.record import (
    ConditionRecord,
    EvidenceRecord,
    ObserverRecord,
    PathRecord,
    SeedsRecord,
    StrangerRecord,
)
from fvis.record.unit import UnitRecord
from fvis.record.witnesses import GroundingRecord

from . import evidence
from .evidence import Row, correlation_table, observer_table


def row(number: int) -> Row:
    """A unit whose path is kept the better, and whose `below` is the lower, the better it does."""
    accuracy = number / 10
    condition = ConditionRecord(accuracy=accuracy, score=accuracy, shuffled=0.5)
    observer = ObserverRecord("net", replace(condition, accuracy=1.0), condition, 1 - accuracy)
    found = EvidenceRecord(
        observer=observer,
        path=PathRecord(kept=accuracy**2),
        seeds=SeedsRecord(agreement=accuracy),
        strangers={"other": StrangerRecord(top=[("zebra", 1 - accuracy)])},
    )
    grounding = GroundingRecord(below=1 - accuracy)
    record = UnitRecord(model="net", layer="layer", evidence=found, grounding=grounding)
    return Row("net layer", record, accuracy, accuracy)


def test_the_observers_means_are_given_by_layer() -> None:
    last = observer_table([row(number) for number in range(1, 10)]).splitlines()[-1]
    assert last == "| net layer | 9 | 1.000 | 0.500 | 0.500 | 0.500 | 9 plausible |"


def test_ranks_are_correlated_and_what_never_varies_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evidence, "RESAMPLES", 20)
    table = correlation_table([row(number) for number in range(1, 10)])
    assert "| path kept | 9 | 1.00 | 1.00 to 1.00 | 1.00 |" in table
    assert "| below | 9 | -1.00 | -1.00 to -1.00 |" in table
    assert "| seeds' agreement | 9 | 1.00 |" in table
    assert "| strangers' certainty | 9 | -1.00 |" in table
    assert "photographs' accuracy" not in table
