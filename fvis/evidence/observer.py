"""The machine observer: can another network tell by a unit's pictures what excites the unit?

Zimmermann, Klindt & Brendel 2024, "Measuring per-unit interpretability at scale without humans",
with the tasks of Borowski et al. 2021 (`tasks`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fvis import photographs
from fvis.context import Context
from fvis.errors import RequestError
from fvis.evidence.embedding import Embedding
from fvis.evidence.others import Others, stacked
from fvis.evidence.record import ObserverRecord, TaskRecord
from fvis.evidence.survey import embedded
from fvis.evidence.tasks import Explanation, make_tasks, observe
from fvis.grounding import Natural
from fvis.synthesis import Optimum


class Observer:
    """Solves the tasks of a layer's units, with photographs and with optimal pictures.

    Raises `RequestError` where there are too few photographs for a single task.
    """

    def __init__(self, context: Context, natural: Natural, embedding: Embedding) -> None:
        self._settings, self._natural, self._embedding = context.config.evidence, natural, embedding
        references, count = self._settings.references, len(natural.files)
        fewest = 2 * (references + 1)
        if count < fewest:
            raise RequestError(
                f"evidence.embedding needs {fewest} photographs or more, for {references} "
                f"references on each side of a task; grounding.images has {count}"
            )
        self._photographs = embedded(context, natural.files, embedding)
        self.similarities = self._photographs @ self._photographs.T

    def observe(self, unit: int, optimum: Optimum, others: Others) -> ObserverRecord:
        """How the observer does with a unit's picture and the others made for it."""
        scores = self._natural.scores[:, unit]
        sides = map(self._similar, ([optimum, *others.seeds], others.minimising))
        asked = (scores, self._settings.tasks, self._settings.references, self.similarities)
        natural, synthetic = observe(*asked), observe(*asked, Explanation(*sides))
        assert natural.accuracy is not None, "there is a task"
        assert synthetic.accuracy is not None, "there is a task"
        return ObserverRecord(
            embedding=self._embedding.name,
            natural=natural,
            synthetic=synthetic,
            gap=natural.accuracy - synthetic.accuracy,
            tasks=self._tasks(scores),
        )

    def _similar(self, optima: Sequence[Optimum]) -> Tensor:
        """How alike each photograph and each picture are, (N, K)."""
        if not optima:
            return torch.zeros(len(self._photographs), 0)
        return self._photographs @ self._embedding(stacked(optima)).T

    def _tasks(self, scores: Tensor) -> list[TaskRecord]:
        names = [photographs.shown(file) for file in self._natural.files]
        made = make_tasks(scores, self._settings.tasks, self._settings.references)
        columns = (made.strong, made.weak, made.strong_references, made.weak_references)
        return [
            TaskRecord(names[s], names[w], [names[i] for i in more], [names[i] for i in less])
            for s, w, more, less in zip(*(column.tolist() for column in columns), strict=True)
        ]
