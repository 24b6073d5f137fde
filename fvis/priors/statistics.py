"""`prior=statistics`: pictures are drawn towards the feature statistics of photographs.

The statistics are the mean and the logarithm of the standard deviation of each channel of a few
layers, as of adaptive instance normalization (Huang & Belongie 2017). They are read in the score's
forward pass. Those of a network's own training pictures are what its batch norms keep, as of
DeepInversion (Yin et al. 2020).
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fvis import photographs, response_cache
from fvis.ascent import Pull, TetheredAscent, Views
from fvis.capture import Network, pairs_to_fold
from fvis.errors import RequestError
from fvis.models import Model
from fvis.models.base import Preprocessing
from fvis.models.checkpoints import sha256_of_file
from fvis.models.layers import Layer, survey
from fvis.objectives import TargetSet
from fvis.objectives.positions import maps
from fvis.optimization import Optimization
from fvis.parametrizations import Parametrization
from fvis.priors.base import PRIORS, Prior
from fvis.record.unit import WeightsRecord
from fvis.schema import EngineConfig, GroundingConfig, StatisticsConfig

FEWEST_POSITIONS = 16  # of a layer: a standard deviation over fewer says little
FEWEST_PHOTOGRAPHS = 2  # from which a spread can be told
LEAST_VARIANCE = 1e-6  # below it, a channel counts as silent
EPSILON = 1e-5  # batch norms add it to the variance: to them too, a channel below it is silent
LEAST_WIDTH = 0.3  # of a channel's spread, in units of the layer's mean spread
TINY = 1e-12
FREEDOM = 4.0  # Student's t: far outliers, as of noise at the start, pull less than near ones


class StatisticsPrior(Prior):
    """Pulls pictures until their statistics are as near to photographs' as these are themselves."""

    whole = True

    def __init__(self, config: StatisticsConfig, files: Sequence[Path]) -> None:
        self._config, self.files = config, files
        if files:
            digests = "".join(map(sha256_of_file, files)).encode()
            self.weights = WeightsRecord(hashlib.sha256(digests).hexdigest(), "photographs")

    def facing(
        self,
        model: Model,
        targets: TargetSet,
        opened: Callable[[Sequence[Layer]], Network],
        grounding: GroundingConfig,
    ) -> Prior:
        """The prior with the statistics of its photographs, measured once and then cached.

        Without photographs, with those that the network's batch norms keep. Raises `RequestError`
        where no layer before the targets' has statistics, and where fewer than two photographs can
        be read.
        """
        if not self.files:
            known = trained_before(model, targets, self._config.every)
            return TrainedStatistics(self._config, self, known)
        layers = layers_before(model, targets, self._config.every)
        network = opened([*layers, *targets.layers])
        found = [
            each.to(model.device) for each in self._measured(targets, network, layers, grounding)
        ]
        return MeasuredStatistics(self._config, self, layers, found)

    def _measured(
        self,
        targets: TargetSet,
        network: Network,
        layers: Sequence[Layer],
        settings: GroundingConfig,
    ) -> list[Tensor]:
        """The statistics (N, 2, C) of the photographs at each layer."""
        names = [f"statistics {layer.path}" for layer in layers]

        def see(rgb: Tensor) -> list[Tensor]:
            pairs = zip(layers, network(rgb), strict=False)  # the targets' layers come last
            return [statistics(layer, output).cpu() for layer, output in pairs]

        place = response_cache.response_file(
            settings, network.model, targets, network, self.files, " ".join(names)
        )
        readable, found = response_cache.measured_once(
            place, names, self.files, network, see, "prior.images"
        )
        if len(readable) < FEWEST_PHOTOGRAPHS:
            raise RequestError(
                f"prior.images has {len(readable)} photograph that can be read; "
                f"their spread needs {FEWEST_PHOTOGRAPHS}"
            )
        return [found[name] for name in names]


