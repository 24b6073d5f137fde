"""Gathers the evidence that the config asks for, for the pictures of a batch."""

from collections.abc import Sequence
from pathlib import Path

import torch

from fvis.artifacts import Writer
from fvis.context import Context
from fvis.errors import RequestError
from fvis.evidence.embedding import load_embedding
from fvis.evidence.observer import Observer
from fvis.evidence.others import Others, make_others
from fvis.evidence.path import measure_path
from fvis.evidence.record import EvidenceRecord, PathRecord, StrangerRecord
from fvis.evidence.seeds import compare_seeds
from fvis.evidence.strangers import Strangers
from fvis.evidence.survey import PathReader
from fvis.evidence.verdict import judged
from fvis.grounding import Natural
from fvis.objectives import Target
from fvis.optimization import RunStage
from fvis.paths import expand
from fvis.record import DEAD
from fvis.schema import EVIDENCE_ASKED, EvidenceConfig, networks_of
from fvis.synthesis import Optimum, Synthesizer

STRONGEST = 9  # photographs whose way through the network is the unit's
FEWEST = 2 * STRONGEST  # photographs from which a way can be told

Gathered = tuple[EvidenceRecord | None, dict[str, Writer]]


class Evidence:
    """The evidence for the pictures of one layer's units.

    `natural` has the photographs' responses, where the config names photographs. Raises
    `RequestError` for what is asked of a network of clips, for networks that cannot be loaded, and
    for too few photographs.
    """

    def __init__(self, context: Context, synthesizer: Synthesizer, natural: Natural | None) -> None:
        self._settings = settings = context.config.evidence
        self._synthesizer, self._natural = synthesizer, natural
        self._images = context.model.preprocessing.frames is None
        _refuse_clips(context)
        self._embedding = None
        if settings.embedding is not None:
            seed = context.config.engine.seed
            self._embedding = load_embedding(settings.embedding, seed, context.device)
        self._observer = None
        if natural is not None and self._embedding is not None:
            self._observer = Observer(context, natural, self._embedding)
        self._strangers = Strangers(context) if settings.strangers else None
        self._path = _path_reader(context, synthesizer, natural)
        self._course = self._path.course(natural.files) if self._path and natural else None
        self.ascents = settings.seeds + settings.minimising
        self.inputs = _checkpoints(settings)

    def gather(
        self, jobs: Sequence[Target], optima: Sequence[Optimum], run: RunStage
    ) -> list[Gathered]:
        """For each job its record, if there is any evidence, and what writes its other pictures."""
        if not self._images:
            return [(None, {}) for _ in jobs]
        others = make_others(self._synthesizer, self._settings, jobs, run)
        paths = self._paths(jobs, optima)
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
            seeds=compare_seeds(optimum, others, self._embedding, among),
            strangers=strangers,
        )
        if record == EvidenceRecord():
            return None
        return judged(record, optimum.final, failed=optimum.status == DEAD)

    def _paths(self, jobs: Sequence[Target], optima: Sequence[Optimum]) -> list[PathRecord | None]:
        if self._path is None or self._course is None or self._natural is None:
            return [None] * len(jobs)
        columns = self._path.means(torch.stack([optimum.picture for optimum in optima]))
        order = self._natural.scores.argsort(dim=0, descending=True, stable=True)
        return [
            measure_path(
                self._course, [column[row] for column in columns], order[:STRONGEST, int(job.unit)]
            )
            for row, job in enumerate(jobs)
        ]


def _path_reader(
    context: Context, synthesizer: Synthesizer, natural: Natural | None
) -> PathReader | None:
    """What reads how pictures run through the network; None where there is no way to speak of."""
    config = context.config
    if natural is None or not config.evidence.path or config.target.output is not None:
        return None
    reader = PathReader(context, synthesizer)
    return reader if len(reader.layers) > 1 and len(natural.files) >= FEWEST else None


def _checkpoints(settings: EvidenceConfig) -> list[Path]:
    """The checkpoints of the networks that give evidence."""
    return [expand(one.checkpoint) for one in networks_of(settings) if one.checkpoint]


def _refuse_clips(context: Context) -> None:
    """Raise `RequestError` for evidence that is asked for of a network of clips."""
    asked = [name for name in EVIDENCE_ASKED if getattr(context.config.evidence, name)]
    if asked and context.model.preprocessing.frames is not None:
        raise RequestError(
            f"evidence.{asked[0]} needs a network of images; {context.model.name} takes clips"
        )
