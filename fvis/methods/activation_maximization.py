"""`method=activation_maximization`: the image or clip that excites a unit most.

Erhan et al. 2009; for CNNs and ViTs in one framework, Zhu & Cangelosi 2025 (arXiv 2508.07281).
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fvis import artifacts, grounding
from fvis.artifacts import Writer
from fvis.capture import Network
from fvis.context import Context
from fvis.evidence.gather import Evidence, Gathered
from fvis.evidence.survey import layers_on_the_way
from fvis.methods.base import METHODS, Result
from fvis.natural_clips import natural_clips, record_and_files
from fvis.objectives import Target
from fvis.optimization import RunStage
from fvis.record.unit import UnitRecord
from fvis.schema import ActivationMaximizationConfig
from fvis.synthesis import Optimum, Synthesizer


@METHODS.register("activation_maximization")
class ActivationMaximization:
    """Maximises each target's score, then scores the saved picture without transforms."""

    def __init__(self, context: Context) -> None:
        assert isinstance(context.config.method, ActivationMaximizationConfig)
        self._context = context
        self._synthesizer = Synthesizer(context, context.config.method)
        self._open = self._opener()
        self._natural = self._natural_responses()
        self._clips = natural_clips(context, self._synthesizer.targets, self._synthesizer.network())
        self._evidence = Evidence(context, self._synthesizer, self._natural)
        self.groups = self._synthesizer.targets.groups
        self.refused: Mapping[str, str] = {}
        natural = (self._natural, self._clips)
        self.inputs: Sequence[Path] = [
            *(file for some in natural if some for file in some.files),
            *self._synthesizer.inputs,
            *self._evidence.inputs,
        ]
        self.steps = self._synthesizer.steps + context.config.engine.steps * self._evidence.ascents
        self.share = self._synthesizer.canvas.share

    @property
    def row_bytes(self) -> int:
        """The bytes of memory that one picture takes, about."""
        return self._synthesizer.row_bytes

    def solve(self, jobs: Sequence[Target], run: RunStage) -> list[Result]:
        """One `Result` per target: image.png or clip.gif, clip.apng and clip.mp4, and a motif."""
        optima = self._synthesizer.optima(jobs, run)
        peaks, course = self._responses(jobs, optima)
        gathered = self._evidence.gather(jobs, optima, course, run)
        return [self._result(*row) for row in zip(jobs, optima, peaks, gathered, strict=True)]

    def _responses(
        self, jobs: Sequence[Target], optima: Sequence[Optimum]
    ) -> tuple[list[float], list[Tensor]]:
        """Each unit's peak at any position in its picture, for the grounding.

        Beside it, the pictures' course through the network (`grounding.responses`).
        """
        if self._natural is None:
            return [math.nan] * len(jobs), []
        pictures = torch.stack([optimum.picture for optimum in optima])
        with self._open() as network, torch.no_grad():
            _, peaks, _, *course = grounding.responses(network, self._synthesizer.targets, pictures)
        return [peaks[row, int(job.unit)].item() for row, job in enumerate(jobs)], course

    def _opener(self) -> Callable[[], Network]:
        """Makes the context in which photographs and pictures are read: with the layers before."""
        targets = self._synthesizer.targets
        earlier = layers_on_the_way(self._context, targets)
        if not earlier:
            return self._synthesizer.network
        return self._context.opener([*earlier, *targets.layers])

    def _natural_responses(self) -> grounding.Natural | None:
        """How strongly photographs excite the units; None if the config names no photographs."""
        context, targets = self._context, self._synthesizer.targets
        if not context.config.grounding.images:
            return None
        settings = context.config.grounding
        return grounding.natural_responses(settings, context.model, targets, self._open())

    def _result(self, job: Target, optimum: Optimum, peak: float, gathered: Gathered) -> Result:
        evidence, others = gathered
        files, grounded = self._files(optimum), None
        if self._natural is not None:
            assert isinstance(job.unit, int), "natural_responses() accepts units only"
            count = self._context.config.grounding.patches
            patches = grounding.strongest(self._natural, job.unit, count)
            grounded = grounding.compare(self._natural, job.unit, optimum.final, peak, patches)
            shown = optimum.picture if optimum.motif is None else optimum.motif
            sheet = grounding.beside(shown, patches, self._context.model)
            files["natural.png"] = functools.partial(artifacts.write_png, rgb=sheet)
        clips, more = record_and_files(self._clips, job, optimum, self._context)
        record = self._synthesizer.record(
            UnitRecord,
            job,
            optimum,
            grounding=grounded,
            natural_clips=clips,
            evidence=evidence,
        )
        return Result(job.name, record, files | more | others)

    def _files(self, optimum: Optimum) -> dict[str, Writer]:
        if optimum.picture.dim() == 4:
            rgb, output = optimum.picture, self._context.config.output
            files = artifacts.clip_writers("clip", rgb, output)
            files["clip.apng"] = functools.partial(artifacts.write_apng, rgb=rgb, fps=output.fps)
            if optimum.motif is not None:
                files |= artifacts.clip_writers("motif", optimum.motif, output)
            return files
        pictures = {"image.png": optimum.picture, "motif.png": optimum.motif}
        return {
            name: functools.partial(artifacts.write_png, rgb=rgb)
            for name, rgb in pictures.items()
            if rgb is not None
        }
