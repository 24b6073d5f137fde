"""`method=texture_motion`: a 3D unit's optimal clip, decomposed into a texture and its motion.

Li & Li, "Feature Visualization in 3D Convolutional Neural Networks", 2025 (arXiv 2505.07387).
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fvis.context import Context
from fvis.errors import RequestError
from fvis.methods.base import METHODS, Result
from fvis.models.layers import LOGITS
from fvis.motion import decomposition
from fvis.motion.controls import motion_index, texture_index
from fvis.motion.examination import Candidates, Examination, See, examine
from fvis.motion.measures import mean_motion
from fvis.motion.pictures import Portrait, writers
from fvis.motion.search import MotionSearch
from fvis.motion.witnesses import NaturalTuning, contradiction, natural_tuning
from fvis.natural_clips import natural_clips, record_and_files
from fvis.objectives import Target
from fvis.optimization import RunStage
from fvis.record.motion import MotionRecord, TextureMotionRecord
from fvis.record.unit import DEAD, RESCUED
from fvis.schema import TextureMotionConfig
from fvis.synthesis import Optimum, Synthesizer

SMALLEST = 5  # px; in smaller frames no gradient can be told


@METHODS.register("texture_motion")
class TextureMotion:
    """Finds the optimal clip, decomposes it, and measures the response to texture and motion."""

    def __init__(self, context: Context) -> None:
        assert isinstance(context.config.method, TextureMotionConfig)
        _require_clips(context)
        _require_room(context.model.preprocessing.shape)
        _require_terms(context.model.preprocessing.shape, context.config.method.velocity.terms)
        self._context = context
        self._settings = context.config.method
        self._synthesizer = Synthesizer(context, context.config.method)
        # Again: a canvas may be smaller. (Networks refuse small inputs in words of their own.)
        _require_room(self._synthesizer.canvas.shape)
        self.search = MotionSearch(context, context.config.method, self._synthesizer)
        self._natural = self._natural_tuning()
        self._clips = natural_clips(context, self._synthesizer.targets, self._synthesizer.network())
        self.groups = self._synthesizer.targets.groups
        self.refused: Mapping[str, str] = {}
        witnesses = (self._natural, self._clips)
        self.inputs: Sequence[Path] = [
            *(file for some in witnesses if some for file in some.files),
            *self._synthesizer.inputs,
        ]
        self.share = self._synthesizer.canvas.share
        self.steps = self._synthesizer.steps + self._decomposition_steps()

    def solve(self, jobs: Sequence[Target], run: RunStage) -> list[Result]:
        """One `Result` per target, all targets of the batch decomposed together."""
        optima = self._synthesizer.optima(jobs, run)
        optimal = torch.stack([self._seen(optimum) for optimum in optima])
        candidates = self._decompose(jobs, optimal, run)
        found = self._examine(jobs, optimal, candidates)
        return [self._result(*row) for row in zip(jobs, optima, found, strict=True)]

    def _seen(self, optimum: Optimum) -> Tensor:
        """The part of a free clip (3, T, H, W) that was synthesised: the canvas."""
        return self._synthesizer.canvas.part(optimum.picture)

    def _shown(self) -> list[str]:
        """How much of the input the pictures show, where that is not all of it."""
        canvas = self._synthesizer.canvas
        return [f"{canvas.side} px of {canvas.frame[-2]}x{canvas.frame[-1]}"] if canvas.side else []

    def _natural_tuning(self) -> NaturalTuning | None:
        """The units' responses to drifting photographs; None if the config names none."""
        context, synthesizer = self._context, self._synthesizer
        if not context.config.grounding.images:
            return None
        return natural_tuning(
            context.config.grounding, context.model, synthesizer.targets, synthesizer.network()
        )

    def _decomposition_steps(self) -> int:
        fit = self._settings.fit
        if self._settings.solver == "tracking":
            frames = self._context.model.preprocessing.frames or 1
            return (frames - 1) * fit.frame_steps + fit.refine_steps
        return fit.joint_steps if self._settings.solver == "joint" else self.search.steps

    def _decompose(self, jobs: Sequence[Target], optimal: Tensor, run: RunStage) -> Candidates:
        settings = self._settings
        if settings.solver == "factored":
            return self.search.candidates(jobs, mean_motion(optimal), run, self._seeing, optimal)
        if settings.solver == "tracking":
            canvas = self._synthesizer.canvas
            # In sides of the input, for `track` in those of the canvas.
            margin = settings.margin * max(canvas.frame[-2:]) / max(canvas.shape[-2:])
            parts = decomposition.track(optimal, settings.fit, margin, run)
        else:
            generators = self._synthesizer.random_generators(jobs, "texture")
            parts = decomposition.fit_jointly(optimal, settings.fit, generators, run)
        return Candidates([parts], torch.zeros(1, len(jobs), device=optimal.device))

    def _examine(
        self, jobs: Sequence[Target], optimal: Tensor, candidates: Candidates
    ) -> list[Examination]:
        """What the network says of every row."""
        generators = self._synthesizer.random_generators(jobs, "controls")
        with self._seeing(jobs) as see:
            return examine(see, optimal, candidates, generators)

    @contextlib.contextmanager
    def _seeing(self, jobs: Sequence[Target]) -> Iterator[See]:
        """The context in which the network can be asked about clips of the jobs, on the canvas."""
        objective = self._synthesizer.canvas.targets.objective(jobs, self._context.device)
        with self._synthesizer.network() as network:

            def see(clips: Tensor) -> tuple[Tensor, Tensor | None]:
                outputs = network(clips)
                is_logit = objective.layers[0].path == LOGITS
                return objective.scores(outputs), outputs[0] if is_logit else None

            yield see

    def _result(self, job: Target, optimum: Optimum, found: Examination) -> Result:
        names, natural = self._context.model.class_name, None
        if optimum.status == DEAD and found.activations["reconstruction"] > 0:  # NaN is not
            optimum = dataclasses.replace(optimum, status=RESCUED)  # by the moving texture
        if self._natural is not None:
            assert isinstance(job.unit, int), "natural_tuning() accepts units only"
            told = found.motion.direction_deg
            natural = self._natural.of(
                job.unit, found.tuning.preferred_deg if told is None else told
            )
        clips, more = record_and_files(self._clips, job, optimum, self._context)
        record = self._synthesizer.record(
            TextureMotionRecord,
            job,
            optimum,
            solver=self._settings.solver,
            motion=_motion_record(found),
            tuning=found.tuning,
            natural=natural,
            natural_clips=clips,
            grey=found.grey,
            activations=found.activations,
            motion_index=motion_index(found.activations),
            texture_index=texture_index(found.activations),
            reconstruction_error=found.error,
            becomes={name: names(index) or index for name, index in found.classes.items()} or None,
        )
        if record.canvas is not None:  # the pictures are the canvas itself, and none is enlarged
            record = dataclasses.replace(record, canvas=dataclasses.replace(record.canvas, scale=1))
        called = [record.model, job.layer, record.called, record.class_name, *self._shown()]
        portrait = Portrait(
            title=", ".join(str(part) for part in called if part is not None),
            optimal=self._seen(optimum),
            parts=found.parts,
            importance=found.importance,
            activations=found.activations,
            tuning=found.tuning,
            natural=natural,
            direction_deg=found.motion.direction_deg,
            spread_deg=found.confidence["direction_deg"],
            axis_deg=found.motion.axis_deg,
            note=found.note or contradiction(natural),
        )
        return Result(job.name, record, writers(portrait, self._context.config.output) | more)