class KnownStatistics(Prior):
    """A prior that pulls pictures towards what it knows of `layers`.

    Attributes:
        fade: the distance below which the pull fades; 0 for one that never does.
    """

    whole = True
    fade = 0.0

    def __init__(self, config: StatisticsConfig, asked: Prior, layers: Sequence[Layer]) -> None:
        self._config, self.layers = config, layers
        self.weights, self.files = asked.weights, asked.files

    def distance(self, outputs: Sequence[Tensor]) -> Tensor:
        """How far pictures are off, (B,), by what the layers return for them."""
        raise NotImplementedError

    def ascent(
        self,
        picture: Parametrization,
        score: Callable[[Tensor], Tensor],
        views: Views,
        pulls: Sequence[Pull],
        engine: EngineConfig,
        seen: Sequence[Tensor] = (),
    ) -> Optimization:
        """An ascent that is held near the known statistics."""

        def distance() -> Tensor:
            return self.distance(seen)

        weight, fade = self._config.weight, self.fade
        return TetheredAscent(picture, score, views, pulls, engine, distance, weight, fade)


class MeasuredStatistics(KnownStatistics):
    """The prior of photographs with `found` statistics (N, 2, C) at each of `layers`."""

    fade = 1.0  # nothing pulls what is as near as photographs are

    def __init__(
        self,
        config: StatisticsConfig,
        asked: Prior,
        layers: Sequence[Layer],
        found: Sequence[Tensor],
    ) -> None:
        super().__init__(config, asked, layers)
        self._usual = [usual(values) for values in found]

    def distance(self, outputs: Sequence[Tensor]) -> Tensor:
        """By how much pictures are further off than photographs are: (B,); 1: twice as far.

        `outputs` are what the layers return for the pictures. The root mean square over the layers,
        so that its gradient does not jump where one of them comes as near as photographs are.
        """
        rows = zip(self._usual, self.layers, outputs, strict=True)
        further = [of.further(statistics(layer, output)) for of, layer, output in rows]
        return (torch.stack(further).square().mean(0) + TINY).sqrt()


class TrainedStatistics(KnownStatistics):
    """The prior of the pictures that a network was trained on, as its batch norms know them.

    These know the mean and the spread (2, C) of values, and nothing of how single pictures differ.
    So there is no distance that a photograph has, and the pull never fades.
    """

    def __init__(
        self, config: StatisticsConfig, asked: Prior, known: Mapping[Layer, Tensor]
    ) -> None:
        super().__init__(config, asked, list(known))
        self._known = list(known.values())

    def distance(self, outputs: Sequence[Tensor]) -> Tensor:
        """How far pictures' statistics are from the training's: (B,).

        The root mean squares over channels of the means' differences, in units of the spread, and
        of the difference of the spreads' logarithms; their mean over the layers.
        """
        rows = zip(self._known, self.layers, outputs, strict=True)
        off = [_off(known, statistics(layer, out, EPSILON)) for known, layer, out in rows]
        return torch.stack(off).mean(0)


def _off(known: Tensor, values: Tensor) -> Tensor:
    """How far statistics (B, 2, C) are from the known mean and log spread (2, C): (B,)."""
    mean, spread = known
    means = (values[:, 0] - mean) / spread.exp()
    both = torch.stack([means, values[:, 1] - spread])
    return (both.square().mean(2) + TINY).sqrt().sum(0)


@dataclass(frozen=True)
class Usual:
    """How photographs' statistics lie at one layer.

    Attributes:
        centre: (2, C) their mean over the photographs.
        width: (2, C) their standard deviation.
        distance: of a photograph from the centre, on average, as `far` tells it.
    """

    centre: Tensor
    width: Tensor
    distance: float = 1.0

    def further(self, values: Tensor) -> Tensor:
        """By how much statistics (B, 2, C) are further from the centre than photographs': (B,).

        0 for those that are as near, and 1 for those that are twice as far.
        """
        return (self.far(values) / self.distance - 1).relu()

    def far(self, values: Tensor) -> Tensor:
        """How far statistics (B, 2, C) are from the centre: (B,).

        The mean over channels of Student's t's log(1 + z^2 / nu), with z in units of the width.
        """
        away = (values - self.centre) / self.width
        return torch.log1p(away.square() / FREEDOM).mean((1, 2))


