"""Optimal pictures of targets: what every method that maximises activations shares."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from fvis import photographs, regularizers, rescue
from fvis.ascent import Ascent, Penalty, Pull, Views, penalties_of
from fvis.canvas import Canvas, find_canvas
from fvis.capture import Network, bytes_kept
from fvis.coarse import CoarseViews, coarse_shape
from fvis.context import Context
from fvis.ensemble import Ensemble
from fvis.memory import FLOAT
from fvis.models.base import Model
from fvis.models.layers import LOGITS, Layer
from fvis.objectives import Target, TargetSet, resolve
from fvis.objectives.classes import VALUE
from fvis.optimization import RunStage
from fvis.parametrizations import PARAMETRIZATIONS, Parametrization
from fvis.priors import Prior
from fvis.randomness import random_generator
from fvis.record.unit import (
    DEAD,
    OK,
    RESCUED,
    ActivationRecord,
    DictionaryRecord,
    PriorRecord,
    UnitRecord,
)
from fvis.responsiveness import check_responsive
from fvis.schema import (
    ComparedPriorConfig,
    EngineConfig,
    SynthesisConfig,
    start_of,
)
from fvis.transforms import Transforms
from fvis.typed_json import Number

Points = list[tuple[int, float]]
R = TypeVar("R", bound=UnitRecord)

# Pictures' sizes that a step takes for each view: parameters and moments, the view, its noise, grid
# and gradient, and what their passes keep.
VIEW_TENSORS = 24
PASSING = 3  # of a network's largest tensors are there at once when whole inputs are scored


@dataclass(frozen=True)
class Attempt:
    """One ascent of a batch: the pictures as saved (8 bits), their scores, and the way there.

    The pictures are whole inputs of the network, whatever the canvas, and so scored. `unwoken` says
    which are the rows of `rescue.unwoken_rows`, or have not moved at all. `shared` has the final
    scores by each further network of an ensemble.
    """

    pictures: Tensor
    initial: Tensor
    final: Tensor
    traces: list[Points]
    unwoken: list[bool]
    shared: list[dict[str, Number]]


@dataclass(frozen=True)
class Optimum:
    """One target's optimal picture (3, ...) as saved, its activations, and ok, rescued or dead.

    `motif` (3, h, h) is the part of the picture that the unit sees, enlarged, where that is less
    than the whole picture. `without` is the final activation of that made without the prior.
    `shared` has the final score by each further network of an ensemble.
    """

    picture: Tensor
    initial: float
    final: float
    trace: Points
    status: str
    motif: Tensor | None = None
    without: float | None = None
    shared: dict[str, Number] = field(default_factory=dict)


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
        sign=None if job.sign > 0 else job.sign,
        position=config.target.position,
        score=None if targets.score == VALUE else targets.score,
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


def as_saved(rgb: Tensor) -> Tensor:
    """Values in [0, 1] as they are read back from a file of 8 bits."""
    return (rgb * 255).round() / 255


class Synthesizer:
    """Maximises the scores of a run's targets, in batches."""

    def __init__(self, context: Context, settings: SynthesisConfig) -> None:
        self._context = context
        self._settings = settings
        config = context.config
        self.targets = resolve(config.target, context.model, config.engine.seed, context.layers)
        self._open = context.opener(self.targets.layers)
        self.prior = self._facing(context.prior)
        watched = self.prior.layers if self.prior else ()
        self._watch = context.opener([*watched, *self.targets.layers]) if watched else self._open
        photograph = start_of(config)
        self._photograph = (
            None
            if photograph is None
            else photographs.load_asked(photograph, context.model, "parametrization.start")
        )
        self._ensemble = Ensemble(context)
        check_responsive(self.network())
        self._coarse = coarse_shape(self.canvas, self.network(), config.transforms.coarse)

    def _facing(self, prior: Prior | None) -> Prior | None:
        """The prior as it holds the pictures of these targets."""
        if prior is None:
            return None

        def opened(layers: Sequence[Layer]) -> Network:
            return context.opener(layers)()

        context = self._context
        return prior.facing(context.model, self.targets, opened, context.config.grounding)

    @property
    def steps(self) -> int:
        """Optimization steps per target: of the picture, and of that without the prior."""
        return self._context.config.engine.steps * (2 if self._compares else 1)

    @property
    def inputs(self) -> Sequence[Path]:
        """Files that the pictures depend on, besides the model's own."""
        return [*(self.prior.files if self.prior else ()), *self._ensemble.inputs]

    @property
    def climbed(self) -> list[Model]:
        """The networks whose scores pictures climb."""
        return [self._context.model, *self._ensemble.models]

    @property
    def _compares(self) -> bool:
        settings = self._context.config.prior
        return isinstance(settings, ComparedPriorConfig) and settings.compare

    def optima(self, jobs: Sequence[Target], run: RunStage) -> list[Optimum]:
        """The optimal picture of every target, with the config's prior, if any.

        Where the prior's effect is to be told, it is also made without.
        """
        made = self.best(jobs, run)
        if not self._compares:
            return made
        bare = self.best(jobs, run, bare=True)
        pairs = zip(made, bare, strict=True)
        return [dataclasses.replace(one, without=other.final) for one, other in pairs]

    def best(self, jobs: Sequence[Target], run: RunStage, *, bare: bool = False) -> list[Optimum]:
        """The optimal picture of every target; one not woken gets a second attempt.

        With `bare`, it is made without the config's prior.
        """
        prior, stages = (None, "without the prior: ") if bare else (self.prior, "")
        first = self.attempt(jobs, self._start(jobs, prior), f"{stages}optimal", run, prior=prior)
        made = [{OK: (first, row)} for row in range(len(jobs))]
        asleep = [row for row, is_asleep in enumerate(first.unwoken) if is_asleep]
        if asleep and self._settings.rescue:
            groups = {jobs[row].group for row in asleep}  # from which repeats are to differ
            rows = [row for row, job in enumerate(jobs) if job.group in groups]
            again = [jobs[row] for row in rows]
            start = self._start(again, prior)
            second = self.attempt(again, start, f"{stages}rescue", run, leaking=True, prior=prior)
            for place, row in enumerate(rows):
                if row in asleep:
                    made[row][RESCUED] = (second, place)
        verdicts = [
            next((word for word, (attempt, row) in each.items() if not attempt.unwoken[row]), "")
            for each in made
        ]
        doubted = [row for row, status in enumerate(verdicts) if not status]
        if doubted:  # by the spread among the layer's units; their own answers to noise decide
            noise = self._noise_scores([jobs[row] for row in doubted])
            for row, scores in zip(doubted, noise.unbind(1), strict=True):
                verdicts[row] = self._above_noise(made[row], scores)
        return [
            self._optimum(made[row].get(status, made[row][OK]), jobs[row].sign, status)
            for row, status in enumerate(verdicts)
        ]

    def _above_noise(self, made: Mapping[str, tuple[Attempt, int]], noise: Tensor) -> str:
        """The status of the first of a row's attempts that is above noise (K scores), else dead."""
        nearest = self._nearest
        rests = nearest is not None and nearest.rests_at_zero
        for status, (attempt, row) in made.items():
            initial, final = attempt.initial[row], attempt.final[row]
            if rescue.above_noise(initial, final, noise, rests_at_zero=rests):
                return status
        return DEAD

    def _noise_scores(self, jobs: Sequence[Target]) -> Tensor:
        """The scores (K, B) of each job's unit for the same K pictures of noise."""
        objective, shape = self.targets.objective(jobs, self._context.device), self.canvas.frame
        scores = []
        with self.network() as network, torch.no_grad():
            for rgb in rescue.noise_pictures(shape):
                outputs = network(rgb.to(self._context.device))
                # Repeated, not expanded: a picture may have several rows, one for each window, say.
                many = [each.repeat(len(jobs), *[1] * (each.dim() - 1)) for each in outputs]
                scores.append(objective.scores(many))
        return torch.stack(scores)

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
        prior: Prior | None = None,
    ) -> Attempt:
        """One ascent of `picture`, with a row per job; `run` runs it under the name `stage`.

        `engine` replaces the config's steps and learning rate. `purpose` names the random numbers
        of the views. With `leaking`, the activation function nearest to the layer leaks gradient.
        `prior` holds the picture natural.
        """
        context, config = self._context, self._context.config
        area, device = self.canvas, context.device
        engine = engine or area.engine(config)
        views = self._views(jobs, purpose, engine.steps)
        objective = self.targets.objective(jobs, device)
        of_views = area.targets.objective(jobs, device, views.views)
        nearest = self._nearest
        watched, seen = len(prior.layers) if prior else 0, list[Tensor]()
        with (
            self._watch() if prior else self.network() as network,
            self._ensemble.opened(jobs, views) as members,
        ):

            def read(rgb: Tensor) -> list[Tensor]:
                return network(rgb)[watched:]

            def score(rgb: Tensor) -> Tensor:
                outputs = network(rgb)
                seen[:] = outputs[:watched]
                return of_views.scores(outputs[watched:])

            with torch.no_grad():
                first = picture.render()
                start, first = read(area.framed(first)), as_saved(first)
            leak = nearest.leaking() if leaking and nearest else contextlib.nullcontext()
            climb = functools.partial(prior.ascent, seen=seen) if prior else Ascent
            pulls = [*members, *self._penalties(jobs, read)]
            ascent = climb(picture, score, views, pulls, engine)
            if any(job.sign < 0 for job in jobs):
                ascent.quantity = "minus activation"
            with leak:
                run(stage, ascent)
            with torch.no_grad():
                last = as_saved(picture.render())
                pictures = area.framed(last)
                final = objective.scores(read(pictures))
            unmoved = (last == first).flatten(1).all(1)  # no gradient, or none that is finite
            names = [job.name for job in jobs]
            rescue.warn_of_lost(names, unmoved, last, lambda rgb: score(views(rgb, 0)))
        shared = self._ensemble.finals(jobs, pictures)
        unwoken = unmoved | rescue.unwoken_rows(objective, start, final, ascent.trace, nearest)
        initial = objective.scores(start)
        return Attempt(pictures, initial, final, ascent.trace.rows(), unwoken.tolist(), shared)

    def _views(self, jobs: Sequence[Target], purpose: str, steps: int) -> Views:
        """The random views of each job's picture, on the canvas."""
        area, settings = self.canvas, self._context.config.transforms
        views = Transforms(
            area.transforms(settings),
            self.random_generators(jobs, purpose),
            steps,
            area.shape,
            self._context.device,
            periodic=area.periodic,
        )
        if self._coarse is None:
            return views
        return CoarseViews(views, self._coarse, round(settings.coarse_steps * steps))

    @functools.cached_property
    def canvas(self) -> Canvas:
        """What the ascents synthesise of the network's input."""
        whole = self._photograph is not None or (self.prior is not None and self.prior.whole)
        wanted = "full" if whole else self._context.config.engine.canvas
        return find_canvas(self.targets, self.network(), wanted)

    @functools.cached_property
    def row_bytes(self) -> int:
        """The bytes of memory that the ascent of one picture takes, about: measured in one pass.

        Those of a prior or of an ensemble's further networks are left out.
        """
        area, views = self.canvas, self._context.config.transforms.views
        kept, largest = bytes_kept(self.network(), area.shape)
        seen = kept + VIEW_TENSORS * FLOAT * math.prod(area.shape)
        return seen * views + round(PASSING * largest / area.share)

    def network(self) -> Network:
        """The context in which the model is frozen and read at the targets' layers."""
        return self._open()

    @functools.cached_property
    def _nearest(self) -> rescue.NearestActivation | None:
        """The activation function nearest to the layer."""
        with self.network() as network:
            return rescue.nearest_activation(network)

    def random_generators(self, jobs: Sequence[Target], purpose: str) -> list[Generator]:
        """Each job's own random generator for a purpose."""
        seed, model = self._context.config.engine.seed, self._context.model.name
        return [
            random_generator(seed, model, job.layer, job.unit, job.repeat, purpose) for job in jobs
        ]

    def record(self, kind: type[R], job: Target, optimum: Optimum, **more: Any) -> R:
        """The record of a target and its ascent, with what the method adds."""
        more["canvas"], more["prior"] = self.canvas.record, self._prior_record(optimum)
        more["ensemble"] = optimum.shared or None
        return unit_record(kind, self._context, self.targets, job, optimum, **more)

    def _prior_record(self, optimum: Optimum) -> PriorRecord | None:
        if self.prior is None:
            return None
        activation = {"with": optimum.final, "without": optimum.without}
        return PriorRecord(self._context.config.prior.name, self.prior.weights, activation)

    def _start(self, jobs: Sequence[Target], prior: Prior | None) -> Parametrization:
        generators = self.random_generators(jobs, "start")
        if prior and prior.draws:
            return prior.start(generators, self.canvas.shape, self._context.device)
        rgb = self._photograph
        many = None if rgb is None else rgb.expand(len(jobs), -1, -1, -1)
        return start(self._context, generators, self.canvas.shape, many)

    def _penalties(
        self, jobs: Sequence[Target], read: Callable[[Tensor], list[Tensor]]
    ) -> list[Pull]:
        """The config's regularizers, and what drives the repeats of a unit apart.

        `read` gives what the targets' layers return for pictures.
        """
        config = self._context.config
        penalties: list[Pull] = [*penalties_of(self._settings)]
        groups = torch.tensor([job.group for job in jobs], device=self._context.device)
        if config.target.repeats > 1 and config.target.diversity:
            layer = self.targets.layers[0]
            assert layer.channel_dim is not None, "resolve() refuses unknown channel axes"
            dim = layer.channel_dim

            def similarity(rgb: Tensor) -> Tensor:
                values = read(rgb)[0].movedim(dim, 1)
                return regularizers.group_similarity(regularizers.style(values), groups)

            penalties.append(Penalty(config.target.diversity, similarity, yields=True))
        return penalties

    def _optimum(self, made: tuple[Attempt, int], sign: int, status: str) -> Optimum:
        """A row of an attempt; the activation is `sign` times the score."""
        attempt, row = made
        initial, final = (sign * scores[row].item() for scores in (attempt.initial, attempt.final))
        picture = attempt.pictures[row]
        trace = [(step, sign * score) for step, score in attempt.traces[row]]
        motif, shared = self.canvas.motif(picture), attempt.shared[row]
        return Optimum(picture, initial, final, trace, status, motif, shared=shared)
