"""`method=adversarial`: photographs changed, hardly visibly, to be taken for another class.

Targeted attacks by activation maximization with a penalty on total variation, which makes the
perturbation smooth and structured: Zhu & Cangelosi 2025 (arXiv 2508.07281).
"""

import dataclasses
import io
import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fvis import artifacts, photographs
from fvis.context import Context
from fvis.errors import RequestError
from fvis.methods.base import METHODS, Result
from fvis.models import Model
from fvis.models.layers import LOGITS
from fvis.objectives.units import directory_name
from fvis.optimization import RunStage
from fvis.paths import expand
from fvis.perturbation import measures
from fvis.perturbation.ball import radius
from fvis.perturbation.classifier import Classifier, Verdict, load_classifiers
from fvis.perturbation.goals import Goal, goal_of, parse_goals
from fvis.perturbation.pictures import Example, caption, writers
from fvis.perturbation.search import Search
from fvis.record import (
    DEAD,
    OK,
    ActivationRecord,
    AdversarialRecord,
    MarginRecord,
    ProbabilityRecord,
    Top,
    TransferRecord,
)
from fvis.schema import AdversarialConfig, TargetConfig, parse_models

PREVIEW = 16  # photographs classified at once before the search

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attack:
    """One photograph, and the class or unit that it shall be taken for."""

    path: Path
    image: str
    target: int

    @property
    def name(self) -> str:
        """The name of the output directory, e.g. `cat-00417`."""
        return directory_name(self.image, self.target)


@dataclass(frozen=True)
class Outcome:
    """An attack's pictures (3, H, W), read back from their files, and how networks classify them.

    `before` (of the clean picture) and `after` (of the adversarial one) have a verdict for each
    transfer network by its name, and the attacked network's under "".
    """

    clean: Tensor
    adversarial: Tensor
    before: Mapping[str, Verdict]
    after: Mapping[str, Verdict]

    @property
    def delta(self) -> Tensor:
        """The perturbation: the adversarial picture minus the clean one."""
        return self.adversarial - self.clean


