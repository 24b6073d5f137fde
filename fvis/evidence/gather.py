"""Gathers the evidence that the config asks for, for the pictures of a batch."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from fvis import photographs
from fvis.artifacts import Writer
from fvis.context import Context
from fvis.errors import RequestError
from fvis.evidence.embedding import SETTING, Embedding, load_embedding
from fvis.evidence.observer import Observer
from fvis.evidence.others import Others, make_others
from fvis.evidence.path import measure_path
from fvis.evidence.record import EvidenceRecord, PathRecord, StrangerRecord
from fvis.evidence.seeds import compare_seeds
from fvis.evidence.strangers import SETTING as STRANGERS
from fvis.evidence.strangers import Strangers
from fvis.evidence.verdict import judged
from fvis.grounding import Natural
from fvis.models.base import Model
from fvis.objectives import Target
from fvis.optimization import RunStage
from fvis.paths import expand
from fvis.record.unit import DEAD
from fvis.schema import EVIDENCE_ASKED, EvidenceConfig, networks_of
from fvis.synthesis import Optimum, Synthesizer

STRONGEST = 9  # photographs whose way through the network is the unit's
FEWEST = 2 * STRONGEST  # photographs from which a way can be told

Gathered = tuple[EvidenceRecord | None, dict[str, Writer]]


class Evidence:
    """The evidence for the pictures of one layer's units.

    `natural` has the photographs' responses, where the config names photographs, and their course
    through the network where that is to be compared. Raises `RequestError` for what is asked of a
    network of clips, for networks that cannot be loaded, and for too few photographs.
    """

    def __init__(self, context: Context, synthesizer: Synthesizer, natural: Natural | None) -> None:
        self._settings = settings = context.config.evidence
        self._synthesizer, self._natural = synthesizer, natural
        self._images = context.model.preprocessing.frames is None
        _refuse_clips(context)
        self._embedding = _embedding(context)
        self._observer = None
        if natural is not None and self._embedding is not None:
            self._observer = Observer(context, natural, self._embedding)
        self._strangers = Strangers(context) if settings.strangers else None
        _refuse_climbed(synthesizer, self._embedding, self._strangers)
        self.ascents = settings.seeds + settings.minimising
        self.inputs = _checkpoints(settings)

    def gather(
        self,
        jobs: Sequence[Target],
        optima: Sequence[Optimum],
        course: Sequence[Tensor],
        run: RunStage,
    ) -> list[Gathered]:
        """For each job its record, if there is any evidence, and what writes its other pictures.

        `course` has the pictures' activations (B, C) at each layer of the photographs' own course.
        """
        if not self._images:
            return [(None, {}) for _ in jobs]
        others = make_others(self._synthesizer, self._settings, jobs, run)
        paths = self._paths(jobs, optima, course)
        strangers = self._strangers.see(jobs, optima) if self._strangers else [None] * len(jobs)
        rows = zip(jobs, optima, others, paths, strangers, strict=True)
        return [(self._record(*row), row[2].files) for row in rows]

    def _record(
        self,
        job: Target,
        optimum: Optimum,
        others: Others,
        path: PathRecord | None,
        strangers: dict[str, StrangerRecord] | None,
    ) -> EvidenceRecord | None:
        observer = self._observer
        among = observer.similarities if observer else None
        record = EvidenceRecord(
            observer=observer.observe(int(job.unit), optimum, others) if observer else None,
            path=path,
            seeds=compare_seeds(optimum, others, self._embedding, among, job.sign),
            strangers=strangers,
        )
        if record == EvidenceRecord():
            return None
        failed = optimum.status == DEAD
        return judged(record, optimum.initial, optimum.final, failed=failed, sign=job.sign)

    def _paths(
        self, jobs: Sequence[Target], optima: Sequence[Optimum], course: Sequence[Tensor]
    ) -> list[PathRecord | None]:
        natural = self._natural
        if natural is None or not natural.course or len(natural.files) < FEWEST:
            return [None] * len(jobs)
        scores = natural.sign * natural.scores
        order = scores.argsort(dim=0, descending=True, stable=True)[:STRONGEST]
        paths: list[PathRecord | None] = []
        for row, (job, optimum) in enumerate(zip(jobs, optima, strict=True)):
            strongest, unit = order[:, int(job.unit)], natural.scores[:, int(job.unit)]
            weakest, median = unit[strongest[-1]].item(), unit.quantile(0.5).item()
            if weakest == median:  # too few photographs excite it: the others are any
                paths.append(None)
                continue
            path = measure_path(natural.course, [means[row] for means in course], strongest)
            reached = (optimum.final - median) / (weakest - median)
            paths.append(dataclasses.replace(path, reached=reached))
        return paths


def _embedding(context: Context) -> Embedding | None:
    """The embedding that the config asks for, if any."""
    asked, seed = context.config.evidence.embedding, context.config.engine.seed
    if asked is None:
        return None
    return context.once(f"{SETTING}={asked}", lambda: load_embedding(asked, seed, context.device))


def _refuse_climbed(
    synthesizer: Synthesizer, embedding: Embedding | None, strangers: Strangers | None
) -> None:
    """Raise `RequestError` for a network that is to judge pictures that were made with it."""
    climbed = {model.sha256 for model in synthesizer.climbed}
    judges: list[tuple[str, Embedding | Model]] = [(SETTING, embedding)] if embedding else []
    judges += [(STRANGERS, model) for model in (strangers.models if strangers else ())]
    for setting, judge in judges:
        if judge.sha256 in climbed:
            raise RequestError(
                f"{setting}: {judge.name} has a part in the pictures, and cannot judge them: give "
                "another network"
            )


def _checkpoints(settings: EvidenceConfig) -> list[Path]:
    """The checkpoints of the networks that give evidence."""
    return [expand(one.checkpoint) for one in networks_of(settings) if one.checkpoint]


def _refuse_clips(context: Context) -> None:
    """Raise `RequestError` for evidence that is asked for of a network of clips."""
    asked = [name for name in EVIDENCE_ASKED if getattr(context.config.evidence, name)]
    if asked:
        photographs.refuse_clips(context.model, f"evidence.{asked[0]}")
