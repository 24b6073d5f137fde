"""The optimal pictures of targets: what every method that climbs an activation shares."""

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from fvis import regularizers
from fvis.ascent import Penalty, Trace, ascend
from fvis.capture import Network
from fvis.methods.base import Context, OnStep
from fvis.models.layers import LOGITS
from fvis.parametrizations import PARAMETRIZATIONS, Parametrization
from fvis.schema import ClimbingConfig, EngineConfig
from fvis.streams import stream
from fvis.targets import Target, resolve
from fvis.transforms import Transforms

# In units of the layer's own spread. A healthy unit rises by many spreads, or at least goes on
# moving; one on GELU's flat side creeps up from -0.1 to 0 and stays there: its picture is of what
# silences it, since left of GELU's dip the way up leads away from what the unit responds to.
LOW, FLAT = 1.0, 0.01

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Attempt:
    """One ascent of a batch: pictures as saved (8 bits), their scores, and the way there.

    `stuck` rows have a score that is not finite, or that has hardly risen and no longer moves, or
    that is a rectifier's and no more than its silence.
    """

    pictures: Tensor
    initial: Tensor
    final: Tensor
    traces: list[Points]
    stuck: list[bool]


@dataclass(frozen=True)
class Optimum:
    """One target's optimal picture (3, ...) as saved, its scores, and ok, rescued or dead."""

    picture: Tensor
    initial: float
    final: float
    trace: Points
    status: str


class Climber:
    """Climbs the scores of a run's targets, in batches."""

    def __init__(self, context: Context, settings: ClimbingConfig) -> None:
        self._context = context
        self._settings = settings
        config = context.config
        self.objective = resolve(config.target, context.model, config.engine.seed)

    @property
    def groups(self) -> list[list[Target]]:
        """The targets, the repeats of a unit together."""
        groups: dict[int, list[Target]] = {}
        for target in self.objective.targets:
            groups.setdefault(target.group, []).append(target)
        return list(groups.values())

    def optima(self, jobs: Sequence[Target], on_step: OnStep) -> list[Optimum]:
        """The config's own ascent of every target; a stuck one is tried once more."""
        first = self.attempt(jobs, self._start(jobs), on_step)
        best = [(first, row) for row in range(len(jobs))]
        stuck = [row for row, is_stuck in enumerate(first.stuck) if is_stuck]
        if stuck and self._settings.rescue:
            again = [jobs[row] for row in stuck]
            second = self.attempt(again, self._start(again), on_step, rescue=True)
            for place, row in enumerate(stuck):
                if not second.stuck[place]:
                    best[row] = (second, place)
        return [_optimum(attempt, row, rescued=attempt is not first) for attempt, row in best]

    def attempt(
        self,
        jobs: Sequence[Target],
        picture: Parametrization,
        on_step: OnStep,
        *,
        engine: EngineConfig | None = None,
        purpose: str = "transforms",
        rescue: bool = False,
    ) -> Attempt:
        """One ascent of `picture`, a row per job, as `engine` (the config's) paces it.

        `purpose` names the stream of the views' random numbers; `rescue` lets gradients leak
        through the nearest activation function.
        """
        context, config = self._context, self._context.config
        engine = engine or config.engine
        shape, device = context.model.preprocessing.shape, context.device
        draws = self.streams(jobs, purpose)
        views = Transforms(config.transforms, draws, engine.steps, shape, device)
        objective = self.objective
        weights = objective.weights(jobs, device)
        per_view = [weight.repeat_interleave(views.views, 0) for weight in weights]

        with self.network() as network:

            def score(rgb: Tensor) -> Tensor:
                return objective.scores(network(rgb), per_view)

            with torch.no_grad():
                start = network(picture.render())
            penalties = self._penalties(jobs, network)
            with network.leaking() if rescue else contextlib.nullcontext():
                trace = ascend(picture, score, views, penalties, engine, on_step)
            resting = network.rests_at_zero() and len(objective.layers) == 1
            with torch.no_grad():
                pictures = (picture.render() * 255).round() / 255
                final = objective.scores(network(pictures), weights)
        initial = objective.scores(start, weights)
        spread = objective.spread(start, weights)
        stuck = is_stuck(initial, final, trace, spread)
        if resting:
            positive = (weights[0] >= 0).all(1)
            stuck |= positive & (final <= FLAT * spread)
        return Attempt(pictures, initial, final, trace.rows(), stuck.tolist())

    def network(self) -> Network:
        """The context in which the model is frozen and read at the targets' layers."""
        context, output = self._context, self._context.config.target.output
        return Network(context.model, self.objective.layers, output, context.autocast)

    def streams(self, jobs: Sequence[Target], purpose: str) -> list[Generator]:
        """Each job's own random stream for a purpose."""
        seed, model = self._context.config.engine.seed, self._context.model.name
        return [stream(seed, model, job.layer, job.unit, job.repeat, purpose) for job in jobs]

    def metadata(self, job: Target, optimum: Optimum) -> dict[str, Any]:
        """What every unit's metadata says of its target and its ascent."""
        config, model = self._context.config, self._context.model
        metadata: dict[str, Any] = {
            "model": model.name,
            "layer": job.layer,
            "unit": job.unit,
            "repeat": job.repeat,
            "position": config.target.position,
            "method": config.method.name,
            "seed": config.engine.seed,
            "steps": config.engine.steps,
            "status": optimum.status,
            "activation": {
                "initial": optimum.initial,
                "final": optimum.final,
                "trace": optimum.trace,
            },
        }
        if job.layer == LOGITS and model.classes and isinstance(job.unit, int):
            metadata["class"] = dict(enumerate(model.classes)).get(job.unit)
        return metadata

    def _start(self, jobs: Sequence[Target]) -> Parametrization:
        settings = self._context.config.parametrization
        shape = self._context.model.preprocessing.shape
        build = PARAMETRIZATIONS[settings.name]
        return build(settings, self.streams(jobs, "start"), shape, self._context.device)

    def _penalties(self, jobs: Sequence[Target], network: Network) -> list[Penalty]:
        """The config's regularizers, and what drives the repeats of a unit apart."""
        config = self._context.config
        weights = dataclasses.asdict(self._settings.regularizers)
        penalties = [
            Penalty(weight, getattr(regularizers, name))
            for name, weight in weights.items()
            if weight
        ]
        groups = torch.tensor([job.group for job in jobs], device=self._context.device)
        if config.target.repeats > 1 and config.target.diversity:
            layer = self.objective.layers[0]
            assert layer.channel_dim is not None, "resolve() refuses unknown channel axes"
            dim = layer.channel_dim

            def alike(rgb: Tensor) -> Tensor:
                values = network(rgb)[0].movedim(dim, 1)
                return regularizers.similarity(regularizers.style(values), groups)

            penalties.append(Penalty(config.target.diversity, alike))
        return penalties


def is_stuck(initial: Tensor, final: Tensor, trace: Trace, spread: Tensor) -> Tensor:
    """Which rows (B,) are not finite, or have hardly risen by their `spread` and no longer move."""
    late = torch.stack(trace.scores[-max(2, len(trace.scores) // 2) :])
    moving = late.amax(0) - late.amin(0) > FLAT * spread
    risen = final - initial > LOW * spread
    return ~(final.isfinite() & (moving | risen))


def _optimum(attempt: Attempt, row: int, *, rescued: bool) -> Optimum:
    status = "dead" if attempt.stuck[row] else "rescued" if rescued else "ok"
    initial, final = attempt.initial[row].item(), attempt.final[row].item()
    return Optimum(attempt.pictures[row], initial, final, attempt.traces[row], status)
