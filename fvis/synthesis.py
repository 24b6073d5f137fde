"""Optimal pictures of targets: what every method that maximises activations shares."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from fvis import photographs, regularizers, rescue
from fvis.ascent import Ascent, Penalty
from fvis.canvas import Canvas, find_canvas
from fvis.capture import Network, changes_in_place, pairs_to_fold
from fvis.context import Context
from fvis.models.layers import LOGITS, Layer
from fvis.objectives import Target, TargetSet, resolve
from fvis.optimization import RunStage
from fvis.parametrizations import PARAMETRIZATIONS, Parametrization
from fvis.randomness import random_generator
from fvis.record import (
    DEAD,
    OK,
    RESCUED,
    ActivationRecord,
    DictionaryRecord,
    UnitRecord,
)  # fmt: skip
from fvis.responsiveness import check_responsive
from fvis.schema import AscentConfig, EngineConfig, SynthesisConfig, start_of
from fvis.transforms import Transforms

Points = list[tuple[int, float]]
R = TypeVar("R", bound=UnitRecord)


@dataclass(frozen=True)
class Attempt:
    """One ascent of a batch: the pictures as saved (8 bits), their scores, and the way there.

    The pictures are whole inputs of the network, whatever the canvas, and so scored.
    `stuck` rows were not woken: see `rescue.stuck_rows` and `rescue.resting_rows`.
    """

    pictures: Tensor
    initial: Tensor
    final: Tensor
    traces: list[Points]
    stuck: list[bool]


@dataclass(frozen=True)
class Optimum:
    """One target's optimal picture (3, ...) as saved, its scores, and ok, rescued or dead.

    `motif` (3, h, h) is the part of the picture that the unit sees, enlarged, where that is less
    than the whole picture.
    """

    picture: Tensor
    initial: float
    final: float
    trace: Points
    status: str
    motif: Tensor | None = None


def start(
    context: Context,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    photographs: Tensor | None = None,
) -> Parametrization:
    """The config's parametrization of pictures of `shape`, which may start as photographs.

    Row b is drawn by generator b, or starts as row b of `photographs` (B, 3, H, W).
    """
    settings = context.config.parametrization
    build = PARAMETRIZATIONS[settings.name]
    if photographs is None:  # a parametrization of another package need not take them
        return build(settings, generators, shape, context.device)
    return build(settings, generators, shape, context.device, photographs)


def opener(context: Context, layers: Sequence[Layer]) -> Callable[[], Network]:
    """Makes the context in which the model is frozen and read at `layers`, again and again."""
    config, model = context.config, context.model
    output = config.target.output
    functional = changes_in_place(model, layers, output)
    folds = config.engine.fold == "auto" and not functional
    pairs = pairs_to_fold(model, layers, output) if folds else []
    return functools.partial(Network, model, layers, output, context.autocast, functional, pairs)


def penalties_of(settings: AscentConfig) -> list[Penalty]:
    """The config's regularizers."""
    weights = dataclasses.asdict(settings.regularizers)
    return [
        Penalty(weight, getattr(regularizers, name)) for name, weight in weights.items() if weight
    ]


def unit_record(
    kind: type[R], context: Context, targets: TargetSet, job: Target, optimum: Optimum, **more: Any
) -> R:
    """The record of a target and its ascent, with what the method adds."""
    config, model = context.config, context.model
    dictionary = targets.readers[0].dictionary
    named = isinstance(job.unit, int) and job.layer == LOGITS and dictionary is None
    return kind(
        model=model.name,
        layer=job.layer,
        unit=job.unit,
        repeat=job.repeat,
        position=config.target.position,
        method=config.method.name,
        seed=config.engine.seed,
        steps=config.engine.steps,
        status=optimum.status,
        activation=ActivationRecord(optimum.initial, optimum.final, [*optimum.trace]),
        class_name=model.class_name(int(job.unit)) if named else None,
        dictionary=None
        if dictionary is None
        else DictionaryRecord(dictionary.file, dictionary.sha256, dictionary.read),
        concept=job.concept,
        **more,
    )


