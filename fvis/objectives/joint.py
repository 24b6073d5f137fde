"""Weighted sums of units: what `target.joint` and `target.grid` stand for."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fvis.artifacts import safe_name
from fvis.errors import RequestError
from fvis.models.layers import Layer
from fvis.schema import TargetConfig

JOINT = "joint"  # the name of a joint target that is not given one


@dataclass(frozen=True)
class Term:
    """A unit of a layer, and its weight in a sum."""

    layer: str
    unit: int
    weight: float


def joint_targets(config: TargetConfig) -> dict[str, list[Term]]:
    """The terms of each weighted sum that a target config asks for, by name; empty without any.

    Raises `RequestError` for what is not well-formed.
    """
    asked = {"joint": config.joint, "grid": config.grid, "direction": config.direction}
    given = [f"target.{name}" for name, value in asked.items() if value is not None]
    if len(given) > 1:
        raise RequestError(f"{' and '.join(given)} exclude each other")
    if config.grid is not None:
        return _grid(config.grid, config)
    if config.joint is None:
        return {}
    named = config.joint if isinstance(config.joint, Mapping) else {JOINT: config.joint}
    shared = [name for name, count in Counter(map(safe_name, map(str, named))).items() if count > 1]
    if shared:
        raise RequestError(f"target.joint has two names that both give the directory {shared[0]}")
    found = {str(name): _terms(terms, config.layer) for name, terms in named.items()}
    if not found:
        raise RequestError("target.joint is empty")
    return found


def _grid(pair: Sequence[Any], config: TargetConfig) -> dict[str, list[Term]]:
    """Sums of two units for each pair of weights from -1 to 1, without that of zero weights.

    Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017 (on interactions).
    """
    units = [unit for unit in pair if type(unit) is int]
    if len(pair) != 2 or len(set(units)) != 2:
        raise RequestError(f"target.grid is {list(pair)}; it takes two units, such as [3, 7]")
    found = {}
    for weights in itertools.product(grid_weights(config.grid_steps), repeat=2):
        if any(weights):
            name = grid_name((units[0], units[1]), weights)
            pairs = zip(units, weights, strict=True)
            found[name] = [Term(config.layer, unit, weight) for unit, weight in pairs]
    return found


def grid_weights(steps: int) -> list[float]:
    """The weights of each unit in a grid, from -1 to 1.

    >>> grid_weights(5)
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    return [round(weight, 6) + 0.0 for weight in torch.linspace(-1, 1, steps).tolist()]


def grid_name(pair: tuple[int, int], weights: Sequence[float]) -> str:
    """What a sum of two units is called in a grid.

    >>> grid_name((3, 7), (-0.5, 1.0))
    '3x-0.5_7x1'
    """
    return "_".join(f"{unit}x{weight:.3g}" for unit, weight in zip(pair, weights, strict=True))


def _terms(given: Any, layer: str) -> list[Term]:
    """The terms of one sum."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise RequestError(f"target.joint has {given!r}; it takes a list of terms")
    terms = []
    for term in given:
        extra = set(term) - {"layer", "unit", "weight"} if isinstance(term, dict) else {"?"}
        if extra or type(term.get("unit")) is not int:  # true is an int, too
            raise RequestError(
                f"target.joint has {term}; each term takes {{layer: L, unit: 3, weight: 1.0}}"
            )
        path = str(term.get("layer", layer))
        terms.append(Term(path, term["unit"], _weight(term.get("weight", 1.0))))
    if not terms:
        raise RequestError("target.joint is empty")
    if not any(term.weight for term in terms):
        raise RequestError("target.joint has no weight other than zero")
    return terms


def _weight(given: object) -> float:
    number = given if isinstance(given, int | float) and not isinstance(given, bool) else math.nan
    if not math.isfinite(number):
        raise RequestError(f"target.joint has weight {given!r}; it takes a finite number")
    return float(number)


def weights_of(terms: Sequence[Term], layers: Sequence[Layer]) -> tuple[Tensor, ...]:
    """Per layer, the weights (C,) that the terms give its units.

    Raises `RequestError` for a unit that a layer does not have.
    """
    weights = {layer.path: torch.zeros(layer.units or 0) for layer in layers}
    for term in terms:
        count = len(weights[term.layer])
        if not 0 <= term.unit < count:
            raise RequestError(
                f"a joint target has unit {term.unit}; {term.layer} has units 0 to {count - 1}"
            )
        weights[term.layer][term.unit] += term.weight
    if not any(weight.any() for weight in weights.values()):
        raise RequestError("target.joint has weights that cancel: nothing is left of the sum")
    return tuple(weights[layer.path] for layer in layers)