def usual(found: Tensor) -> Usual:
    """How the statistics (N, 2, C) of photographs lie."""
    width = found.std(0)
    width = width.clamp_min(LEAST_WIDTH * width.mean(1, keepdim=True)).clamp_min(TINY)
    bare = Usual(found.mean(0), width)
    return dataclasses.replace(bare, distance=max(bare.far(found).mean().item(), TINY))


def statistics(layer: Layer, output: Tensor, least: float = LEAST_VARIANCE) -> Tensor:
    """The mean and the log standard deviation over positions, (B, 2, C), of a layer's channels.

    `least` is added to the variance.
    """
    values = maps(layer, output).flatten(2)
    deviation = (values.var(2, unbiased=False) + least).log() / 2
    return torch.stack([values.mean(2), deviation], 1)


def layers_before(model: Model, targets: TargetSet, every: int) -> list[Layer]:
    """Every so many-th convolution or linear map of those that run before the targets' layers.

    Those alone that have enough positions; the last of them where there are fewer than `every`.
    Raises `RequestError` where there is none.
    """
    found = survey(model)
    order = list(found)
    before = order[: min(order.index(layer.path) for layer in targets.layers)]
    parts = dict(model.module.named_modules())
    layers = [
        found[path]
        for path in before
        if any(weight.dim() > 1 for weight in parts[path].parameters(recurse=False))
        and _positions(found[path]) >= FEWEST_POSITIONS
    ]
    if not layers:
        raise RequestError(
            f"prior=statistics: no layer with positions runs before {targets.layers[0].path}"
        )
    return layers[every - 1 :: every] or layers[-1:]


def trained_before(model: Model, targets: TargetSet, every: int) -> dict[Layer, Tensor]:
    """What every so many-th batch norm before the targets' layers keeps of its input.

    By the convolution that makes the input: the mean and the log of the spread (2, C). Raises
    `RequestError` where there is no batch norm.
    """
    found = survey(model)
    order = list(found)
    before = order[: min(order.index(layer.path) for layer in targets.layers)]
    norms = {id(pair.conv): pair.norm for pair in pairs_to_fold(model, targets.layers, None)}
    parts = dict(model.module.named_modules())
    known = {
        found[path]: _kept(norms[id(parts[path])])
        for path in before
        if id(parts[path]) in norms and _positions(found[path]) >= FEWEST_POSITIONS
    }
    if not known:
        raise RequestError(
            f"prior=statistics: no batch norm runs before {targets.layers[0].path}, so there are "
            "no statistics but photographs' (prior.images=FOLDER)"
        )
    chosen = list(known)[every - 1 :: every] or list(known)[-1:]
    return {layer: known[layer] for layer in chosen}


def _kept(norm: nn.Module) -> Tensor:
    """The running mean and the log of the running spread (2, C) of a batch norm."""
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    return torch.stack([mean, (variance + EPSILON).log() / 2])


def _positions(layer: Layer) -> int:
    """At how many positions statistics can be told; 0 for none."""
    if layer.channel_dim is None or layer.shape[0] != 1 or layer.groups or layer.constant:
        return 0
    sizes = (n for n, axis in zip(layer.shape, layer.axes, strict=True) if axis not in "BCK")
    return math.prod(sizes) - layer.prefix


@PRIORS.register("statistics")
def build(config: StatisticsConfig, inputs: Preprocessing, device: torch.device) -> Prior:
    """The statistics of the photographs that `prior.images` names, or the network's own."""
    if inputs.frames is not None:
        raise RequestError("prior=statistics knows photographs; the network takes clips")
    return StatisticsPrior(config, photographs.find(config.images) if config.images else ())