class Synthesizer:
    """Maximises the scores of a run's targets, in batches."""

    def __init__(self, context: Context, settings: SynthesisConfig) -> None:
        self._context = context
        self._settings = settings
        config = context.config
        self.targets = resolve(config.target, context.model, config.engine.seed, context.layers)
        self._open = opener(context, self.targets.layers)
        photograph = start_of(config)
        self._photograph = (
            None
            if photograph is None
            else photographs.load_asked(photograph, context.model, "parametrization.start")
        )
        check_responsive(self.network())
        self._nearest: list[rescue.NearestActivation | None] = []  # empty until it is looked for

    def optima(self, jobs: Sequence[Target], run: RunStage) -> list[Optimum]:
        """The optimal picture of every target; a stuck one gets a second attempt."""
        first = self.attempt(jobs, self._start(jobs), "optimal", run)
        best = [(first, row) for row in range(len(jobs))]
        stuck = [row for row, is_stuck in enumerate(first.stuck) if is_stuck]
        if stuck and self._settings.rescue:
            again = [jobs[row] for row in stuck]
            second = self.attempt(again, self._start(again), "rescue", run, leaking=True)
            for place, row in enumerate(stuck):
                if not second.stuck[place]:
                    best[row] = (second, place)
        return [self._optimum(attempt, row, rescued=attempt is not first) for attempt, row in best]

    def attempt(
        self,
        jobs: Sequence[Target],
        picture: Parametrization,
        stage: str,
        run: RunStage,
        *,
        engine: EngineConfig | None = None,
        purpose: str = "transforms",
        leaking: bool = False,
    ) -> Attempt:
        """One ascent of `picture`, with a row per job; `run` runs it under the name `stage`.

        `engine` replaces the config's steps and learning rate. `purpose` names the random numbers
        of the views. With `leaking`, the activation function nearest to the layer leaks gradient.
        """
        context, config = self._context, self._context.config
        engine = engine or config.engine
        area, device = self.canvas, context.device
        generators = self.random_generators(jobs, purpose)
        views = Transforms(
            area.transforms(config.transforms),
            generators,
            engine.steps,
            area.shape,
            device,
            periodic=area.periodic,
        )
        objective = self.targets.objective(jobs, device)
        of_views = area.targets.objective(jobs, device, views.views)
        with self.network() as network:

            def score(rgb: Tensor) -> Tensor:
                return of_views.scores(network(rgb))

            with torch.no_grad():
                start = network(area.framed(picture.render()))
            nearest = self._nearest_activation(network)
            leak = nearest.leaking() if leaking and nearest else contextlib.nullcontext()
            ascent = Ascent(picture, score, views, self._penalties(jobs, network), engine)
            with leak:
                run(stage, ascent)
            with torch.no_grad():
                pictures = area.framed((picture.render() * 255).round() / 255)
                final = objective.scores(network(pictures))
        initial = objective.scores(start)
        spread = rescue.spread(objective, start)
        stuck = rescue.stuck_rows(initial, final, ascent.trace, spread)
        if nearest and nearest.rests_at_zero and len(objective.layers) == 1:
            stuck |= rescue.resting_rows(objective, final, spread)
        return Attempt(pictures, initial, final, ascent.trace.rows(), stuck.tolist())

    @functools.cached_property
    def canvas(self) -> Canvas:
        """What the ascents synthesise of the network's input."""
        wanted = self._context.config.engine.canvas if self._photograph is None else "full"
        return find_canvas(self.targets, self.network(), wanted)

    def network(self) -> Network:
        """The context in which the model is frozen and read at the targets' layers."""
        return self._open()

    def _nearest_activation(self, network: Network) -> rescue.NearestActivation | None:
        """The activation function nearest to the layer, found once."""
        if not self._nearest:
            self._nearest = [rescue.nearest_activation(network)]
        return self._nearest[0]

    def random_generators(self, jobs: Sequence[Target], purpose: str) -> list[Generator]:
        """Each job's own random generator for a purpose."""
        seed, model = self._context.config.engine.seed, self._context.model.name
        return [
            random_generator(seed, model, job.layer, job.unit, job.repeat, purpose) for job in jobs
        ]

    def record(self, kind: type[R], job: Target, optimum: Optimum, **more: Any) -> R:
        """The record of a target and its ascent, with what the method adds."""
        more["canvas"] = self.canvas.record
        return unit_record(kind, self._context, self.targets, job, optimum, **more)

    def _start(self, jobs: Sequence[Target]) -> Parametrization:
        generators = self.random_generators(jobs, "start")
        rgb = self._photograph
        many = None if rgb is None else rgb.expand(len(jobs), -1, -1, -1)
        return start(self._context, generators, self.canvas.shape, many)

    def _penalties(self, jobs: Sequence[Target], network: Network) -> list[Penalty]:
        """The config's regularizers, and what drives the repeats of a unit apart."""
        config = self._context.config
        penalties = penalties_of(self._settings)
        groups = torch.tensor([job.group for job in jobs], device=self._context.device)
        if config.target.repeats > 1 and config.target.diversity:
            layer = self.targets.layers[0]
            assert layer.channel_dim is not None, "resolve() refuses unknown channel axes"
            dim = layer.channel_dim

            def similarity(rgb: Tensor) -> Tensor:
                values = network(rgb)[0].movedim(dim, 1)
                return regularizers.group_similarity(regularizers.style(values), groups)

            penalties.append(Penalty(config.target.diversity, similarity))
        return penalties

    def _optimum(self, attempt: Attempt, row: int, *, rescued: bool) -> Optimum:
        status = DEAD if attempt.stuck[row] else RESCUED if rescued else OK
        initial, final = attempt.initial[row].item(), attempt.final[row].item()
        picture, trace = attempt.pictures[row], attempt.traces[row]
        return Optimum(picture, initial, final, trace, status, self.canvas.motif(picture))
