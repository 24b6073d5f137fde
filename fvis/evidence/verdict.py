"""One word for how far to believe a picture, from all that the kinds of evidence say of it.

Each kind votes for the picture, or against it, or says nothing. A picture is `supported` if some
kind votes for it and none against, `unsupported` if any votes against it, and `plausible` if none
votes. docs/evidence.md says what each kind can and cannot show.
"""

import dataclasses
from math import comb

from fvis.evidence.record import (
    AGAINST,
    FOR,
    PLAUSIBLE,
    SUPPORTED,
    UNSUPPORTED,
    EvidenceRecord,
    ObserverRecord,
    PathRecord,
    PeopleRecord,
    SeedsRecord,
    StrangerRecord,
)

CHANCE = 0.5  # the accuracy of guessing in a task with two photographs
LEVEL = 0.05  # how likely guessing may do as well as what counts as more than guessing
EXPLAINS = 0.1  # share of photographs that may explain the unit as well as a picture that does
EXPLAINS_NOTHING = 0.4  # and as one that does not
KEPT = 0.5  # share of the photographs' way through the network that counts for a picture
LOST = 0.2  # and against it
REACHED = 0.5  # of the photographs' activation above the median: a picture of less shows nothing
WEAK = 0.5  # of how far the best other seed has risen: less is a failed ascent
RECOGNISED = 5  # the unit's class is among so many that a stranger finds likeliest


def word(votes: dict[str, str]) -> str:
    """The word for a picture, from what each kind of evidence says.

    >>> word({}), word({"path": "for"}), word({"path": "for", "observer": "against"})
    ('plausible', 'supported', 'unsupported')
    """
    if AGAINST in votes.values():
        return UNSUPPORTED
    return SUPPORTED if FOR in votes.values() else PLAUSIBLE


def of_observer(record: ObserverRecord) -> str | None:
    """For where the picture solves the tasks, and few photographs would do as well in its place.

    Against where many do, though the observer solves the tasks by photographs on either side: a
    unit that these do not explain either speaks against no picture.
    """
    accuracy, matched = record.synthetic.accuracy, record.synthetic.matched
    if accuracy is None or matched is None or record.natural.accuracy is None:
        return None
    count = len(record.tasks)

    def beyond_guessing(share: float) -> bool:
        return by_chance(round(share * count), count) <= LEVEL

    if matched <= EXPLAINS and beyond_guessing(accuracy):
        return FOR
    is_explained = beyond_guessing(record.natural.accuracy)
    return AGAINST if is_explained and matched >= EXPLAINS_NOTHING else None


def of_path(record: PathRecord) -> str | None:
    """For where the picture mostly keeps to the photographs' way, against where it loses it.

    One that excites the unit far less than they do speaks for nothing, whatever its way: the noise
    from which an ascent starts may keep to it by chance.
    """
    if record.kept is None:
        return None
    if record.kept >= KEPT:
        return FOR if record.reached is not None and record.reached >= REACHED else None
    return AGAINST if record.kept <= LOST else None


def of_seeds(record: SeedsRecord, initial: float, final: float, sign: int = 1) -> str | None:
    """Against where another seed's picture has risen far above the unit's own.

    `initial` is the activation from which the rise counts, `final` that of the unit's picture; with
    `sign` -1 both fall. That seeds agree speaks for no picture: those of a network made to fool
    agree, too.
    """
    rises = [sign * (value - initial) for value in record.activations if value is not None]
    own, best = sign * (final - initial), max(rises, default=0.0)
    return AGAINST if best > 0 and own < WEAK * best else None


def of_strangers(records: dict[str, StrangerRecord]) -> str | None:
    """For where another network recognises the unit's class in the picture.

    It is among the first `RECOGNISED`, and a class at random would hardly be: a stranger of few
    classes says nothing.
    """
    ranks = [(one.rank, one.classes) for one in records.values() if one.rank and one.classes]
    recognise = [rank <= min(RECOGNISED, LEVEL * classes) for rank, classes in ranks]
    return FOR if any(recognise) else None


def of_people(records: dict[str, PeopleRecord]) -> str | None:
    """For where people's interval is above chance with the pictures, against where it is below."""
    lowest, highest = records["synthetic"].interval if "synthetic" in records else (None, None)
    if lowest is not None and lowest > CHANCE:
        return FOR
    return AGAINST if highest is not None and highest < CHANCE else None


def by_chance(right: int, count: int) -> float:
    """How likely guessing is to solve at least so many of `count` tasks.

    >>> by_chance(9, 10), by_chance(0, 3)
    (0.0107421875, 1.0)
    """
    ways: int = sum(comb(count, k) for k in range(right, count + 1))
    return ways / int(2**count)


def judged(
    record: EvidenceRecord, initial: float, final: float, *, failed: bool, sign: int = 1
) -> EvidenceRecord:
    """The record with what its kinds of evidence say, and the word for it.

    The ascent to the picture has led from `initial` to `final`, which is to be high; with `sign`
    -1, low. One that `failed` speaks against its picture.
    """
    said = {
        "ascent": AGAINST if failed else None,
        "observer": record.observer and of_observer(record.observer),
        "path": record.path and of_path(record.path),
        "seeds": record.seeds and of_seeds(record.seeds, initial, final, sign),
        "strangers": record.strangers and of_strangers(record.strangers),
        "people": record.people and of_people(record.people),
    }
    votes = {kind: vote for kind, vote in said.items() if vote}
    return dataclasses.replace(record, votes=votes, word=word(votes))
