"""`method=activation_maximization`: the image or clip that excites a unit most.

Erhan et al. 2009; for CNNs and ViTs in one framework, Zhu & Cangelosi 2025 (arXiv 2508.07281).
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from fvis import artifacts, regularizers
from fvis.ascent import Penalty, Trace, ascend
from fvis.capture import Network
from fvis.methods.base import METHODS, Context, OnStep, Result
from fvis.models.layers import LOGITS
from fvis.parametrizations import PARAMETRIZATIONS
from fvis.schema import ActivationMaximizationConfig, Config
from fvis.streams import stream
from fvis.targets import Target, resolve
from fvis.transforms import Transforms

# In units of the layer's own spread. A healthy unit rises by many spreads, or at least goes on
# moving; one on GELU's flat side creeps up from -0.1 to 0 and stays there.
LOW, FLAT = 1.0, 0.01
RESCUE_SHARE = 0.25  # of the steps with gradients let through, before the true ones take over


@dataclass(frozen=True)
class Attempt:
    """One ascent of a batch: pictures as saved (8 bits), their scores, and the way there.

    `stuck` rows have a score that is not finite, or that has hardly risen and no longer moves.
    """

    pictures: Tensor
    initial: Tensor
    final: Tensor
    traces: list[list[tuple[int, float]]]
    stuck: list[bool]


@METHODS.register("activation_maximization")
class ActivationMaximization:
    """Climbs every target's score; the saved picture is scored again without transforms."""

    def __init__(self, context: Context) -> None:
        self._context = context
        config = context.config
        self._objective = resolve(config.target, context.model, config.engine.seed)

    @property
    def groups(self) -> list[list[Target]]:
        """The targets, the repeats of a unit together."""
        groups: dict[int, list[Target]] = {}
        for target in self._objective.targets:
            groups.setdefault(target.group, []).append(target)
        return list(groups.values())

    def solve(self, jobs: Sequence[Target], on_step: OnStep) -> list[Result]:
        """One `Result` per target: image.png, or clip.gif and clip.mp4."""
        first = self._attempt(jobs, on_step, rescue=False)
        best = [(first, row) for row in range(len(jobs))]
        stuck = [row for row, is_stuck in enumerate(first.stuck) if is_stuck]
        if stuck and _settings(self._context.config).rescue:
            second = self._attempt([jobs[row] for row in stuck], on_step, rescue=True)
            for place, row in enumerate(stuck):
                if not second.stuck[place]:
                    best[row] = (second, place)
        return [
            self._result(job, attempt, row, rescued=attempt is not first)
            for job, (attempt, row) in zip(jobs, best, strict=True)
        ]

    def _attempt(self, jobs: Sequence[Target], on_step: OnStep, *, rescue: bool) -> Attempt:
        context, config = self._context, self._context.config
        shape, device = context.model.preprocessing.shape, context.device
        build = PARAMETRIZATIONS[config.parametrization.name]
        picture = build(config.parametrization, self._streams(jobs, "start"), shape, device)
        draws = self._streams(jobs, "transforms")
        views = Transforms(config.transforms, draws, config.engine.steps, shape, device)
        objective, layers = self._objective, self._objective.layers
        weights = objective.weights(jobs, device)
        per_view = [weight.repeat_interleave(views.views, 0) for weight in weights]

        with Network(context.model, layers, config.target.output, context.autocast) as network:

            def score(rgb: Tensor, step: int) -> Tensor:
                climbing_out = rescue and step < RESCUE_SHARE * config.engine.steps
                with network.straight_through() if climbing_out else contextlib.nullcontext():
                    return objective.scores(network(rgb), per_view)

            with torch.no_grad():
                start = network(picture.render())
            penalties = self._penalties(jobs, network)
            trace = ascend(picture, score, views, penalties, config.engine, on_step)
            with torch.no_grad():
                pictures = (picture.render() * 255).round() / 255
                final = objective.scores(network(pictures), weights)
        initial = objective.scores(start, weights)
        spread = objective.spread(start, weights)
        stuck = is_stuck(initial, final, trace, spread).tolist()
        return Attempt(pictures, initial, final, trace.rows(), stuck)

    def _streams(self, jobs: Sequence[Target], purpose: str) -> list[Generator]:
        seed, model = self._context.config.engine.seed, self._context.model.name
        return [stream(seed, model, job.layer, job.unit, job.repeat, purpose) for job in jobs]

    def _penalties(self, jobs: Sequence[Target], network: Network) -> list[Penalty]:
        """The config's regularizers, and what drives the repeats of a unit apart."""
        config = self._context.config
        weights = dataclasses.asdict(_settings(config).regularizers)
        penalties = [
            Penalty(weight, getattr(regularizers, name))
            for name, weight in weights.items()
            if weight
        ]
        groups = torch.tensor([job.group for job in jobs], device=self._context.device)
        if config.target.repeats > 1 and config.target.diversity:
            layer = self._objective.layers[0]
            assert layer.channel_dim is not None, "resolve() refuses unknown channel axes"
            dim = layer.channel_dim

            def alike(rgb: Tensor) -> Tensor:
                values = network(rgb)[0].movedim(dim, 1)
                return regularizers.similarity(regularizers.style(values), groups)

            penalties.append(Penalty(config.target.diversity, alike))
        return penalties

    def _result(self, job: Target, attempt: Attempt, row: int, *, rescued: bool) -> Result:
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
            "status": "dead" if attempt.stuck[row] else "rescued" if rescued else "ok",
            "activation": {
                "initial": attempt.initial[row].item(),
                "final": attempt.final[row].item(),
                "trace": attempt.traces[row],
            },
        }
        if job.layer == LOGITS and model.classes and isinstance(job.unit, int):
            metadata["class"] = dict(enumerate(model.classes)).get(job.unit)
        return Result(job.name, metadata, self._files(attempt.pictures[row]))

    def _files(self, rgb: Tensor) -> dict[str, Callable[[Path], None]]:
        if rgb.dim() == 3:
            return {"image.png": functools.partial(artifacts.write_png, rgb=rgb)}
        output = self._context.config.output
        files = {"clip.gif": functools.partial(artifacts.write_gif, rgb=rgb, fps=output.fps)}
        if output.mp4:
            files["clip.mp4"] = functools.partial(artifacts.write_mp4, rgb=rgb, fps=output.fps)
        return dict(files)


def is_stuck(initial: Tensor, final: Tensor, trace: Trace, spread: Tensor) -> Tensor:
    """Which rows (B,) are not finite, or have hardly risen by their `spread` and no longer move."""
    late = torch.stack(trace.scores[-max(2, len(trace.scores) // 2) :])
    moving = late.amax(0) - late.amin(0) > FLAT * spread
    risen = final - initial > LOW * spread
    return ~(final.isfinite() & (moving | risen))


def _settings(config: Config) -> ActivationMaximizationConfig:
    assert isinstance(config.method, ActivationMaximizationConfig)
    return config.method
