"""Targets: units, directions and weighted sums of units, resolved against a model's layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fvis.errors import RequestError, unknown
from fvis.models.base import Model
from fvis.models.layers import LOGITS, Layer, survey, with_channel_dim, with_prefix
from fvis.objectives.classes import VALUE
from fvis.objectives.dictionaries import Dictionary, read_dictionary
from fvis.objectives.directions import read_directions
from fvis.objectives.joint import joint_targets, weights_of
from fvis.objectives.positions import PositionReader, position_reader
from fvis.objectives.units import directory_name, parse_units
from fvis.paths import expand
from fvis.record.unit import ConceptRecord
from fvis.schema import TargetConfig

MOST_NAMES = 12  # of a layer's outputs in a message


@dataclass(frozen=True)
class Target:
    """What one batch row is to excite: one unit, or a direction in the space of units.

    `weights` is None for a single unit; for a direction or a joint target it has one vector (C,)
    for each layer that is read. The repeats of a unit share a `group`. `concept` says how a
    direction was fitted, where `fvis concept` did. With `sign` -1 it is to be excited least.
    """

    layer: str
    unit: int | str
    group: int
    repeat: int | None = None
    weights: tuple[Tensor, ...] | None = None
    concept: ConceptRecord | None = None
    sign: int = 1

    @property
    def name(self) -> str:
        """The name of this target's output directory, e.g. `blocks.6.mlp.act-00017-r1`."""
        return directory_name(self.layer, self.unit, self.repeat)


