"""`fvis interactions`: units' optima and those of all pairs, and how every unit responds to them.

It makes two runs, `alone` and `together`, and measures on the pictures that they saved.
"""

import dataclasses
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvis import grounding, provenance, runner
from fvis.architecture_defaults import with_architecture_defaults
from fvis.artifacts import read_png
from fvis.batching import in_batches
from fvis.capture import Network
from fvis.context import Context, prepare
from fvis.errors import RequestError
from fvis.interactions.measures import Interaction, Natural, interactions, pair_weights, varies
from fvis.objectives import TargetSet, resolve
from fvis.objectives.selection import is_single
from fvis.objectives.units import directory_name
from fvis.run_folder import RUN_FILE, UNITS, read_run
from fvis.schema import ActivationMaximizationConfig, Config, EvidenceConfig

ALONE, TOGETHER = "alone", "together"  # the folders of the two runs
IMAGE = "image.png"  # of an optimum: the whole input, as the network is asked about it
BATCH = 16  # pictures per forward pass
FEWEST = 8  # photographs; a deviation from fewer, let alone a correlation, is chance

Pair = tuple[int, int]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """What was measured of K units of a layer.

    Attributes:
        layer: the layer's path.
        units: their indices in the layer.
        labels: what they are called: their indices, or for classes their names.
        natural: how they respond to photographs.
        photographs: how many photographs these are.
        alone: responses (K, K) in natural standard deviations, row i to the optimum of unit i.
        together: responses (K,) to the joint optimum of each pair of indices into `units`.
        folders: that of each optimum, by index or pair.
    """

    layer: str
    units: Sequence[int]
    labels: Sequence[str]
    natural: Natural
    photographs: int
    alone: Tensor
    together: Mapping[Pair, Tensor]
    folders: Mapping[int | Pair, Path]

    def picture(self, of: int | Pair) -> Path:
        """The file that shows an optimum: of a unit that sees a part of it, this part enlarged."""
        motif = self.folders[of] / "motif.png"
        return motif if motif.is_file() else self.folders[of] / IMAGE

    @property
    def found(self) -> list[Interaction]:
        """The interactions of all units with all pairs of others, the greatest synergy first."""
        return interactions(self.alone, dict(self.together))


def carry_out(
    config: Config, directory: Path, texts: Mapping[str, str] | None = None, *, force: bool = False
) -> Study:
    """Make the runs that a config asks for in `directory`, and measure.

    A run that is there and finished is used again; one that was interrupted is finished. Raises
    `RequestError`, before anything is written, for what is not a choice of two or more units of one
    layer of a network of images. A unit that responds to all photographs alike is left out.
    """
    _refuse(config)
    context = prepare(config)
    targets = resolve(config.target, context.model, config.engine.seed)
    layer = targets.layers[0].path
    network = Network(context.model, targets.layers, config.target.output, context.autocast)
    seen = grounding.natural_responses(config.grounding, context.model, targets, network)
    if len(seen.files) < FEWEST:
        raise RequestError(
            f"fvis interactions tells responses in standard deviations over {FEWEST} photographs "
            f"or more; grounding.images has {len(seen.files)}"
        )
    units = _varying([int(target.unit) for target in targets.targets], seen.scores)
    if len(units) < 2:
        raise RequestError(
            "fvis interactions takes two units or more whose responses to photographs differ: see "
            "target.units"
        )
    natural = Natural.of(seen.scores[:, units])
    config = dataclasses.replace(config, target=dataclasses.replace(config.target, units=units))
    pairs = list(itertools.combinations(range(len(units)), 2))
    _made(context, config, directory / ALONE, texts, force)
    _made(context, _joint(config, units, pairs, natural), directory / TOGETHER, None, force)
    folders: dict[int | Pair, Path] = {}
    for index, unit in enumerate(units):
        folders[index] = directory / ALONE / UNITS / directory_name(layer, unit)
    for pair in pairs:
        folders[pair] = directory / TOGETHER / UNITS / directory_name(layer, _name(units, pair))
    files = [folder / IMAGE for folder in folders.values()]
    values = _values(files, targets, network, context)[:, units]
    responses = natural.deviations(values)
    return Study(
        layer=layer,
        units=units,
        labels=[_label(context, layer, unit) for unit in units],
        natural=natural,
        photographs=len(seen.files),
        alone=responses[: len(units)],
        together=dict(zip(pairs, responses[len(units) :], strict=True)),
        folders=folders,
    )


