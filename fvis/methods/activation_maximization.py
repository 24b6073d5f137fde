"""`method=activation_maximization`: the image or clip that excites a unit most.

Erhan et al. 2009; for CNNs and ViTs in one framework, Zhu & Cangelosi 2025 (arXiv 2508.07281).
"""

import functools
from collections.abc import Mapping, Sequence

from torch import Tensor

from fvis import artifacts, grounding
from fvis.artifacts import Writer
from fvis.methods.base import METHODS, Context, OnStep, Result
from fvis.methods.climbing import Climber, Optimum
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
        self._model, self._grounding = context.model, context.config.grounding
        self._natural = None
        if self._grounding.images:
            climber = self._climber
            self._natural = grounding.survey(
                self._grounding, context.model, climber.objective, climber.network()
            )

    def solve(self, jobs: Sequence[Target], on_step: OnStep) -> list[Result]:
        """One `Result` per target: image.png, or clip.gif and clip.mp4."""
        optima = self._climber.optima(jobs, on_step)
        return [self._result(job, optimum) for job, optimum in zip(jobs, optima, strict=True)]

    def _result(self, job: Target, optimum: Optimum) -> Result:
        metadata, files = self._climber.metadata(job, optimum), self._files(optimum.picture)
        if self._natural is not None:
            assert isinstance(job.unit, int), "survey() refuses what is no unit"
            _, *size = optimum.picture.shape
            patches = grounding.strongest(self._natural, job.unit, self._grounding.patches, size)
            metadata["grounding"] = grounding.told(self._natural, job.unit, optimum.final, patches)
            sheet = grounding.beside(optimum.picture, patches, self._model)
            files["natural.png"] = functools.partial(artifacts.write_png, rgb=sheet)
        return Result(job.name, metadata, files)

    def _files(self, rgb: Tensor) -> dict[str, Writer]:
        if rgb.dim() == 3:
            return {"image.png": functools.partial(artifacts.write_png, rgb=rgb)}
        return artifacts.clip_writers("clip", rgb, self._output)