@METHODS.register("adversarial")
class Adversarial:
    """Searches for each photograph's smallest perturbation, and judges it by the saved file."""

    def __init__(self, context: Context) -> None:
        assert isinstance(context.config.method, AdversarialConfig)
        self._context = context
        self._settings = context.config.method
        self._epsilon = radius(self._settings.epsilon, self._settings.norm)
        self._classifier = self._classifier_of(context.model, context.config.target)
        self._classifier.require_gradient()
        if self._classifier.layer.path != LOGITS:  # units of a hidden layer have no probability
            self._settings = dataclasses.replace(self._settings, probability=0.0)
        self._transfer = self._transfer_models()
        self.steps = context.config.engine.steps
        self.share = 1.0
        self.refused: dict[str, str] = {}
        attacks = self._attacks()
        self.groups = [[attack] for attack in attacks]
        self.inputs: Sequence[Path] = self._inputs(attacks)

    def solve(self, jobs: Sequence[Attack], run: RunStage) -> list[Result]:
        """One `Result` per attack: the pictures, delta.npz, and what was measured on them."""
        context = self._context
        paths = [job.path for job in jobs]
        clean = photographs.batch(paths, context.model.preprocessing).to(context.device)
        targets = torch.tensor([job.target for job in jobs], device=context.device)
        engine = context.config.engine
        with self._classifier.opened() as values:
            search = Search(values, clean, targets, self._settings, self._epsilon, engine)
            run("search", search)
            found = search.found()
        files = [[artifacts.png_bytes(rgb) for rgb in side] for side in (clean, found.pictures)]
        outcomes = self._judge(jobs, *files)
        traces, firsts = search.trace.rows(), found.first.tolist()
        columns = (jobs, outcomes, zip(*files, strict=True), traces, firsts)
        return [self._result(*row) for row in zip(*columns, strict=True)]

    def _inputs(self, attacks: Sequence[Attack]) -> list[Path]:
        """The photographs, and the checkpoints of the transfer networks."""
        configs = parse_models(self._settings.transfer, "method.transfer")
        checkpoints = [expand(c.checkpoint) for c in configs if c.checkpoint]
        return [*dict.fromkeys(attack.path for attack in attacks), *checkpoints]

    def _attacks(self) -> list[Attack]:
        """Every readable photograph with every target."""
        specs = self._settings.images
        if not specs:
            raise RequestError("method=adversarial needs method.images: files, folders or globs")
        paths = photographs.find(specs)
        goals = parse_goals(self._settings.target, self._classifier.count, self._classifier.classes)
        readable = self._readable(paths)
        attacks = []
        while some := list(itertools.islice(readable, PREVIEW)):
            files, pictures = zip(*some, strict=True)
            for (path, name), values in zip(files, self._preview(pictures, goals), strict=True):
                attacks += [Attack(path, name, t) for t in self._aims(name, goals, values)]
        reasons = list(self.refused.values())
        if not attacks:
            more = f"; {len(reasons) - 1} more cannot be used either" if len(reasons) > 1 else ""
            raise RequestError((reasons or ["there is nothing to attack"])[0] + more)
        for reason in reasons:
            logger.warning("left out: %s", reason)
        return attacks

    def _readable(self, paths: Sequence[Path]) -> Iterator[tuple[tuple[Path, str], Tensor]]:
        """Each readable photograph with its file and name; others are noted in `refused`."""
        for path, name in zip(paths, photographs.names(paths), strict=True):
            try:
                yield (path, name), photographs.load(path, self._context.model.preprocessing)
            except photographs.UnreadableError as error:
                known = photographs.shown(path)
                self.refused[known] = str(error).replace(str(path), known)

    def _preview(self, pictures: Sequence[Tensor], goals: Sequence[Goal]) -> Sequence[Tensor]:
        """The network's values (C,) for each photograph; empty if no goal depends on them."""
        if all(isinstance(goal, int) for goal in goals):
            return [torch.empty(0)] * len(pictures)
        return list(self._classifier.values(torch.stack(list(pictures))).cpu())

    def _aims(self, image: str, goals: Sequence[Goal], values: Tensor) -> list[int]:
        """The targets of one photograph, without repetition."""
        model, seed = self._context.model.name, self._context.config.engine.seed
        aims: list[int] = [goal for goal in goals if isinstance(goal, int)]
        for goal in goals:
            if isinstance(goal, str):
                key = (seed, model, self._classifier.layer.path, image, goal)
                aim = goal_of(goal, values, aims, *key)
                aims += [] if aim is None or aim in aims else [aim]
        return aims

    def _transfer_models(self) -> dict[str, Classifier]:
        """The transfer networks, which the adversarial examples are also tested on, by name."""
        context = self._context
        configs = parse_models(self._settings.transfer, "method.transfer")
        if configs and self._classifier.layer.path != LOGITS:
            raise RequestError("method.transfer needs target.layer=logits")
        seed = context.config.engine.seed
        return load_classifiers(configs, seed, context.device, context.autocast)

    def _classifier_of(self, model: Model, target: TargetConfig) -> Classifier:
        return Classifier(model, target, self._context.device, self._context.autocast)

    def _judge(
        self, jobs: Sequence[Attack], clean: Sequence[bytes], adversarial: Sequence[bytes]
    ) -> list[Outcome]:
        """Read the files back, and classify them by every network."""
        sides = [torch.stack([_read(file) for file in files]) for files in (clean, adversarial)]
        verdicts: list[list[dict[str, Verdict]]] = [[{} for _ in jobs] for _ in sides]
        for name, classifier in {"": self._classifier, **self._transfer}.items():
            targets = [classifier.counterpart(job.target, self._classifier) for job in jobs]
            for rgb, rows in zip(sides, verdicts, strict=True):
                for row, verdict in zip(rows, classifier.judge(rgb, targets), strict=True):
                    row[name] = verdict
        return [Outcome(*row) for row in zip(*sides, *verdicts, strict=True)]

    def _result(
        self,
        job: Attack,
        outcome: Outcome,
        files: tuple[bytes, bytes],
        trace: list[tuple[int, float]],
        first: int,
    ) -> Result:
        context, classifier = self._context, self._classifier
        measured = _measure(outcome)
        before, after = outcome.before[""], outcome.after[""]
        label = classifier.label
        factor = self._amplification(measured["linf"])
        record = AdversarialRecord(
            model=context.model.name,
            layer=classifier.layer.path,
            unit=job.target,
            position=context.config.target.position,
            method=self._settings.name,
            seed=context.config.engine.seed,
            steps=self.steps,
            status=OK if after.value is not None and math.isfinite(after.value) else DEAD,
            activation=ActivationRecord(before.value, after.value, [*trace]),
            source=photographs.shown(job.path),
            image=job.image,
            target=job.target,
            class_name=label(job.target) if classifier.classes else None,
            success=after.success,
            steps_to_success=None if first < 0 else first,
            probability=_probability(before, after) if classifier.layer.path == LOGITS else None,
            margin=MarginRecord(before.margin, after.margin),
            clean=_top(classifier, before),
            adversarial=_top(classifier, after),
            norm=self._settings.norm,
            epsilon=self._epsilon,
            **measured,
            amplification=factor,
            transfer={
                name: TransferRecord(
                    outcome.after[name].success,
                    _top(other, outcome.before[name]),
                    _top(other, outcome.after[name]),
                )
                for name, other in self._transfer.items()
            },
        )
        captions = {
            "clean": caption(label(before.top[0][0]), before.top[0][1]),
            "perturbation": f"x {factor:.3g}, about grey\nlargest {255 * measured['linf']:.3g}/255",
            "adversarial": caption(label(after.top[0][0]), after.top[0][1]),
        }
        example = Example(outcome.clean, outcome.adversarial, files, factor, captions)
        return Result(job.name, record, writers(example))

    def _amplification(self, linf: float) -> float:
        """The factor, at least 1, that scales the largest value in perturbation.png to 0.5.

        With norm linf, `epsilon` is scaled to 0.5 instead, so that pictures can be compared.
        """
        reach = self._epsilon if self._settings.norm == "linf" else linf
        return max(1.0, 0.5 / reach) if reach else 1.0


def _read(file: bytes) -> Tensor:
    return torch.from_numpy(artifacts.read_png(io.BytesIO(file)))


def _measure(outcome: Outcome) -> dict[str, Any]:
    delta = outcome.delta[None]
    numbers = {
        "linf": measures.linf(delta),
        "l2": measures.l2(delta),
        "tv": measures.total_variation(delta),
        "spectral_centroid": measures.spectral_centroid(delta),
    }
    ssim = measures.ssim(outcome.clean, outcome.adversarial)
    return {**{name: number.item() for name, number in numbers.items()}, "ssim": ssim}


def _probability(before: Verdict, after: Verdict) -> ProbabilityRecord:
    return ProbabilityRecord(before.shown, after.shown)


def _top(classifier: Classifier, verdict: Verdict) -> Top:
    return [(classifier.label(index), chance) for index, chance in verdict.top]
