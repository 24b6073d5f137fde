"""`method=accentuation`: a photograph changed until what a unit responds to in it stands out.

Hamblin et al., "Feature Accentuation: Revealing 'What' Features Respond to in Natural Images", 2024
(arXiv 2402.10039).
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvis import artifacts, grounding, likeness, photographs
from fvis.artifacts import Writer
from fvis.ascent import TetheredAscent, penalties_of
from fvis.capture import Network, operations_for
from fvis.context import Context
from fvis.errors import RequestError, unknown
from fvis.methods.base import METHODS, Result
from fvis.models.layers import Layer, survey
from fvis.models.stages import stages
from fvis.objectives import Target, resolve
from fvis.objectives.targets import require_rows
from fvis.optimization import RunStage
from fvis.parametrizations import Parametrization
from fvis.perturbation.ball import in_8_bits, projected, radius
from fvis.perturbation.pictures import amplified, write_strip
from fvis.randomness import random_generator
from fvis.record.photograph import AccentuationRecord, TetherRecord
from fvis.record.unit import DEAD, OK
from fvis.schema import AccentuationConfig, PictureConfig, start_of
from fvis.synthesis import Optimum, start, unit_record
from fvis.transforms import PairedViews, Transforms

EPSILON = 32 / 255  # bound of each value where none is set


@dataclass(frozen=True)
class Accent:
    """A unit to be accentuated in a photograph; `others` are more that excite the unit strongly."""

    target: Target
    path: Path
    image: str
    others: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The name of the output directory, e.g. `layer2-00017-cat`."""
        return artifacts.safe_name(f"{self.target.name}-{self.image}")


