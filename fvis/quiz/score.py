"""Counts people's answers, and adds them to the records of the units that they judged."""

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fvis import workspace
from fvis.errors import RequestError
from fvis.evidence.record import PeopleRecord, TaskRecord
from fvis.evidence.verdict import judged
from fvis.quiz.answers import Answer
from fvis.quiz.trials import CATCH, NATURAL, SYNTHETIC, choices, concealed
from fvis.record.run import DONE
from fvis.record.unit import DEAD
from fvis.recorder import summary_of
from fvis.run_folder import SavedRun, SavedUnit, read_run, rewrite_unit, write_run

Z = 1.96  # standard normal deviate of a 95 % interval
CAUGHT = 0.75  # share of catch trials that a person who looks gets right, at least

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """An answer, and whether it is right."""

    answer: Answer
    right: bool


def score(directory: Path, answers: Sequence[Answer]) -> Path:
    """Add the answers to the records of the run in `directory`; returns the run's page.

    What earlier answers left is replaced. Answers of people who fail catch trials do not count, nor
    of those who answered none.
    Raises `RequestError` for a run that is not done, and where no answer is about it.
    """
    run = read_run(directory)
    if run.status != DONE:
        raise RequestError(f"{directory} is not done: score its quiz when it is")
    with workspace.locked(directory):
        units = list(run.units())
        counted = _attentive(_judge(run, units, answers))
        for unit in units:
            _record(unit, [one for one in counted if one.answer.unit == unit.folder.name])
        summary = summary_of(unit.record.tally() for unit in run.units())
        record = replace(run.record, summary=summary)
        workspace.show(directory, record)
        write_run(directory, record)
    return directory / workspace.INDEX


def interval(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `right` of `count` were observed (Wilson 1927).

    >>> [round(end, 3) for end in interval(9, 10)]
    [0.596, 0.982]
    """
    share, z = right / count, Z**2 / count
    middle = (share + z / 2) / (1 + z)
    half = Z * math.sqrt(share * (1 - share) / count + z / (4 * count)) / (1 + z)
    return max(0.0, middle - half), min(1.0, middle + half)


def _judge(run: SavedRun, units: Sequence[SavedUnit], answers: Sequence[Answer]) -> list[Judged]:
    """The answers about a run, each person's first in each trial, and whether they are right.

    Warns of those that name neither photograph of their trial, which are left out.
    """
    tasks = {unit.folder.name: _tasks(unit) for unit in units}
    first: dict[tuple[str, str, str, int], Judged] = {}
    strange: list[Answer] = []
    for answer in answers:
        known = tasks.get(answer.unit, [])
        is_trial = answer.condition in (NATURAL, SYNTHETIC, CATCH) and 0 <= answer.task < len(known)
        if answer.run == run.record.config_sha256 and is_trial:
            key = (answer.person, answer.unit, answer.condition, answer.task)
            right, wrong = map(concealed, choices(known[answer.task], answer.condition))
            if answer.chosen in (right, wrong):
                first.setdefault(key, Judged(answer, answer.chosen == right))
            else:
                strange.append(answer)
    if strange:
        logger.warning(
            "answers that name neither photograph of their trial do not count: %d, of %s",
            len(strange),
            ", ".join(sorted({answer.person for answer in strange})),
        )
    if not first:
        raise RequestError(f"no answer is about the units of {run.folder}")
    return list(first.values())


def _attentive(found: Sequence[Judged]) -> list[Judged]:
    """What people answered in ordinary trials who got the catch trials right."""
    catches: dict[str, list[bool]] = {one.answer.person: [] for one in found}
    for one in found:
        if one.answer.condition == CATCH:
            catches[one.answer.person].append(one.right)
    passed = []
    for person, rights in catches.items():
        if rights and statistics.fmean(rights) >= CAUGHT:
            passed.append(person)
        else:
            why = "catch trials were failed" if rights else "no catch trial was answered"
            logger.warning("the answers of %s do not count: %s", person, why)
    return [one for one in found if one.answer.condition != CATCH and one.answer.person in passed]


def _record(unit: SavedUnit, found: Sequence[Judged]) -> None:
    """Write what people make of a unit into its metadata.json."""
    evidence, activation = unit.record.evidence, unit.record.activation
    if evidence is None or (not found and evidence.people is None):
        return
    by_condition = {
        condition: [one for one in found if one.answer.condition == condition]
        for condition in (NATURAL, SYNTHETIC)
    }
    people = {condition: _people(some) for condition, some in by_condition.items() if some}
    evidence = replace(evidence, people=people or None)
    failed, sign = unit.record.status == DEAD, unit.record.sign or 1
    initial, final = activation.initial or 0.0, activation.final or 0.0
    evidence = judged(evidence, initial, final, failed=failed, sign=sign)
    rewrite_unit(unit.folder, replace(unit.record, evidence=evidence))


def _people(found: Sequence[Judged]) -> PeopleRecord:
    right = sum(one.right for one in found)
    return PeopleRecord(
        accuracy=right / len(found),
        interval=interval(right, len(found)),
        answers=len(found),
        people=len({one.answer.person for one in found}),
        confidence=statistics.fmean(one.answer.confidence for one in found),
    )


def _tasks(unit: SavedUnit) -> list[TaskRecord]:
    evidence = unit.record.evidence
    return [] if evidence is None or evidence.observer is None else evidence.observer.tasks
