"""`python -m tests.benchmarks.savings`: what folding, layout and canvas save of a step.

Each layer's step is measured in three ways, in turns in one process, in CPU seconds: plain, with
batch norm folded and channels last, and on the canvas as well. Weights are random.
"""

import argparse
import dataclasses
import itertools
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fvis import schema
from fvis.compose import compose
from fvis.context import prepare
from fvis.optimization import Optimization
from fvis.schema import SynthesisConfig
from fvis.synthesis import Synthesizer

# Per timm network: an early and a middle layer, and the output.
LAYERS = {
    "mobilenetv2_100": ("blocks.1", "blocks.2", "logits"),
    "resnet50": ("layer1", "layer2", "logits"),
}
POSITIONS = ("center", "mean")
FULL = ("engine.canvas=full",)
WAYS = {
    "plain": (*FULL, "engine.fold=never", "engine.channels_last=false"),
    "folded": FULL,
    "canvas": (),
}
STEPS, ROUNDS = 4, 3  # the first step of each round is a warm-up


@dataclass(frozen=True)
class Saving:
    """CPU seconds of a step per picture, by way, and the canvas's side (None: the whole input)."""

    network: str
    layer: str
    position: str
    batch: int
    side: int | None
    seconds: dict[str, float]

    def times(self, way: str) -> float:
        """How many times less CPU a way takes than the plain one."""
        return self.seconds["plain"] / self.seconds[way]


def measure(network: str, layer: str, position: str, batch: int) -> Saving:
    """Measure the ways in turns, as `fvis run` steps with its defaults."""
    synthesizers = {
        name: _synthesizer(network, layer, position, batch, ways) for name, ways in WAYS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, synthesizer in synthesizers.items():
            seconds[name] += _step_seconds(synthesizer)
    medians = {name: statistics.median(each) / batch for name, each in seconds.items()}
    side = synthesizers["canvas"].canvas.side
    return Saving(network, layer, position, batch, side, medians)


def _synthesizer(
    network: str, layer: str, position: str, batch: int, ways: Sequence[str]
) -> Synthesizer:
    overrides = [
        *("model=timm", f"model.name={network}", "model.pretrained=false", "engine.device=cpu"),
        *(f"target.layer={layer}", f"target.units=0:{batch}", f"target.position={position}"),
        *(f"engine.steps={STEPS}", "method.rescue=false", *ways),
    ]
    context = prepare(schema.parse(compose(overrides)))
    assert isinstance(context.config.method, SynthesisConfig)
    return Synthesizer(context, context.config.method)


def _step_seconds(synthesizer: Synthesizer) -> list[float]:
    """CPU seconds of the steps after the first."""
    marks: list[float] = []

    def run(stage: str, optimization: Optimization) -> None:
        optimization.run(lambda _: marks.append(time.process_time()))

    synthesizer.optima(synthesizer.targets.targets, run)
    return [after - before for before, after in itertools.pairwise(marks)]


def markdown(savings: Sequence[Saving]) -> str:
    """The table, one row per layer and position."""
    heads = ("network", "layer", "position", "canvas, px", "plain, CPU s", "folded", "canvas")
    rows = [heads, ("---",) * 3 + ("---:",) * 4]
    for saving in savings:
        side = "full" if saving.side is None else str(saving.side)
        ratios = (f"{saving.times(way):.1f}x" for way in ("folded", "canvas"))
        plain = f"{saving.seconds['plain']:.4f}"
        rows.append((saving.network, saving.layer, saving.position, side, plain, *ratios))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every layer, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.savings", description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", type=Path, help="also write all measurements to this file")
    options = parser.parse_args(arguments)
    savings = [
        measure(network, layer, position, options.batch)
        for network in options.networks
        for layer in LAYERS[network]
        for position in (POSITIONS if layer != "logits" else ("mean",))
    ]
    if options.json is not None:
        content = [dataclasses.asdict(saving) for saving in savings]
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.stdout.write(markdown(savings) + "\n")


if __name__ == "__main__":
    main()
