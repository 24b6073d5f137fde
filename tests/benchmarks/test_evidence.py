"""The tables of what evidence says, from records alone."""

from dataclasses import replace

from fvis.evidence.record import ConditionRecord, EvidenceRecord, ObserverRecord, PathRecord
from fvis.record import GroundingRecord, UnitRecord

from .evidence import Row, correlation_table, observer_table


def row(number: int) -> Row:
    """A unit whose path is kept the better, and whose `below` is the lower, the better it does."""
    accuracy = number / 10
    condition = ConditionRecord(accuracy=accuracy, score=accuracy, shuffled=0.5)
    observer = ObserverRecord("net", replace(condition, accuracy=1.0), condition, 1 - accuracy)
    evidence = EvidenceRecord(observer=observer, path=PathRecord(kept=accuracy**2))
    grounding = GroundingRecord(below=1 - accuracy)
    record = UnitRecord(model="net", layer="layer", evidence=evidence, grounding=grounding)
    return Row("net layer", record, accuracy, accuracy)


def test_the_observers_means_are_given_by_layer() -> None:
    last = observer_table([row(number) for number in range(1, 10)]).splitlines()[-1]
    assert last == "| net layer | 9 | 1.000 | 0.500 | 0.500 | 0.500 | 9 plausible |"


def test_ranks_are_correlated_and_what_never_varies_is_left_out() -> None:
    table = correlation_table([row(number) for number in range(1, 10)])
    assert "| path kept | 9 | 1.00 |" in table
    assert "| below | 9 | -1.00 |" in table
    assert "photographs' accuracy" not in table
