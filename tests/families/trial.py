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
from fvis.record import DEAD
from fvis.schema import Config

from .networks import Network

STEPS = 3
PATIENCE = 32  # steps after which a unit that three did not wake is called dead
UNIT = 3
PLACES = {"early": 0.1, "middle": 0.5}  # among the layers with units, in the order of depth


@dataclass(frozen=True)
class Outcome:
    """What became of a layer's unit: ok, rescued or dead, or the line that refuses it."""

    layer: str
    status: str
    refusal: str | None = None


@dataclass(frozen=True)
class Report:
    """A network's layers, how many of them have units, and what became of three of those."""

    network: Network
    layers: int
    with_units: int
    outcomes: Sequence[Outcome]


def tried(network: Network) -> Report:
    """Build a network at random weights, list its layers and climb an early, a middle, an output.

    Any error but a refusal is raised.
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
    unit = min(UNIT, (layer.units or UNIT + 1) - 1)
    target = dataclasses.replace(config.target, layer=layer.path, units=[unit])
    try:
        for steps in (STEPS, PATIENCE):
            engine = dataclasses.replace(config.engine, steps=steps, log_every=1)
            asked = dataclasses.replace(config, target=target, engine=engine)
            context = prepare(asked, model)
            (result,) = runner.solve(plan(context), context.config, torch.device("cpu"))
            status = str(result.metadata["status"])
            if status != DEAD:
                break
    except RequestError as error:
        return Outcome(layer.path, "refused", str(error))
    return Outcome(layer.path, status)


def row(report: Report) -> str:
    """A report as a row of a Markdown table."""
    outcomes = (
        f"`{one.layer}` {one.status}" + (f": {one.refusal}" if one.refusal else "")
        for one in report.outcomes
    )
    name = f"{report.network.source} `{report.network.name}`"
    return f"| {name} | {report.with_units} of {report.layers} | " + " | ".join(outcomes) + " |"