@METHODS.register("accentuation")
class Accentuation:
    """Maximizes f(T(x)) - w |h(T(x)) - h(T(photograph))|, from the photograph on.

    f is the unit's activation, h the activations of a layer before it, T random views.
    """

    def __init__(self, context: Context) -> None:
        config, model = context.config, context.model
        assert isinstance(config.method, AccentuationConfig)
        self._context, self._settings = context, config.method
        photographs.refuse_clips(model, f"method={config.method.name}")
        if not isinstance(config.parametrization, PictureConfig):
            name = config.parametrization.name
            raise RequestError(f"parametrization={name} cannot start from a photograph")
        shape = model.preprocessing.shape
        self._bound = radius(self._settings.epsilon, self._settings.norm, EPSILON, shape)
        self._targets = resolve(config.target, model, config.engine.seed, context.layers)
        self._tether = self._tether_layer()
        self._open = context.opener([*self._targets.layers, self._tether])
        self.steps, self.share = config.engine.steps, 1.0
        self.refused: dict[str, str] = {}
        jobs = self._jobs()
        self.groups = [[job] for job in jobs]
        paths = (path for job in jobs for path in (job.path, *job.others))
        self.inputs: Sequence[Path] = list(dict.fromkeys(paths))

    def solve(self, jobs: Sequence[Accent], run: RunStage) -> list[Result]:
        """One `Result` per unit and photograph: image.png, photograph.png and strip.png."""
        context, config = self._context, self._context.config
        preprocessing, engine = context.model.preprocessing, config.engine
        clean = photographs.batch([job.path for job in jobs], preprocessing).to(context.device)
        picture = self._bounded(
            start(context, self._generators(jobs, "start"), preprocessing.shape, clean), clean
        )
        transforms = Transforms(
            config.transforms,
            self._generators(jobs, "transforms"),
            engine.steps,
            preprocessing.shape,
            context.device,
        )
        views, seen = PairedViews(transforms, clean), list[Tensor]()
        targets = [job.target for job in jobs]
        objective = self._targets.objective(targets, context.device)
        of_views = self._targets.objective(targets, context.device, views.views)
        with self._open() as network:

            def score(rgb: Tensor) -> Tensor:
                *read, tethered = network(rgb)
                seen[:] = [tethered]
                return of_views.scores(read)

            def distance() -> Tensor:
                with torch.no_grad():
                    reference = network(views.beside)[-1]
                return likeness.distance(seen.pop(), reference)

            ascent = TetheredAscent(
                picture, score, views, penalties_of(self._settings), engine, distance,
                self._settings.weight,
            )  # fmt: skip
            run("accentuation", ascent)
            with torch.no_grad():
                pictures = self._rounded(picture.render(), clean)
                *first, reference = network(clean)
                *last, changed = network(pictures)
                others = [
                    self._nearest(network, job, reference[[row]]) for row, job in enumerate(jobs)
                ]
        initial, final = objective.scores(first).tolist(), objective.scores(last).tolist()
        distances = likeness.distance(changed, reference).tolist()
        columns = (jobs, pictures, clean, initial, final, ascent.trace.rows(), distances, others)
        return [self._result(*row) for row in zip(*columns, strict=True)]

    def _jobs(self) -> list[Accent]:
        """Each unit in the photograph that was given, else in its strongest ones."""
        config = self._context.config
        given = start_of(config)
        if given is not None:
            photographs.load_asked(given, self._context.model, "parametrization.start")
            (path,) = photographs.find(given)
            (image,) = photographs.names([path])
            return [Accent(target, path, image) for target in self._targets.targets]
        network = self._context.opener(self._targets.layers)()
        natural = grounding.natural_responses(
            config.grounding, self._context.model, self._targets, network
        )
        names = dict(zip(natural.files, photographs.names(natural.files), strict=True))
        jobs = []
        for target in self._targets.targets:
            scores = natural.scores[:, int(target.unit)]
            order = scores.argsort(descending=True, stable=True).tolist()
            files = [natural.files[row] for row in order]
            for path in files[: self._settings.strongest]:
                others = [file for file in files[: config.grounding.patches] if file != path]
                jobs.append(Accent(target, path, names[path], tuple(others)))
        return jobs

    def _tether_layer(self) -> Layer:
        """The layer whose activations stay near: the setting's, else the last stage before."""
        model, asked = self._context.model, self._settings.layer
        every = survey(model, self._context.config.target.output)
        own = self._targets.layers[0].path
        if asked is None:
            before = list(every.values())[: list(every).index(own)]
            read = [one.path for one in before if one.shape[:1] == (1,) and not one.constant]
            staged = [path for path in stages(model.module) if path in read]
            asked = staged[-1] if staged else own
        if asked not in every:
            raise unknown("layer", asked, every)
        if not every[asked].shape:
            raise RequestError(f"method.layer={asked} returns no single tensor")
        require_rows(every[asked])
        operations_for(model, [every[asked]], self._context.config.target.output)  # or refuses it
        return every[asked]

    def _generators(self, jobs: Sequence[Accent], purpose: str) -> list[torch.Generator]:
        seed, model = self._context.config.engine.seed, self._context.model.name
        stems = [photographs.stem(job.path) for job in jobs]
        return [
            random_generator(seed, model, job.target.layer, job.target.unit, stem, purpose)
            for job, stem in zip(jobs, stems, strict=True)
        ]

    def _bounded(self, picture: Parametrization, clean: Tensor) -> Parametrization:
        """The picture held in the ball around its photograph, where there is one.

        The gradient passes the projection as it is.
        """
        if self._settings.norm == "none":
            return picture

        def render() -> Tensor:
            rgb = picture.render()
            delta = projected(clean, rgb.detach() - clean, self._settings.norm, self._bound)
            return rgb + (clean + delta - rgb).detach()

        return Parametrization(picture.parameters, render, picture.update_rules)

    def _rounded(self, rgb: Tensor, clean: Tensor) -> Tensor:
        """The pictures as their 8-bit files hold them, in the ball."""
        return in_8_bits(clean, rgb - clean, self._settings.norm, self._bound)

    def _nearest(self, network: Network, job: Accent, reference: Tensor) -> float:
        """The least distance at the tethering layer of another strong photograph; NaN for none."""
        found = [math.nan]
        for path in job.others:
            rgb = photographs.load(path, self._context.model.preprocessing)[None]
            values = network(rgb.to(self._context.device))[-1]
            found.append(likeness.distance(values, reference).item())
        return min(found[1:], default=math.nan)

    def _result(
        self,
        job: Accent,
        rgb: Tensor,
        clean: Tensor,
        initial: float,
        final: float,
        trace: list[tuple[int, float]],
        distance: float,
        others: float,
    ) -> Result:
        status = OK if math.isfinite(final) and final > initial else DEAD
        record = unit_record(
            AccentuationRecord,
            self._context,
            self._targets,
            job.target,
            Optimum(rgb, initial, final, trace, status),
            source=photographs.shown(job.path),
            image=job.image,
            times=final / initial if initial > 0 else math.nan,
            distance=TetherRecord(self._tether.path, distance, others),
        )
        return Result(job.name, record, _files(rgb, clean, initial, final))


def _files(rgb: Tensor, clean: Tensor, initial: float, final: float) -> dict[str, Writer]:
    change = rgb - clean
    factor = max(1.0, 0.5 / max(change.abs().max().item(), 1 / 255))
    strip = {"photograph": clean, "change": amplified(change, factor), "accentuated": rgb}
    captions = {
        "photograph": f"activation {initial:.3g}",
        "change": f"x {factor:.3g}, about grey",
        "accentuated": f"activation {final:.3g}",
    }
    return {
        "image.png": functools.partial(artifacts.write_png, rgb=rgb),
        "photograph.png": functools.partial(artifacts.write_png, rgb=clean),
        "strip.png": functools.partial(write_strip, pictures=strip, captions=captions),
    }
