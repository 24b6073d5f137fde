"""`method=texture_motion`: a 3D unit's optimal clip, decomposed into a texture and its motion.

Li & Li, "Feature Visualization in 3D Convolutional Neural Networks", 2025 (arXiv 2505.07387).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvis.context import Context
from fvis.errors import RequestError
from fvis.methods.base import METHODS, Result
from fvis.models.layers import LOGITS
from fvis.motion import decomposition, factored
from fvis.motion.controls import controls, motion_index, texture_index
from fvis.motion.decomposition import Decomposition
from fvis.motion.factored import STARTS, Factored, starting_velocities
from fvis.motion.kinds import MOVING, NOTES, kind_of
from fvis.motion.measures import Motion, mean_motion, measure
from fvis.motion.pictures import Portrait, writers
from fvis.objectives import Target
from fvis.optimization import RunStage
from fvis.record import MotionRecord, TextureMotionRecord
from fvis.schema import TextureMotionConfig
from fvis.synthesis import Attempt, Optimum, Synthesizer


@dataclass(frozen=True)
class Responses:
    """The network's responses to the optimal clip and its controls, by the names of these clips.

    `activations` are fractions of the optimal clip's activation. `classes` are the classes that the
    clips are taken for; empty unless the target is a logit.
    """

    activations: dict[str, float]
    classes: dict[str, int]


@dataclass(frozen=True)
class Finding:
    """All results for one unit; `importance` (T, H, W) is |da/dV| at the reconstruction."""

    optimum: Optimum
    parts: Decomposition
    error: float
    responses: Responses
    importance: Tensor
    motion: Motion


@METHODS.register("texture_motion")
class TextureMotion:
    """Finds the optimal clip, decomposes it, and measures the response to texture and motion."""

    def __init__(self, context: Context) -> None:
        assert isinstance(context.config.method, TextureMotionConfig)
        _require_clips(context)
        self._context = context
        self._settings = context.config.method
        self._synthesizer = Synthesizer(context, context.config.method)
        self.groups = self._synthesizer.targets.groups
        self.refused: Mapping[str, str] = {}
        self.inputs: Sequence[Path] = ()
        self.steps = context.config.engine.steps + self._decomposition_steps()

    def solve(self, jobs: Sequence[Target], run: RunStage) -> list[Result]:
        """One `Result` per target, all targets of the batch decomposed together."""
        optima = self._synthesizer.optima(jobs, run)
        optimal = torch.stack([optimum.picture for optimum in optima])
        parts = self._decompose(jobs, optimal, run)
        clip = parts.render()
        responses, importance = self._ask(jobs, optimal, parts)
        motions = measure(clip, parts.displacement, importance)
        errors = (clip - optimal).square().flatten(1).mean(1).sqrt().tolist()
        columns = (optima, parts.rows(), errors, responses, importance, motions)
        findings = (Finding(*row) for row in zip(*columns, strict=True))
        return [self._result(*pair) for pair in zip(jobs, findings, strict=True)]

    def _decomposition_steps(self) -> int:
        settings, fit = self._settings, self._settings.fit
        if settings.solver == "tracking":
            frames = self._context.model.preprocessing.frames or 1
            return (frames - 1) * fit.frame_steps + fit.refine_steps
        if settings.solver == "joint":
            return fit.joint_steps
        return settings.steps + STARTS * settings.pilot_steps

    def _decompose(self, jobs: Sequence[Target], optimal: Tensor, run: RunStage) -> Decomposition:
        settings, synthesizer = self._settings, self._synthesizer
        if settings.solver == "tracking":
            return decomposition.track(optimal, settings.fit, settings.margin, run)
        if settings.solver == "joint":
            generators = synthesizer.random_generators(jobs, "texture")
            return decomposition.fit_jointly(optimal, settings.fit, generators, run)
        return self._factored_ascent(jobs, mean_motion(optimal), run)

    def _factored_ascent(
        self, jobs: Sequence[Target], guess: Tensor, run: RunStage
    ) -> Decomposition:
        """The ascent of moving textures, from the best of several starting velocities.

        `guess` (B, 2) px/frame is the first of them.
        """
        settings = self._settings
        starts = starting_velocities(guess, self._context.model.preprocessing.shape)
        if settings.pilot_steps:
            pilots = [
                self._ascent(jobs, start, settings.pilot_steps, f"pilot-{index}", run)
                for index, start in enumerate(starts)
            ]
            best = torch.stack([attempt.final for attempt, _ in pilots]).argmax(0)
            ends = torch.stack([moving.uniform_velocity for _, moving in pilots])
            guess = ends[best, torch.arange(len(jobs), device=best.device)]
        _, moving = self._ascent(jobs, guess, settings.steps, "moving-texture", run)
        with torch.no_grad():
            return moving.decomposition()

    def _ascent(
        self, jobs: Sequence[Target], start: Tensor, steps: int, stage: str, run: RunStage
    ) -> tuple[Attempt, Factored]:
        """One ascent of textures that start with velocities `start` (B, 2) px/frame."""
        context, settings, synthesizer = self._context, self._settings, self._synthesizer
        moving = factored.build(
            context.config.parametrization,
            settings.velocity,
            settings.margin,
            start,
            synthesizer.random_generators(jobs, "texture"),
            context.model.preprocessing.shape,
            context.device,
        )
        lr = settings.lr_scale * context.config.engine.lr
        engine = dataclasses.replace(context.config.engine, steps=steps, lr=lr)
        attempt = synthesizer.attempt(
            jobs, moving.picture, stage, run, engine=engine, purpose="moving"
        )
        return attempt, moving

    def _ask(
        self, jobs: Sequence[Target], optimal: Tensor, parts: Decomposition
    ) -> tuple[list[Responses], Tensor]:
        """Each row's responses, and |da/dV| (B, T, H, W) at the reconstruction."""
        objective = self._synthesizer.targets.objective(jobs, self._context.device)
        versions = controls(parts, self._synthesizer.random_generators(jobs, "controls"))
        scores, classes = {}, {}
        with self._synthesizer.network() as network:
            with torch.no_grad():
                for name, clips in {"optimal": [optimal], **versions}.items():
                    outputs = [network(clip) for clip in clips]
                    all_scores = [objective.scores(output) for output in outputs]
                    scores[name] = torch.stack(all_scores).mean(0).tolist()
                    if objective.layers[0].path == LOGITS:
                        logits = torch.stack([output[0] for output in outputs]).mean(0)
                        classes[name] = logits.argmax(1).tolist()
            clip = versions["reconstruction"][0].detach().requires_grad_(True)
            score = objective.scores(network(clip))
            (gradient,) = torch.autograd.grad(score.sum(), clip)
        responses = [
            Responses(
                {name: _fraction(row[b], scores["optimal"][b]) for name, row in scores.items()},
                {name: row[b] for name, row in classes.items()},
            )
            for b in range(len(jobs))
        ]
        return responses, gradient.nan_to_num(0, 0, 0).abs().sum(1)

    def _result(self, job: Target, found: Finding) -> Result:
        activations, classes = found.responses.activations, found.responses.classes
        kind = kind_of(activations, found.motion.direction_deg)
        names = self._context.model.class_name
        record = self._synthesizer.record(
            TextureMotionRecord,
            job,
            found.optimum,
            solver=self._settings.solver,
            motion=_motion_record(found.motion, kind),
            activations=activations,
            motion_index=motion_index(activations),
            texture_index=texture_index(activations),
            reconstruction_error=found.error,
            becomes={name: names(index) or index for name, index in classes.items()} or None,
        )
        called = [record.model, job.layer, f"unit {job.unit}", record.class_name]
        portrait = Portrait(
            title=", ".join(str(part) for part in called if part is not None),
            optimal=found.optimum.picture,
            parts=found.parts,
            importance=found.importance,
            activations={key: a for key, a in activations.items() if key != "optimal"},
            note=NOTES.get(kind, ""),
        )
        return Result(job.name, record, writers(portrait, self._context.config.output))


def _motion_record(motion: Motion, kind: str) -> MotionRecord:
    return MotionRecord(
        velocity=motion.velocity,
        normal_velocity=motion.normal_velocity,
        speed=motion.speed,
        direction_deg=motion.direction_deg if kind == MOVING else None,
        confidence={"coherence": motion.coherence},
        axis_deg=motion.axis_deg,
        divergence=motion.divergence,
        curl=motion.curl,
        kind=kind,
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


def _fraction(score: float, optimal: float) -> float:
    return score / optimal if optimal > 0 else math.nan
