"""What is maximised: layer, units and position read as one score per batch row."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from fvis.artifacts import safe_name
from fvis.errors import RequestError, unknown
from fvis.models.base import Model
from fvis.models.layers import Layer, survey, with_channel_dim
from fvis.schema import TargetConfig

Index = tuple[int, ...]


@dataclass(frozen=True)
class Target:
    """What one batch row is to excite.

    `weights` has one vector (C,) per layer of the objective: one-hot for a unit, anything for a
    direction or a joint target. `group` is shared by the repeats of one unit.
    """

    layer: str
    unit: int | str
    weights: tuple[Tensor, ...]
    group: int
    repeat: int | None = None

    @property
    def name(self) -> str:
        """The name of this target's output directory, e.g. `blocks.6.mlp.act-00017-r1`."""
        return directory_name(self.layer, self.unit, self.repeat)


@dataclass(frozen=True)
class Objective:
    """Layers, where in them to read, and the targets that weigh their units."""

    layers: tuple[Layer, ...]
    position: str
    indices: tuple[Index | None, ...]
    targets: tuple[Target, ...]

    def weights(self, targets: Sequence[Target], device: torch.device) -> list[Tensor]:
        """Per layer, the targets' weights (B, C) on `device`."""
        columns = zip(*(target.weights for target in targets), strict=True)
        return [torch.stack(column).to(device) for column in columns]

    def values(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Per layer, its units' values (B, C) at the objective's position."""
        return [
            read(layer, output, self.position, index)
            for layer, output, index in zip(self.layers, outputs, self.indices, strict=True)
        ]

    def scores(self, outputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """One score per row (B,): the layers' outputs weighed by `weights()`."""
        pairs = zip(self.values(outputs), weights, strict=True)
        terms = [(values.masked_fill(weight == 0, 0) * weight).sum(1) for values, weight in pairs]
        return torch.stack(terms).sum(0)

    def spread(self, outputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """How far a score (B,) may be expected to vary: the units' spread in each row, weighed.

        Units without a finite value, such as masked classes, do not count.
        """
        pairs = zip(self.values(outputs), weights, strict=True)
        return torch.stack([_spread(values) * weight.norm(dim=1) for values, weight in pairs]).sum(
            0
        )


def resolve(config: TargetConfig, model: Model, seed: int) -> Objective:
    """The objective a target config asks of a model.

    Raises `RequestError` for an unknown layer, a unit or position that it does not have, and a
    layer whose channel axis cannot be known.
    """
    found = survey(model, config.output)
    terms = _terms(config)
    paths = list(dict.fromkeys(path for path, *_ in terms)) or [config.layer]
    video = model.preprocessing.frames is not None
    layers = tuple(_readable(found, path, config, video) for path in paths)
    position, index = parse_position(config.position)
    indices = tuple(_position_index(layer, position, index, model) for layer in layers)
    named: list[tuple[int | str, tuple[Tensor, ...]]]
    if config.joint is not None:
        named = [("joint", _joint(terms, layers))]
    elif config.direction is not None:
        named = _directions(Path(config.direction).expanduser(), layers[0])
    else:
        units = parse_units(config.units, _units(layers[0]), seed)
        named = [(unit, (_one_hot(unit, layers[0]),)) for unit in units]
    repeats = [None] if config.repeats == 1 else list(range(config.repeats))
    targets = [
        Target(paths[0], unit, weights, group, repeat)
        for group, (unit, weights) in enumerate(named)
        for repeat in repeats
    ]
    return Objective(layers, position, indices, tuple(targets))


def read(layer: Layer, output: Tensor, position: str, index: Index | None = None) -> Tensor:
    """The value of each unit (B, C) of a layer's output at `position`.

    `mean` averages over all positions, prefix tokens excluded; `cls` is the first token; `index`
    picks one position, counted in axis order (for tokens: from the first patch).
    """
    if position == "cls":
        assert layer.channel_dim is not None
        return output.movedim(layer.channel_dim, 1)[:, :, 0]
    values = maps(layer, output)
    if values.dim() == 2:
        return values
    if index is not None:
        for place in index:
            values = values.select(2, place)
        return values
    return values.flatten(2).mean(2)


def _spread(values: Tensor) -> Tensor:
    """The standard deviation (B,) of the finite ones of values (B, C)."""
    finite = values.isfinite()
    count = finite.sum(1, keepdim=True).clamp_min(1)
    mean = values.masked_fill(~finite, 0).sum(1, keepdim=True) / count
    return ((values - mean).masked_fill(~finite, 0).square().sum(1) / count[:, 0]).sqrt()


def maps(layer: Layer, output: Tensor) -> Tensor:
    """Each unit's values (B, C, positions...) over a layer's output, prefix tokens left out."""
    dim = layer.channel_dim
    assert dim is not None, "resolve() refuses layers whose channel axis is unknown"
    values = output.movedim(dim, 1)
    return values[:, :, layer.prefix :] if layer.prefix and values.dim() > 2 else values


def parse_units(spec: Any, count: int, seed: int) -> list[int]:
    """Unit indices from `3`, `[1, 5]`, `"0:64"`, `"all"` or `"random:16"`, of a layer of `count`.

    >>> parse_units("1:7:2", 10, 0), parse_units([3, "8:"], 10, 0)
    ([1, 3, 5], [3, 8, 9])
    """
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        units = [unit for part in spec for unit in parse_units(part, count, seed)]
        if not units:
            raise RequestError("target.units is empty")
        return list(dict.fromkeys(units))
    text = str(spec).strip()
    if text == "all":
        return list(range(count))
    if match := re.fullmatch(r"random:(\d+)", text):
        return _random_units(int(match[1]), count, seed)
    if re.fullmatch(r"\d+", text):
        if int(text) >= count:
            raise RequestError(f"target.units has {text}; the layer has units 0 to {count - 1}")
        return [int(text)]
    if re.fullmatch(r"\d*:\d*(:\d+)?", text):
        start, stop, step = ([int(p) if p else None for p in text.split(":")] + [None])[:3]
        beyond = max(start or 0, stop or 0) > count
        units = [] if step == 0 or beyond else list(range(count)[start:stop:step])
        if units:
            return units
        raise RequestError(f"target.units is {text}; the layer has units 0 to {count - 1}")
    raise RequestError(f"target.units is {text!r}; it takes 3, [1,5], 0:64, all or random:16")


def parse_position(spec: Any) -> tuple[str, Index | None]:
    """`mean`, `center` or `cls` as they are; an index list as ("index", indices)."""
    if isinstance(spec, str) and spec in ("mean", "center", "cls"):
        return spec, None
    numbers = [spec] if isinstance(spec, int) else spec
    if isinstance(numbers, Sequence) and numbers and all(type(n) is int for n in numbers):
        return "index", tuple(numbers)
    raise RequestError(
        f"target.position is {spec!r}; it takes mean, center, cls, or an index such as [3,3]"
    )


def directory_name(layer: str, unit: int | str, repeat: int | None = None) -> str:
    """A unit's directory: layer with its dots, unit zero-padded to 5, repeat as -r<k>.

    >>> directory_name("blocks.6.mlp.act", 17, 1)
    'blocks.6.mlp.act-00017-r1'
    """
    label = f"{unit:05d}" if isinstance(unit, int) else unit
    name = safe_name(f"{layer}-{label}")
    return name if repeat is None else f"{name}-r{repeat}"


def _terms(config: TargetConfig) -> list[tuple[str, int, float]]:
    """The (layer, unit, weight) terms of a joint target."""
    if config.joint is None:
        return []
    if config.direction is not None:
        raise RequestError("target.joint and target.direction exclude each other")
    terms = []
    for term in config.joint:
        extra = set(term) - {"layer", "unit", "weight"} if isinstance(term, dict) else {"?"}
        if extra or not isinstance(term.get("unit"), int):
            raise RequestError(
                f"target.joint has {term}; each term takes {{layer: L, unit: 3, weight: 1.0}}"
            )
        path = str(term.get("layer", config.layer))
        terms.append((path, term["unit"], float(term.get("weight", 1.0))))
    if not terms:
        raise RequestError("target.joint is empty")
    return terms


def _joint(terms: list[tuple[str, int, float]], layers: Sequence[Layer]) -> tuple[Tensor, ...]:
    weights = {layer.path: torch.zeros(_units(layer)) for layer in layers}
    for path, unit, weight in terms:
        count = len(weights[path])
        if not 0 <= unit < count:
            raise RequestError(f"target.joint has unit {unit}; {path} has units 0 to {count - 1}")
        weights[path][unit] += weight
    return tuple(weights[layer.path] for layer in layers)


def _directions(path: Path, layer: Layer) -> list[tuple[int | str, tuple[Tensor, ...]]]:
    """The unit-length rows of a direction file, each with its name."""
    rows = torch.atleast_2d(_read_vectors(path))
    count = _units(layer)
    if rows.dim() != 2 or rows.shape[1] != count:
        shape = "x".join(map(str, rows.shape))
        raise RequestError(f"{path} holds {shape}; {layer.path} takes vectors of {count}")
    if not torch.isfinite(rows).all() or (rows.norm(dim=1) == 0).any():
        raise RequestError(f"{path} holds a vector that is zero or not finite")
    names = [path.stem] if len(rows) == 1 else [f"{path.stem}-{i}" for i in range(len(rows))]
    return [
        (f"direction-{name}", (row / row.norm(),)) for name, row in zip(names, rows, strict=True)
    ]


def _read_vectors(path: Path) -> Tensor:
    if not path.is_file():
        raise RequestError(f"no file {str(path)!r} for target.direction")
    try:
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False)).float()
        if path.suffix == ".safetensors":
            return torch.cat([torch.atleast_2d(v) for v in load_file(path).values()]).float()
        content = torch.load(path, map_location="cpu", weights_only=True)
        return torch.as_tensor(content).float()
    except (ValueError, RuntimeError, TypeError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(f"{path} is not a readable vector: {reason}") from None


def _one_hot(unit: int, layer: Layer) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(unit), _units(layer)).float()


