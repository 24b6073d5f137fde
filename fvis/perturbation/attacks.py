"""Which attacks a run makes: every photograph or clip that can be read, with each target."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvis import photographs
from fvis.errors import RequestError
from fvis.objectives.units import directory_name
from fvis.perturbation import sources
from fvis.perturbation.classifier import Classifier
from fvis.perturbation.goals import Goal, goal_of, parse_goals
from fvis.perturbation.sources import Source
from fvis.schema import AdversarialConfig

PREVIEW = 16  # photographs classified at once before the search

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attack:
    """One photograph or clip, and the class or unit that it shall be taken for, or `any` other."""

    source: Source
    target: Goal

    @property
    def name(self) -> str:
        """The name of the output directory, e.g. `cat-00417`."""
        return directory_name(self.source.image, self.target)


def find_attacks(
    settings: AdversarialConfig, classifier: Classifier, seed: int
) -> tuple[list[Attack], dict[str, str]]:
    """Every readable file with every target, and why each other file cannot be used.

    Raises `RequestError` for files or targets that there are not, and if nothing is left.
    """
    files = sources.find(settings, classifier.model)
    goals = parse_goals(settings.target, classifier.count, classifier.classes)
    refused: dict[str, str] = {}
    readable = _readable(files, classifier, refused)
    attacks = []
    while some := list(itertools.islice(readable, PREVIEW)):
        found, pictures = zip(*some, strict=True)
        for source, values in zip(found, _preview(classifier, pictures, goals), strict=True):
            aims = _targets(source.path, goals, values, classifier, seed)
            attacks += [Attack(source, target) for target in aims]
    reasons = list(refused.values())
    if not attacks:
        more = f"; {len(reasons) - 1} more cannot be used either" if len(reasons) > 1 else ""
        raise RequestError((reasons or ["there is nothing to attack"])[0] + more)
    for reason in reasons:
        logger.warning("left out: %s", reason)
    return attacks, refused


def _readable(
    files: Sequence[tuple[Path, str]], classifier: Classifier, refused: dict[str, str]
) -> Iterator[tuple[Source, Tensor]]:
    """What each readable file holds; others are noted in `refused`."""
    preprocessing = classifier.model.preprocessing
    for path, name in files:
        try:
            source = sources.source_of(path, name, preprocessing)
            yield source, source.load(preprocessing)
        except photographs.UnreadableError as error:
            photographs.note_unreadable(refused, path, error)


def _preview(
    classifier: Classifier, pictures: Sequence[Tensor], goals: Sequence[Goal]
) -> Sequence[Tensor]:
    """The network's values (C,) for each picture; empty if no goal depends on them."""
    if all(isinstance(goal, int) for goal in goals):
        return [torch.empty(0)] * len(pictures)
    return list(classifier.values(torch.stack(list(pictures))).cpu())


def _targets(
    path: Path, goals: Sequence[Goal], values: Tensor, classifier: Classifier, seed: int
) -> list[Goal]:
    """The targets of one photograph, without repetition."""
    targets: list[Goal] = [goal for goal in goals if isinstance(goal, int)]
    for goal in goals:
        if isinstance(goal, str):
            key = (seed, classifier.model.name, classifier.layer.path, photographs.stem(path), goal)
            target = goal_of(goal, values, targets, *key)
            targets += [] if target is None or target in targets else [target]
    return targets
