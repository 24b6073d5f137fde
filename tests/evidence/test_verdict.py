"""The word for a picture, from all that speaks for and against it."""

from dataclasses import replace

import pytest

from fvis.evidence.record import (
    ConditionRecord,
    EvidenceRecord,
    ObserverRecord,
    PathRecord,
    PeopleRecord,
    SeedsRecord,
    StrangerRecord,
    TaskRecord,
)
from fvis.evidence.verdict import judged

TASKS = [TaskRecord()] * 10


def observer(synthetic: float, matched: float, natural: float = 1.0) -> ObserverRecord:
    condition = ConditionRecord(accuracy=synthetic, matched=matched)
    return ObserverRecord("net", ConditionRecord(accuracy=natural), condition, tasks=TASKS)


HONEST = EvidenceRecord(observer=observer(1.0, 0.02), path=PathRecord(kept=0.9, reached=1.0))
STRAYING = replace(HONEST, path=PathRecord(kept=0.05))
RECOGNISED = EvidenceRecord(strangers={"net": StrangerRecord([], 3, 1000)})


@pytest.mark.parametrize(
    ("record", "word", "votes"),
    [
        (HONEST, "supported", {"observer": "for", "path": "for"}),
        (STRAYING, "unsupported", {"observer": "for", "path": "against"}),
        (EvidenceRecord(path=PathRecord(kept=None)), "plausible", {}),
        (EvidenceRecord(path=PathRecord(kept=0.4)), "plausible", {}),
        (EvidenceRecord(observer=observer(0.5, 0.5)), "unsupported", {"observer": "against"}),
        # Photographs do not explain the unit to the observer either.
        (EvidenceRecord(observer=observer(0.5, 0.5, natural=0.6)), "plausible", {}),
        (EvidenceRecord(observer=observer(0.9, 0.25)), "plausible", {}),
        (EvidenceRecord(observer=observer(0.8, 0.02)), "plausible", {}),  # by luck?
        (EvidenceRecord(observer=observer(0.9, 0.1)), "supported", {"observer": "for"}),
        (EvidenceRecord(seeds=SeedsRecord([10.0, 4.9])), "unsupported", {"seeds": "against"}),
        (EvidenceRecord(seeds=SeedsRecord([4.9, 5.1])), "plausible", {}),
        (RECOGNISED, "supported", {"strangers": "for"}),
        (EvidenceRecord(strangers={"net": StrangerRecord([], 90, 1000)}), "plausible", {}),
        (EvidenceRecord(strangers={"net": StrangerRecord([], 1, 12)}), "plausible", {}),
        (EvidenceRecord(strangers={"net": StrangerRecord([], 2, 20)}), "plausible", {}),
        (
            EvidenceRecord(strangers={"net": StrangerRecord([], 1, 20)}),
            "supported",
            {"strangers": "for"},
        ),
        (EvidenceRecord(strangers={"net": StrangerRecord([])}), "plausible", {}),
        (
            EvidenceRecord(people={"synthetic": PeopleRecord(0.9, (0.7, 0.97), 20, 2)}),
            "supported",
            {"people": "for"},
        ),
        (
            EvidenceRecord(people={"synthetic": PeopleRecord(0.2, (0.1, 0.4), 20, 2)}),
            "unsupported",
            {"people": "against"},
        ),
    ],
)  # fmt: skip
def test_the_word_follows_from_what_each_kind_says(
    record: EvidenceRecord, word: str, votes: dict[str, str]
) -> None:
    found = judged(record, initial=0.0, final=4.0, failed=False)
    assert (found.word, found.votes) == (word, votes)


def test_a_failed_ascent_speaks_against_its_picture() -> None:
    assert judged(HONEST, initial=0.0, final=4.0, failed=True).word == "unsupported"


def test_of_pictures_that_excite_units_least_a_better_seed_is_a_lower_one() -> None:
    weak, strong = (
        EvidenceRecord(seeds=SeedsRecord([-10.0])),
        EvidenceRecord(seeds=SeedsRecord([-2.0])),
    )
    assert judged(weak, initial=0.0, final=-4.0, failed=False, sign=-1).word == "unsupported"
    assert judged(strong, initial=0.0, final=-4.0, failed=False, sign=-1).word == "plausible"


@pytest.mark.parametrize("bias", [-100.0, 0.0, 100.0])
def test_a_constant_that_is_added_to_the_unit_changes_no_word(bias: float) -> None:
    better = EvidenceRecord(seeds=SeedsRecord([10.0 + bias]))
    equal = EvidenceRecord(seeds=SeedsRecord([5.0 + bias]))
    assert judged(better, bias, 4.0 + bias, failed=False).word == "unsupported"
    assert judged(equal, bias, 4.0 + bias, failed=False).word == "plausible"


def test_a_way_without_a_measure_of_how_far_it_leads_speaks_for_nothing() -> None:
    record = EvidenceRecord(path=PathRecord(kept=0.9, reached=None))
    assert judged(record, 0.0, 4.0, failed=False).word == "plausible"


def test_the_way_of_a_picture_that_hardly_excites_speaks_for_nothing() -> None:
    words = {
        (kept, reached): judged(
            EvidenceRecord(path=PathRecord(kept=kept, reached=reached)), 0.0, 4.0, failed=False
        ).word
        for kept in (0.1, 0.9)
        for reached in (0.2, 0.8)
    }
    assert words == {
        (0.1, 0.2): "unsupported", (0.1, 0.8): "unsupported",
        (0.9, 0.2): "plausible", (0.9, 0.8): "supported",
    }  # fmt: skip


def test_run_json_counts_the_words_and_averages_the_observers_accuracy() -> None:
    tally = judged(HONEST, initial=0.0, final=4.0, failed=False).tally()
    assert tally["evidence.supported"] == 1
    assert tally["evidence.plausible"] == tally["evidence.unsupported"] == 0
    assert tally["evidence.observer.synthetic"] == 1.0
    assert judged(EvidenceRecord(), 0.0, 1.0, failed=False).tally()["evidence.plausible"] == 1
