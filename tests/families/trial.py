"""What fvis says of a network at random weights: its layers, and three of its units climbed."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fvis import compose, models, runner, schema
from fvis.context import prepare
from fvis.errors import RequestError
from fvis.models import Model
from fvis.models.layers import LOGITS, Layer, survey
from fvis.plan import plan
from fvis.record.unit import DEAD, OK, RESCUED
from fvis.responsiveness import why_dead
from fvis.schema import Config

from .networks import Network

STEPS = 3
UNIT = 3
PATIENCE, UNITS = 32, range(3, 7)  # where that one is not woken: more steps, and others beside it
PLACES = {"early": 0.1, "middle": 0.5}  # among the layers with units, in the order of depth


@dataclass(frozen=True)
class Outcome:
    """What became of a layer's units: ok, rescued, or dead or refused and why, in a line."""

    layer: str
    status: str
    reason: str | None = None


@dataclass(frozen=True)
class Report:
    """A network's layers, how many of them have units, and what became of three of those."""

    network: Network
    layers: int
    with_units: int
    outcomes: Sequence[Outcome]


def tried(network: Network) -> Report:
    """Build a network at random weights, list its layers and climb an early, a middle, an output.

    Any error but the refusal of a layer is raised.
    """
    steps = f"engine.steps={STEPS}"
    config = schema.parse(compose.compose([*network.overrides, steps, "engine.device=cpu"]))
    model = models.load(config.model)
    found = survey(model)
    layers = [layer for layer in found.values() if layer.units and layer.path != LOGITS]
    shown = [layers[int(place * len(layers))] for place in PLACES.values()]
    outcomes = [_climbed(config, model, layer) for layer in (*shown, found[LOGITS])]
    return Report(network, len(found), len(layers), outcomes)


def _climbed(config: Config, model: Model, layer: Layer) -> Outcome:
    try:
        for units, steps in (([UNIT], STEPS), (UNITS, PATIENCE)):
            there = sorted({min(unit, layer.units - 1) for unit in units if layer.units})
            target = dataclasses.replace(config.target, layer=layer.path, units=there or [*units])
            engine = dataclasses.replace(config.engine, steps=steps, log_every=1)
            context = prepare(dataclasses.replace(config, target=target, engine=engine), model)
            results = runner.solve(plan(context), context.config, torch.device("cpu"))
            found = {str(result.metadata["status"]) for result in results}
            for status in (OK, RESCUED):
                if status in found:
                    return Outcome(layer.path, status)
    except RequestError as error:
        return Outcome(layer.path, "refused", str(error))
    return Outcome(layer.path, DEAD, why_dead(model.module))


def row(report: Report) -> str:
    """A report as a row of a Markdown table."""
    outcomes = (
        f"`{one.layer}` {one.status}" + (f": {one.reason}" if one.reason else "")
        for one in report.outcomes
    )
    name = f"{report.network.source} `{report.network.name}`"
    return f"| {name} | {report.with_units} of {report.layers} | " + " | ".join(outcomes) + " |"
