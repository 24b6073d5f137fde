"""`method=adversarial`: pictures changed, hardly visibly, to be taken for another class.

Targeted attacks by activation maximization with a penalty on total variation, which makes the
perturbation smooth and structured: Zhu & Cangelosi 2025 (arXiv 2508.07281). Several networks are
attacked at once by the mean of their margins, as ensembles are: Liu et al. 2017 (arXiv 1611.02770).
"""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fvis import layout, photographs
from fvis.context import Context
from fvis.errors import RequestError
from fvis.methods.base import METHODS, Result
from fvis.models.layers import LOGITS
from fvis.optimization import RunStage
from fvis.paths import expand
from fvis.perturbation import files
from fvis.perturbation.aims import Aims
from fvis.perturbation.attacks import Attack, find_attacks
from fvis.perturbation.ball import radius
from fvis.perturbation.classifier import (
    Classifier,
    load_classifiers,
    refuse_lone_unit,
    refuse_other_classes,
    refuse_other_inputs,
)
from fvis.perturbation.outcome import Judged, Outcome
from fvis.perturbation.pictures import Example, caption, writers
from fvis.perturbation.search import Search
from fvis.record.attack import AdversarialRecord
from fvis.record.unit import DEAD, OK
from fvis.schema import AdversarialConfig, parse_models

EPSILON = 8 / 255  # bound of each value where none is set