def _units(layer: Layer) -> int:
    assert layer.units is not None, "resolve() refuses layers whose channel axis is unknown"
    return layer.units


def _random_units(wanted: int, count: int, seed: int) -> list[int]:
    if not 1 <= wanted <= count:
        raise RequestError(f"target.units is random:{wanted}; the layer has {count} units")
    generator = torch.Generator().manual_seed(seed)
    return sorted(torch.randperm(count, generator=generator)[:wanted].tolist())


def _readable(found: dict[str, Layer], path: str, config: TargetConfig, video: bool) -> Layer:
    """The layer at `path`, its channel axis known; raises `RequestError` where it is not."""
    if path not in found:
        raise unknown("layer", path, found)
    layer = found[path]
    if not layer.shape:
        names = ", ".join(map(str, layer.outputs)) or "nothing"
        raise RequestError(
            f"layer {path} returns no single tensor (it returns {names}): give target.output"
        )
    if layer.shape[0] != 1:
        raise RequestError(
            f"layer {path} returns {layer.shape} for one input: its first axis is not the batch, "
            "so its units cannot be told apart by picture"
        )
    if config.channel_dim is not None:
        layer = with_channel_dim(layer, config.channel_dim, video)
    if layer.channel_dim is None:
        raise RequestError(
            f"layer {path} returns {layer.shape}: its channel axis cannot be known; "
            "give target.channel_dim"
        )
    if config.prefix_tokens is not None:
        layer = Layer(**{**layer.__dict__, "prefix": config.prefix_tokens})
    return layer


