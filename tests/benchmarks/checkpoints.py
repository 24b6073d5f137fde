"""`python -m tests.benchmarks.checkpoints`: what saving the state of a batch costs.

An ascent on ResNet-50 and the saves of its state take turns. A save every `checkpoint_every`
seconds takes the share save / checkpoint_every of the time that the steps take.
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fvis import schema
from fvis.artifacts import write_json
from fvis.batch_state import BatchState
from fvis.compose import compose
from fvis.context import find_device, prepare
from fvis.methods import METHODS
from fvis.optimization import Optimization
from fvis.progress import Progress

from .clock import synchronised_time

NETWORK, LAYER = "resnet50", "layer3"
STEPS = 12  # of which the first warms up


@dataclass(frozen=True)
class Cost:
    """Median seconds of a step and of a save, the file's size, and the saves' share of the time."""

    batch: int
    step_seconds: float
    save_seconds: float
    bytes: int
    every: float

    @property
    def share(self) -> float:
        """The part of the steps' time that saving takes at the config's interval."""
        return self.save_seconds / self.every


def measure(batch: int, device: torch.device) -> Cost:
    """The cost for a batch of so many rows, at the default interval."""
    overrides = [
        "model=timm",
        f"model.name={NETWORK}",
        "model.pretrained=false",
        f"target.layer={LAYER}",
        f"target.units=0:{batch}",
        f"engine.device={device}",
        f"engine.steps={STEPS}",
        f"engine.batch_size={batch}",
        "method.rescue=false",
        "engine.canvas=full",
    ]
    context = prepare(schema.parse(compose(overrides)))
    method = METHODS[context.config.method.name](context)
    jobs = [job for group in method.groups for job in group]
    steps, saves, sizes = [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(len(jobs) * method.steps) as progress,
        BatchState(Path(folder) / "batch.pt", [job.name for job in jobs], 0, progress) as state,
    ):
        file, last = Path(folder) / "batch.pt", [synchronised_time(device)]

        def on_step(optimization: Optimization) -> None:
            ended = synchronised_time(device)
            steps.append(ended - last[0])
            state.save()
            last[0] = synchronised_time(device)
            saves.append(last[0] - ended)
            sizes.append(file.stat().st_size)

        def run(stage: str, optimization: Optimization) -> None:
            state.begin(stage, optimization)
            optimization.run(on_step)

        method.solve(jobs, run)
    every = context.config.engine.checkpoint_every
    return Cost(
        batch, statistics.median(steps[1:]), statistics.median(saves[1:]), max(sizes), every
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.checkpoints", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 4), help="rows (1 4)")
    parser.add_argument("--json", type=Path, help="also write the costs to this file")
    options = parser.parse_args(arguments)
    device = find_device(options.device)
    costs = [measure(batch, device) for batch in options.batches]
    if options.json is not None:
        write_json(options.json, [{**dataclasses.asdict(c), "share": c.share} for c in costs])
    sys.stdout.write(f"Saving the state of an ascent: {NETWORK}, {LAYER}, {device}.\n\n")
    sys.stdout.write("| batch | step, s | save, s | MB | share of the time |\n")
    sys.stdout.write("| ---: | ---: | ---: | ---: | ---: |\n")
    for c in costs:
        sys.stdout.write(
            f"| {c.batch} | {c.step_seconds:.3f} | {c.save_seconds:.3f} | {c.bytes / 1e6:.1f} "
            f"| {100 * c.share:.3f} % |\n"
        )


if __name__ == "__main__":
    main()
