"""`method=texture_motion`: what a 3D unit prefers, taken apart into a texture and its motion.

Li & Li, "Feature Visualization in 3D Convolutional Neural Networks", 2025 (arXiv 2505.07387).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fvis.errors import RequestError
from fvis.methods.base import METHODS, Context, OnStep, Result
from fvis.methods.climbing import Attempt, Climber, Optimum
from fvis.models.layers import LOGITS
from fvis.motion import decomposition, factored
from fvis.motion.controls import controls, motion_index, texture_index
from fvis.motion.decomposition import Decomposition
from fvis.motion.factored import STARTS, Factored, starting_velocities
from fvis.motion.pictures import Portrait, writers
from fvis.motion.readout import Motion, mean_motion, measure
from fvis.schema import TextureMotionConfig
from fvis.targets import Target


@dataclass(frozen=True)
class Responses:
    """What the network says of the optimal clip and its controls, by name.

    `activations` are fractions of the optimal clip's own; `classes` what each clip is classified
    as, where the target is a logit.
    """

    activations: dict[str, float]
    classes: dict[str, int]


@dataclass(frozen=True)
class Finding:
    """All that is known of one unit; `importance` (T, H, W) is |da/dV| at the reconstruction."""

    optimum: Optimum
    parts: Decomposition
    error: float
    responses: Responses
    importance: Tensor
    motion: Motion


@METHODS.register("texture_motion")
class TextureMotion:
    """Climbs to the optimal clip, takes it apart, and asks the network what each part is worth."""

    def __init__(self, context: Context) -> None:
        assert isinstance(context.config.method, TextureMotionConfig)
        _require_clips(context)
        self._context = context
        self._settings = context.config.method
        self._climber = Climber(context, context.config.method)
        self.groups = self._climber.groups
        self.refused: Mapping[str, str] = {}
        self.steps = context.config.engine.steps
        if self._settings.solver == "factored":
            self.steps += self._settings.steps + STARTS * self._settings.pilot_steps

    def solve(self, jobs: Sequence[Target], on_step: OnStep) -> list[Result]:
        """One `Result` per target, all targets of the batch taken apart together."""
        optima = self._climber.optima(jobs, on_step)
        optimal = torch.stack([optimum.picture for optimum in optima])
        parts = self._take_apart(jobs, optimal, on_step)
        clip = parts.render()
        responses, importance = self._ask(jobs, optimal, parts)
        motions = measure(clip, parts.displacement, importance)
        errors = (clip - optimal).square().flatten(1).mean(1).sqrt().tolist()
        columns = (optima, parts.rows(), errors, responses, importance, motions)
        findings = (Finding(*row) for row in zip(*columns, strict=True))
        return [self._result(*pair) for pair in zip(jobs, findings, strict=True)]

    def _take_apart(
        self, jobs: Sequence[Target], optimal: Tensor, on_step: OnStep
    ) -> Decomposition:
        settings, climber = self._settings, self._climber
        if settings.solver == "tracking":
            return decomposition.track(optimal, settings.fit, settings.margin)
        if settings.solver == "joint":
            draws = climber.streams(jobs, "texture")
            return decomposition.fit_jointly(optimal, settings.fit, draws)
        return self._climb_apart(jobs, mean_motion(optimal), on_step)

    def _climb_apart(self, jobs: Sequence[Target], guess: Tensor, on_step: OnStep) -> Decomposition:
        """The factored ascent, from the most promising of several starting velocities."""
        settings = self._settings
        starts = starting_velocities(guess, self._context.model.preprocessing.shape)
        if settings.pilot_steps:
            pilots = [self._ascent(jobs, start, settings.pilot_steps, on_step) for start in starts]
            best = torch.stack([attempt.final for attempt, _ in pilots]).argmax(0)
            ends = torch.stack([moving.uniform_velocity for _, moving in pilots])
            guess = ends[best, torch.arange(len(jobs), device=best.device)]
        _, moving = self._ascent(jobs, guess, settings.steps, on_step)
        with torch.no_grad():
            return moving.decomposition()

    def _ascent(
        self, jobs: Sequence[Target], start: Tensor, steps: int, on_step: OnStep
    ) -> tuple[Attempt, Factored]:
        """One ascent of textures that start moving at `start` (B, 2) px/frame."""
        context, settings, climber = self._context, self._settings, self._climber
        moving = factored.build(
            context.config.parametrization,
            settings.velocity,
            settings.margin,
            start,
            climber.streams(jobs, "texture"),
            context.model.preprocessing.shape,
            context.device,
        )
        lr = settings.pace * context.config.engine.lr
        engine = dataclasses.replace(context.config.engine, steps=steps, lr=lr)
        picture = moving.picture
        return climber.attempt(jobs, picture, on_step, engine=engine, purpose="moving"), moving

    def _ask(
        self, jobs: Sequence[Target], optimal: Tensor, parts: Decomposition
    ) -> tuple[list[Responses], Tensor]:
        """Each row's responses, and |da/dV| (B, T, H, W) at the reconstruction."""
        objective = self._climber.objective
        weights = objective.weights(jobs, self._context.device)
        versions = controls(parts, self._climber.streams(jobs, "controls"))
        scores, classes = {}, {}
        with self._climber.network() as network:
            with torch.no_grad():
                for name, clips in {"optimal": [optimal], **versions}.items():
                    outputs = [network(clip) for clip in clips]
                    all_scores = [objective.scores(output, weights) for output in outputs]
                    scores[name] = torch.stack(all_scores).mean(0).tolist()
                    if objective.layers[0].path == LOGITS:
                        logits = torch.stack([output[0] for output in outputs]).mean(0)
                        classes[name] = logits.argmax(1).tolist()
            clip = versions["reconstruction"][0].detach().requires_grad_(True)
            score = objective.scores(network(clip), weights)
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
        activations = found.responses.activations
        metadata = self._climber.metadata(job, found.optimum) | {
            "solver": self._settings.solver,
            "motion": dataclasses.asdict(found.motion),
            "activations": activations,
            "motion_index": motion_index(activations),
            "texture_index": texture_index(activations),
            "reconstruction_error": found.error,
        }
        if found.responses.classes:
            named = dict(enumerate(self._context.model.classes or ()))
            classes = found.responses.classes.items()
            metadata["becomes"] = {name: named.get(index, index) for name, index in classes}
        called = [metadata["model"], job.layer, f"unit {job.unit}", metadata.get("class")]
        portrait = Portrait(
            title=", ".join(str(part) for part in called if part is not None),
            optimal=found.optimum.picture,
            parts=found.parts,
            importance=found.importance,
            activations={key: a for key, a in activations.items() if key != "optimal"},
        )
        return Result(job.name, metadata, writers(portrait, self._context.config.output))


def _require_clips(context: Context) -> None:
    frames = context.model.preprocessing.frames
    if frames is None:
        raise RequestError(
            f"method=texture_motion takes a network of clips; {context.model.name} takes images "
            "(for your own network of clips give model.input.frames)"
        )
    if frames < 2:
        raise RequestError(f"method=texture_motion takes clips of 2 frames or more, not {frames}")


def _fraction(score: float, optimal: float) -> float:
    return score / optimal if optimal > 0 else math.nan