def _position_index(layer: Layer, position: str, index: Index | None, model: Model) -> Index | None:
    """Where in the layer `position` is; raises `RequestError` where there is no such place."""
    sizes = [n for n, axis in zip(layer.shape, layer.axes, strict=True) if axis not in "BCK"]
    if position == "cls":
        if layer.prefix == 0:
            raise RequestError(f"layer {layer.path} has no class token for target.position=cls")
        return None
    if position == "mean":
        return None
    if not sizes:
        raise RequestError(f"layer {layer.path} has no positions: target.position must be mean")
    if "N" not in layer.axes:
        index = tuple(n // 2 for n in sizes) if index is None else index
        return _checked(layer, index, sizes)
    tokens = sizes[0] - layer.prefix
    if index is not None and len(index) == 1:
        return _checked(layer, index, [tokens])
    grid = token_grid(layer, tokens, model)
    index = tuple(n // 2 for n in grid) if index is None else _checked(layer, index, grid)
    return (index[0] * grid[1] + index[1],)


def token_grid(layer: Layer, tokens: int, model: Model) -> list[int]:
    """Rows and columns of an image's patch tokens, in the input's aspect ratio."""
    size = model.preprocessing
    rows = round(math.sqrt(tokens * size.height / size.width))
    if size.frames is not None or rows == 0 or tokens % rows:
        raise RequestError(
            f"layer {layer.path} has {tokens} tokens in no known grid: "
            "target.position takes mean, or one token's index"
        )
    return [rows, tokens // rows]


def _checked(layer: Layer, index: Index, sizes: Sequence[int]) -> Index:
    inside = len(index) == len(sizes) and all(0 <= i < n for i, n in zip(index, sizes, strict=True))
    if not inside:
        size = ", ".join(map(str, sizes))
        raise RequestError(
            f"target.position is {list(index)}; layer {layer.path} has positions [{size}]"
        )
    return index