@METHODS.register("adversarial")
class Adversarial:
    """Searches for each photograph's smallest perturbation, and judges it by the saved file."""

    def __init__(self, context: Context) -> None:
        assert isinstance(context.config.method, AdversarialConfig)
        self._context = context
        self._settings = context.config.method
        shape = context.model.preprocessing.shape
        self._epsilon = radius(self._settings.epsilon, self._settings.norm, EPSILON, shape)
        self._classifier = Classifier(context.model, context.config.target, context.autocast)
        refuse_lone_unit(self._classifier, "method=adversarial")
        self._attacked = {context.model.name: self._classifier}
        self._attacked |= self._others(self._settings.models, "method.models", self._attacked)
        for classifier in self._attacked.values():
            refuse_other_classes(classifier, self._classifier, "method.models")
            classifier.prepare_gradient()
        if self._classifier.layer.path != LOGITS:  # units of a hidden layer have no probability
            self._settings = dataclasses.replace(self._settings, probability=0.0)
        self._transfer = self._others(self._settings.transfer, "method.transfer")
        self.steps = context.config.engine.steps
        self.share = 1.0
        seed = context.config.engine.seed
        attacks, refused = find_attacks(self._settings, self._classifier, seed)
        self.refused: Mapping[str, str] = refused
        self.groups = [[attack] for attack in attacks]
        self.inputs: Sequence[Path] = self._inputs(attacks)

    def solve(self, jobs: Sequence[Attack], run: RunStage) -> list[Result]:
        """One `Result` per attack: the pictures, delta.npz, and what was measured on them."""
        context, engine = self._context, self._context.config.engine
        pictures = [job.source.load(context.model.preprocessing) for job in jobs]
        clean = torch.stack(pictures).to(context.device)
        targets = [job.target for job in jobs]
        networks = self._attacked.values()
        aims = [network.aims(targets, self._classifier, clean) for network in networks]
        batches = [Aims.of(some, context.device) for some in aims]
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(network.opened()) for network in networks]
            search = Search(opened, batches, clean, self._settings, self._epsilon, engine)
            run("search", search)
            found = search.found()
        fps = context.config.output.fps
        held = [[files.content(rgb, fps) for rgb in side] for side in (clean, found.pictures)]
        outcomes = self._judge(jobs, *held)
        traces, firsts = search.trace.rows(), found.first.tolist()
        columns = (jobs, outcomes, zip(*held, strict=True), traces, firsts)
        return [self._result(*row) for row in zip(*columns, strict=True)]

    def _inputs(self, attacks: Sequence[Attack]) -> list[Path]:
        """The attacked files, and the checkpoints of the further networks."""
        configs = parse_models(self._settings.models, "method.models")
        configs += parse_models(self._settings.transfer, "method.transfer")
        checkpoints = [expand(c.checkpoint) for c in configs if c.checkpoint]
        return [*dict.fromkeys(attack.source.path for attack in attacks), *checkpoints]

    def _others(
        self, specs: Sequence[Any], setting: str, taken: Mapping[str, Classifier] | None = None
    ) -> dict[str, Classifier]:
        """The further networks that a setting names, by name; none has a name that is `taken`."""
        context = self._context
        configs = parse_models(specs, setting)
        if configs and self._classifier.layer.path != LOGITS:
            raise RequestError(f"{setting} needs target.layer=logits")
        engine = context.config.engine
        others = load_classifiers(
            configs, engine.seed, context.device, context.autocast, taken=taken or ()
        )
        for other in others.values():
            refuse_other_inputs(other.model, context.model, setting)
            refuse_lone_unit(other, setting)
            if taken is not None:  # these run at every step
                layout.arrange(other.model, engine.channels_last, context.device)
        return others

    def _judge(
        self, jobs: Sequence[Attack], clean: Sequence[bytes], adversarial: Sequence[bytes]
    ) -> list[Outcome]:
        """Read the files back, and classify them by every network."""
        clip = self._context.model.preprocessing.frames is not None
        before, after = (
            torch.stack([files.read(file, clip) for file in side]) for side in (clean, adversarial)
        )
        targets = [job.target for job in jobs]
        rows: list[tuple[dict[str, Judged], dict[str, Judged]]] = [({}, {}) for _ in jobs]
        for place, networks in enumerate((self._attacked, self._transfer)):
            for name, network in networks.items():
                aims = network.aims(targets, self._classifier, before)
                told = zip(network.judge(before, aims), network.judge(after, aims), strict=True)
                for row, (first, second) in zip(rows, told, strict=True):
                    row[place][name] = Judged(network, first, second)
        pictures = zip(before, after, strict=True)
        return [Outcome(*pair, *row) for pair, row in zip(pictures, rows, strict=True)]

    def _result(
        self,
        job: Attack,
        outcome: Outcome,
        held: tuple[bytes, bytes],
        trace: list[tuple[int, float]],
        first: int,
    ) -> Result:
        context, classifier, target = self._context, self._classifier, job.target
        told = {name: judged.record() for name, judged in outcome.attacked.items()}
        own, measured = told[context.model.name], outcome.measured()
        factor = self._amplification(measured["linf"])
        judged, label = outcome.attacked[context.model.name], classifier.label
        record = AdversarialRecord(
            model=context.model.name,
            layer=classifier.layer.path,
            unit=target,
            position=context.config.target.position,
            method=self._settings.name,
            seed=context.config.engine.seed,
            steps=self.steps,
            status=OK if all(one.is_finite for one in outcome.attacked.values()) else DEAD,
            activation=outcome.activation(trace),
            source=photographs.shown(job.source.path),
            image=job.source.image,
            start=job.source.start,
            target=target,
            class_name=label(target) if classifier.classes and isinstance(target, int) else None,
            success=outcome.success,
            steps_to_success=None if first < 0 else first,
            probability=own.probability,
            margin=own.margin,
            clean=own.clean,
            adversarial=own.adversarial,
            networks=told if len(told) > 1 else None,
            norm=self._settings.norm,
            epsilon=self._epsilon,
            **measured,
            amplification=factor,
            transfer={name: one.transfer_record() for name, one in outcome.transfer.items()},
        )
        of_class = classifier.layer.path == LOGITS
        seen = {
            name: caption(label(verdict.top[0][0]), verdict.top[0][1], of_class=of_class)
            for name, verdict in (("clean", judged.before), ("adversarial", judged.after))
        }
        captions = seen | {
            "perturbation": f"x {factor:.3g}, about grey\nlargest {255 * measured['linf']:.3g}/255",
        }
        pictures = (outcome.clean, outcome.adversarial)
        example = Example(*pictures, held, factor, captions, context.config.output.fps)
        return Result(job.name, record, writers(example))

    def _amplification(self, linf: float) -> float:
        """The factor, at least 1, that scales the largest value in perturbation.png to 0.5.

        With norm linf, `epsilon` is scaled to 0.5 instead, so that pictures can be compared.
        """
        reach = self._epsilon if self._settings.norm == "linf" else linf
        return max(1.0, 0.5 / reach) if reach else 1.0