def _refuse(config: Config) -> None:
    """Raise `RequestError` for settings that no interactions can be told of."""
    target = config.target
    asked = {
        "target.ensemble": bool(target.ensemble),
        "target.direction": target.direction is not None,
        "target.dictionary": target.dictionary is not None,
        "target.joint or target.grid": target.is_joint,
        "target.repeats": target.repeats > 1,
        "target.sign=-1": target.sign < 0,
        "several layers": not is_single(target),
        f"method={config.method.name}": config.method.name != ActivationMaximizationConfig.name,
    }
    for setting, given in asked.items():
        if given:
            raise RequestError(f"fvis interactions takes units of one layer, not {setting}")
    if not config.grounding.images:
        raise RequestError("fvis interactions needs grounding.images: photographs to compare with")


def _varying(units: Sequence[int], scores: Tensor) -> list[int]:
    """The units whose values (N, C) for photographs differ; warns of the others.

    The responses of those cannot be told in natural standard deviations.
    """
    varying = dict(zip(units, varies(scores[:, list(units)]).tolist(), strict=True))
    if left_out := [str(unit) for unit in units if not varying[unit]]:
        logger.warning("units that respond to all photographs alike: %s", ", ".join(left_out))
    return [unit for unit in units if varying[unit]]


def _joint(config: Config, units: Sequence[int], pairs: Sequence[Pair], natural: Natural) -> Config:
    """The config of the joint optima, in which the units of a pair count alike."""
    joint = {}
    for pair in pairs:
        weights = pair_weights(natural, *pair)
        terms = zip(pair, weights, strict=True)
        joint[_name(units, pair)] = [{"unit": units[i], "weight": weight} for i, weight in terms]
    target = dataclasses.replace(config.target, units="all", joint=joint)
    ungrounded = dataclasses.replace(config.grounding, images=None)  # that is of single units
    return dataclasses.replace(
        config, target=target, grounding=ungrounded, evidence=EvidenceConfig()
    )


def _made(
    context: Context, config: Config, folder: Path, texts: Mapping[str, str] | None, force: bool
) -> None:
    """Make a run, or finish it; one that is done is left as it is unless its weights changed."""
    if (folder / RUN_FILE).is_file() and not force:
        old = read_run(folder).record
        own = provenance.plain(with_architecture_defaults(config, context.model))
        same = old.config_sha256 == provenance.sha256_of_config(own)
        if same and old.model.weights.sha256 == context.model.sha256:
            runner.resume(folder)
            return
    runner.run(config, folder, texts, force=force)


def _values(
    files: Sequence[Path], targets: TargetSet, network: Network, context: Context
) -> Tensor:
    """The values (N, C) of all units of the layer for N pictures as saved."""

    def see(batch: list[Path]) -> list[Tensor]:
        rgb = torch.stack([torch.from_numpy(read_png(file)) for file in batch])
        return list(targets.values(network(rgb.to(context.device)))[0].cpu())

    with network, torch.no_grad():
        batches = in_batches([[file] for file in files], BATCH, see)
        return torch.stack([row for batch in batches for row in batch])


def _name(units: Sequence[int], pair: Pair) -> str:
    """What the joint optimum of a pair is called.

    >>> _name([3, 7, 12], (0, 2))
    '3_and_12'
    """
    return "_and_".join(str(units[index]) for index in pair)


def _label(context: Context, layer: str, unit: int) -> str:
    return (context.model.class_name(unit) if layer == "logits" else None) or str(unit)
