"""`method=activation_maximization`: the image or clip that excites a unit most.

Erhan et al. 2009; for CNNs and ViTs in one framework, Zhu & Cangelosi 2025 (arXiv 2508.07281).
"""

import functools
from collections.abc import Mapping, Sequence

from torch import Tensor

from fvis import artifacts
from fvis.artifacts import Writer
from fvis.methods.base import METHODS, Context, OnStep, Result
from fvis.methods.climbing import Climber
from fvis.schema import ActivationMaximizationConfig
from fvis.targets import Target


@METHODS.register("activation_maximization")
class ActivationMaximization:
    """Climbs every target's score; the saved picture is scored again without transforms."""

    def __init__(self, context: Context) -> None:
        assert isinstance(context.config.method, ActivationMaximizationConfig)
        self._output = context.config.output
        self._climber = Climber(context, context.config.method)
        self.groups = self._climber.groups
        self.refused: Mapping[str, str] = {}
        self.steps = context.config.engine.steps

    def solve(self, jobs: Sequence[Target], on_step: OnStep) -> list[Result]:
        """One `Result` per target: image.png, or clip.gif and clip.mp4."""
        return [
            Result(job.name, self._climber.metadata(job, optimum), self._files(optimum.picture))
            for job, optimum in zip(jobs, self._climber.optima(jobs, on_step), strict=True)
        ]

    def _files(self, rgb: Tensor) -> dict[str, Writer]:
        if rgb.dim() == 3:
            return {"image.png": functools.partial(artifacts.write_png, rgb=rgb)}
        return artifacts.clip_writers("clip", rgb, self._output)