def _motion_record(found: Examination) -> MotionRecord:
    motion = found.motion
    return MotionRecord(
        velocity=motion.velocity,
        normal_velocity=motion.normal_velocity,
        speed=motion.speed,
        direction_deg=motion.direction_deg,
        confidence=dict(found.confidence),
        axis_deg=motion.axis_deg,
        divergence=motion.divergence,
        curl=motion.curl,
        kind=found.kind,
    )


def _require_clips(context: Context) -> None:
    frames = context.model.preprocessing.frames
    if frames is None:
        raise RequestError(
            f"method=texture_motion needs a network of clips; {context.model.name} takes images "
            "(for your own network of clips give model.input.frames)"
        )
    if frames < 2:
        raise RequestError(f"method=texture_motion needs clips of 2 frames or more, not {frames}")


def _require_room(shape: Sequence[int]) -> None:
    """Raise `RequestError` where clips (3, T, H, W) are too small for motion."""
    h, w = shape[-2:]
    if min(h, w) < SMALLEST:
        raise RequestError(
            f"method=texture_motion needs frames of {SMALLEST} px or more, not {h}x{w}"
        )


def _require_terms(shape: Sequence[int], terms: int) -> None:
    """Raise `RequestError` where clips (3, T, H, W) have less room than terms of a velocity."""
    h, w = shape[-2:]
    if terms > min(h, w):
        raise RequestError(
            f"method.velocity.terms={terms} must be at most {min(h, w)}: frames of {h}x{w} px have "
            "no more"
        )
