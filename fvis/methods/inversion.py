"""`method=inversion` and `caricature`: what a layer takes for a photograph, or for more than it.

Mahendran & Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015;
caricatures: Lucid's notebook "Activation Caricatures" (Tensorflow, 2018).
"""

import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvis import artifacts, likeness, photographs
from fvis.ascent import Ascent, penalties_of
from fvis.context import Context
from fvis.errors import RequestError
from fvis.methods.base import METHODS, Result
from fvis.objectives import resolve
from fvis.objectives.units import directory_name
from fvis.optimization import RunStage
from fvis.randomness import random_generator
from fvis.record.photograph import InversionRecord
from fvis.record.unit import DEAD, OK, ActivationRecord
from fvis.schema import InversionConfig, start_of
from fvis.synthesis import as_saved, start
from fvis.transforms import PairedViews, Transforms

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inverted:
    """A photograph to be seen through a layer."""

    layer: str
    path: Path
    image: str

    @property
    def name(self) -> str:
        """The name of the output directory, e.g. `layer2-cat`."""
        return directory_name(self.layer, self.image)


@METHODS.register("caricature")
@METHODS.register("inversion")
class Inversion:
    """Brings a picture's activations at a layer near a photograph's, or far in their direction."""

    def __init__(self, context: Context) -> None:
        config, model = context.config, context.model
        assert isinstance(config.method, InversionConfig)
        self._context, self._settings = context, config.method
        photographs.refuse_clips(model, "method.images")
        asked = start_of(config)
        self._start = (
            None if asked is None else photographs.load_asked(asked, model, "parametrization.start")
        )
        (self._layer,) = resolve(config.target, model, config.engine.seed, context.layers).layers
        self._open = context.opener([self._layer])
        self.steps, self.share = config.engine.steps, 1.0
        self.refused: dict[str, str] = {}
        jobs = self._jobs()
        self.groups = [[job] for job in jobs]
        self.inputs: Sequence[Path] = [job.path for job in jobs]

    def solve(self, jobs: Sequence[Inverted], run: RunStage) -> list[Result]:
        """One `Result` per photograph: image.png, and photograph.png as the network sees it."""
        context, config = self._context, self._context.config
        shape, steps = context.model.preprocessing.shape, config.engine.steps
        clean = photographs.batch([job.path for job in jobs], context.model.preprocessing)
        clean = clean.to(context.device)
        given = None if self._start is None else self._start.expand(len(jobs), -1, -1, -1)
        picture = start(context, self._generators(jobs, "start"), shape, given)
        generators = self._generators(jobs, "transforms")
        transforms = Transforms(config.transforms, generators, steps, shape, context.device)
        views = PairedViews(transforms, clean)
        with self._open() as network:

            def score(rgb: Tensor) -> Tensor:
                with torch.no_grad():
                    (reference,) = network(views.beside)
                return self._likeness(network(rgb)[0], reference)

            with torch.no_grad():
                (reference,), (first,) = network(clean), network(picture.render())
            ascent = Ascent(picture, score, views, penalties_of(self._settings), config.engine)
            ascent.quantity = "likeness"
            run(self._settings.name, ascent)
            with torch.no_grad():
                pictures = as_saved(picture.render())
                (last,) = network(pictures)
        columns = (
            jobs,
            self._likeness(first, reference).tolist(),
            self._likeness(last, reference).tolist(),
            likeness.relative_distance(last, reference).tolist(),
            likeness.cosine(last, reference).tolist(),
            ascent.trace.rows(),
        )
        records = [self._record(*row) for row in zip(*columns, strict=True)]
        return [
            Result(job.name, record, _files(rgb, photograph))
            for job, record, rgb, photograph in zip(jobs, records, pictures, clean, strict=True)
        ]

    def _jobs(self) -> list[Inverted]:
        """Every photograph that can be read."""
        found = photographs.find(self._settings.images)
        jobs = []
        for path, image in zip(found, photographs.names(found), strict=True):
            try:
                photographs.load(path, self._context.model.preprocessing)
            except photographs.UnreadableError as error:
                photographs.note_unreadable(self.refused, path, error)
                logger.warning("left out: %s", error)
            else:
                jobs.append(Inverted(self._layer.path, path, image))
        if not jobs:
            raise RequestError(next(iter(self.refused.values())))
        return jobs

    def _generators(self, jobs: Sequence[Inverted], purpose: str) -> list[torch.Generator]:
        seed, model = self._context.config.engine.seed, self._context.model.name
        return [
            random_generator(seed, model, job.layer, photographs.stem(job.path), purpose)
            for job in jobs
        ]

    def _likeness(self, values: Tensor, reference: Tensor) -> Tensor:
        """What is maximized (B,): 1 for the photograph itself."""
        if self._settings.objective == "caricature":
            return likeness.caricature(values, reference, self._settings.power)
        return 1 - likeness.relative_distance(values, reference)

    def _record(
        self,
        job: Inverted,
        initial: float,
        final: float,
        distance: float,
        cosine: float,
        trace: list[tuple[int, float]],
    ) -> InversionRecord:
        context, settings = self._context, self._settings
        return InversionRecord(
            model=context.model.name,
            layer=job.layer,
            method=settings.name,
            seed=context.config.engine.seed,
            steps=self.steps,
            status=OK if math.isfinite(final) and final > initial else DEAD,
            activation=ActivationRecord(initial, final, [*trace]),
            source=photographs.shown(job.path),
            image=job.image,
            objective=settings.objective,
            distance=distance,
            cosine=cosine,
        )


def _files(rgb: Tensor, photograph: Tensor) -> dict[str, artifacts.Writer]:
    pictures = {"image.png": rgb, "photograph.png": photograph}
    return {
        name: functools.partial(artifacts.write_png, rgb=shown) for name, shown in pictures.items()
    }