@dataclass(frozen=True)
class TargetSet:
    """All targets of a run, and how the layers that they need are read."""

    readers: tuple[PositionReader, ...]
    targets: tuple[Target, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are read."""
        return tuple(reader.layer for reader in self.readers)

    @property
    def groups(self) -> list[list[Target]]:
        """The targets, grouped so that the repeats of a unit are together."""
        groups: dict[int, list[Target]] = {}
        for target in self.targets:
            groups.setdefault(target.group, []).append(target)
        return list(groups.values())

    @property
    def sign(self) -> int:
        """1 where the targets are to be excited most, -1 where least."""
        return self.targets[0].sign

    @property
    def score(self) -> str:
        """How units are scored: `target.score`, but a lone unit always by its value."""
        return self.readers[0].score

    def require_units(self, setting: str) -> None:
        """Raise `RequestError`, which names the `setting`, for targets that are no single units."""
        if any(not isinstance(target.unit, int) for target in self.targets):
            raise RequestError(f"{setting} takes units, not target.direction or target.joint")

    def values(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Per layer, the values (B, C) of its units at the position that was asked for."""
        return [reader(output) for reader, output in zip(self.readers, outputs, strict=True)]

    def objective(
        self, targets: Sequence[Target], device: torch.device, views: int = 1
    ) -> "UnitObjective | WeightedObjective":
        """The objective of a batch that has `views` consecutive rows for each of these targets.

        Where a target is to be excited least, its score is minus its value.
        """
        rows = [target for target in targets for _ in range(views)]
        signs = torch.tensor([target.sign for target in rows]).to(device)
        if all(target.weights is None for target in rows):
            units = torch.tensor([target.unit for target in rows]).to(device)
            return UnitObjective(self, units, signs)
        columns = zip(*(target.weights for target in rows if target.weights), strict=True)
        weights = [signs[:, None] * torch.stack(column).to(device) for column in columns]
        return WeightedObjective(self, weights)


@dataclass(frozen=True)
class _TargetObjective:
    """What the objectives of targets share: the layers, and how they are read."""

    read: TargetSet

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are read."""
        return self.read.layers

    def values(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Per layer, the values (B, C) of its units."""
        return self.read.values(outputs)


@dataclass(frozen=True)
class UnitObjective(_TargetObjective):
    """Row b's score is the value of unit `units[b]` of the only layer that is read.

    It is multiplied by `signs[b]`, 1 or -1.
    """

    units: Tensor
    signs: Tensor

    @property
    def norms(self) -> list[Tensor]:
        """Per layer, the length (B,) of the rows' weight vectors: 1."""
        return [torch.ones(len(self.units), device=self.units.device)]

    @property
    def excites(self) -> Tensor:
        """Which rows (B,) have no negative weight; latents that may be negative do not count."""
        dictionary = self.read.readers[0].dictionary
        positive = dictionary is None or dictionary.read == "post"
        return (self.signs > 0) & positive

    @property
    def silences(self) -> Tensor:
        """Which rows (B,) ask for the lowest value of their unit."""
        return self.signs < 0

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """One score per row (B,)."""
        (reader,), (output,) = self.read.readers, outputs
        return self.signs * reader.units(output, self.units)


@dataclass(frozen=True)
class WeightedObjective(_TargetObjective):
    """Row b's score is the sum of all units' values, weighted by row b of `weights`.

    `weights` has one tensor (B, C) for each layer that is read.
    """

    weights: list[Tensor]

    @property
    def norms(self) -> list[Tensor]:
        """Per layer, the length (B,) of the rows' weight vectors."""
        return [weight.norm(dim=1) for weight in self.weights]

    @property
    def excites(self) -> Tensor:
        """Which rows (B,) have no negative weight."""
        return torch.stack([(weight >= 0).all(1) for weight in self.weights]).all(0)

    @property
    def silences(self) -> Tensor:
        """None of the rows (B,): they are sums of several units."""
        return torch.zeros_like(self.excites)

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """One score per row (B,). Units of weight 0 are ignored, even where their value is NaN."""
        pairs = zip(self.values(outputs), self.weights, strict=True)
        terms = [(values.masked_fill(weight == 0, 0) * weight).sum(1) for values, weight in pairs]
        return torch.stack(terms).sum(0)


def layers_read(config: TargetConfig) -> list[str]:
    """The paths of the layers that a target config of a single layer, or of a joint target, reads.

    Raises `RequestError` for a joint target that is not well-formed, and for several layers.
    """
    if not isinstance(config.layer, str):
        raise RequestError(f"target.layer={config.layer} is no single layer, which this takes")
    paths = [term.layer for terms in joint_targets(config).values() for term in terms]
    return list(dict.fromkeys(paths)) or [config.layer]


def resolve(
    config: TargetConfig, model: Model, seed: int, layers: Mapping[str, Layer] | None = None
) -> TargetSet:
    """The targets that a target config of a single layer asks for in a model.

    `layers` are the model's, where `survey` has already found them. Raises `RequestError` for an
    unknown layer, for a unit or position that the layer does not have, and for a layer whose
    channel axis cannot be inferred.
    """
    joint, paths = joint_targets(config), layers_read(config)
    found = survey(model, config.output, paths) if layers is None else layers
    video = model.preprocessing.frames is not None
    read = [_readable(found, path, config, video) for path in paths]
    if config.output is not None and not any(layer.outputs for layer in read):
        raise RequestError(
            f"target.output is {config.output!r}; layer {paths[0]} returns a single tensor"
        )
    dictionary = _dictionary(config, read[0], model.device)
    score = config.score if (read[0].units or 0) > 1 else VALUE
    readers = tuple(
        position_reader(layer, config.position, model, dictionary, score) for layer in read
    )
    named: list[tuple[int | str, tuple[Tensor, ...] | None]]
    concepts: dict[int | str, ConceptRecord | None] = {}
    if joint:
        named = [(name, weights_of(terms, read)) for name, terms in joint.items()]
    elif config.direction is not None:
        directions = read_directions(config.direction, read[0], model)
        named = [(each.name, (each.vector,)) for each in directions]
        concepts = {each.name: each.concept for each in directions}
    else:
        count = read[0].units if dictionary is None else dictionary.count
        assert count is not None, "_readable() refuses layers whose channel axis is unknown"
        is_class = read[0].path == LOGITS and dictionary is None
        classes = (model.classes or ()) if is_class else ()
        named = [(unit, None) for unit in parse_units(config.units, count, seed, classes)]
    repeats = [None] if config.repeats == 1 else list(range(config.repeats))
    targets = [
        Target(paths[0], unit, group, repeat, weights, concepts.get(unit), config.sign)
        for group, (unit, weights) in enumerate(named)
        for repeat in repeats
    ]
    return TargetSet(readers, tuple(targets))


def dictionary_of(config: TargetConfig, model: Model) -> Dictionary | None:
    """The dictionary that a target config names for its layer; raises errors as `resolve`."""
    found = survey(model, config.output, layers_read(config))
    video = model.preprocessing.frames is not None
    return _dictionary(config, _readable(found, config.layer, config, video), model.device)


def _dictionary(config: TargetConfig, layer: Layer, device: torch.device) -> Dictionary | None:
    if config.dictionary is None:
        return None
    if joint_targets(config) or config.direction is not None:
        raise RequestError("target.dictionary takes target.units, no target.joint or direction")
    return read_dictionary(expand(config.dictionary), config.read, layer).to(device)


def require_rows(layer: Layer) -> None:
    """Raise `RequestError` for a layer whose values are not those of one picture in each row."""
    if layer.constant:
        raise RequestError(
            f"layer {layer.path} does not depend on the picture: the network computes it from its "
            "own parameters, as a table of positions is"
        )
    if layer.shape[0] != 1:
        raise RequestError(
            f"layer {layer.path} returns {layer.shape} for one input: its first axis is not the "
            "batch, so units cannot be read picture by picture"
        )


def _readable(found: Mapping[str, Layer], path: str, config: TargetConfig, video: bool) -> Layer:
    """The layer at `path` if its units can be read; raises `RequestError` if they cannot."""
    if path not in found:
        raise unknown("layer", path, found)
    layer = found[path]
    parts = [str(part) for part in layer.outputs]
    if not layer.shape and parts and config.output is not None and str(config.output) not in parts:
        raise unknown("target.output", str(config.output), parts)
    if not layer.shape:
        names = ", ".join(map(str, layer.outputs[:MOST_NAMES])) or "none, or a number without rows"
        raise RequestError(
            f"layer {path} returns no single tensor (it returns {names}): give target.output, or "
            "another of the layers that `fvis layers` lists"
        )
    require_rows(layer)
    if config.channel_dim is not None:
        layer = with_channel_dim(layer, config.channel_dim, video)
    if layer.channel_dim is None:
        raise RequestError(
            f"layer {path} returns {layer.shape}: its channel axis cannot be inferred; "
            "give target.channel_dim"
        )
    if layer.units == 0:
        raise RequestError(f"layer {path} has no units: it returns {layer.shape}")
    return layer if config.prefix_tokens is None else with_prefix(layer, config.prefix_tokens)
