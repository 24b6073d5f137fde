"""Networks that share a picture: it climbs the same class of all of them at once."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvis import layout
from fvis.ascent import Views, climbing
from fvis.context import Context
from fvis.models.base import Model
from fvis.objectives import Target
from fvis.objectives.classes import class_score_of
from fvis.paths import expand
from fvis.perturbation.classifier import (
    Classifier,
    load_classifiers,
    refuse_other_classes,
    refuse_other_inputs,
)
from fvis.schema import TargetConfig, parse_models
from fvis.typed_json import Number

SETTING = "target.ensemble"


@dataclass(frozen=True)
class Member:
    """What moves pictures towards one network's classes `units` (B,), at length 1 in each row."""

    values: Callable[[Tensor], Tensor]
    score: str
    views: Views
    units: Tensor

    def gradient(self, rgb: Tensor, step: int) -> Tensor:
        """The gradient (B, 3, ...) of the classes' scores, means over the views, downhill."""
        _, uphill = climbing(self._scores, self.views, rgb, step)
        return -uphill

    def _scores(self, rgb: Tensor) -> Tensor:
        units = self.units.repeat_interleave(self.views.views)
        return class_score_of(self.score, self.values(rgb), units)


class Ensemble:
    """The networks of `target.ensemble`, which share pictures with the one that is visualized.

    Each counts as much as that one: the gradients of all have the same length in each row, however
    large a network's logits are. Raises `RequestError` for a network without one of its classes.
    """

    def __init__(self, context: Context) -> None:
        configs = parse_models(context.config.target.ensemble, SETTING)
        engine, model = context.config.engine, context.model
        self.inputs: Sequence[Path] = [expand(c.checkpoint) for c in configs if c.checkpoint]
        self._device = context.device
        self._score = context.config.target.score
        if not configs:
            self._own, self._others = None, dict[str, Classifier]()
            return
        self._own = Classifier(model, TargetConfig(), context.autocast)
        self._others = load_classifiers(
            configs, engine.seed, context.device, context.autocast, taken=[model.name]
        )
        for other in self._others.values():
            refuse_other_inputs(other.model, model, SETTING)
            refuse_other_classes(other, self._own, SETTING)
            layout.arrange(other.model, engine.channels_last, context.device)
            other.prepare_gradient(fold=engine.fold == "auto")

    @property
    def models(self) -> list[Model]:
        """The further networks themselves."""
        return [other.model for other in self._others.values()]

    @contextlib.contextmanager
    def opened(self, jobs: Sequence[Target], views: Views) -> Iterator[list[Member]]:
        """What moves a batch's pictures towards the classes of the further networks."""
        with contextlib.ExitStack() as stack:
            yield [
                Member(
                    stack.enter_context(other.opened()),
                    self._score,
                    views,
                    self._units(jobs, other),
                )
                for other in self._others.values()
            ]

    def finals(self, jobs: Sequence[Target], pictures: Tensor) -> list[dict[str, Number]]:
        """The score of each job's class for its saved picture (B, 3, ...), by network."""
        found: list[dict[str, Number]] = [{} for _ in jobs]
        for name, other in self._others.items():
            units = self._units(jobs, other)
            scores = class_score_of(self._score, other.values(pictures), units)
            for row, score in zip(found, scores.tolist(), strict=True):
                row[name] = score
        return found

    def _units(self, jobs: Sequence[Target], other: Classifier) -> Tensor:
        """The jobs' classes (B,) by the number that another network gives them."""
        assert self._own is not None, "there is no other network"
        units = [other.counterpart(int(job.unit), self._own) for job in jobs]
        return torch.tensor(units, device=self._device)
