"""What texture_motion says of units that are hard to read, beside the answer key.

`python -m tests.benchmarks.hard_motion [OVERRIDE ...] [--seeds 0 1 2] [--units 0 5 ...]`
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fvis import schema
from fvis.compose import compose
from fvis.context import prepare
from fvis.methods.texture_motion import TextureMotion
from fvis.optimization import run_stage
from fvis.record.motion import MotionRecord, TextureMotionRecord
from fvis.zoo.hard import HardMotion, HardUnit

BATCH = 4
FURTHEST = 30.0  # degrees; a direction that is further off is false
HEADS = ("unit", "seed", "true", "kind", "direction", "speed", "divergence", "curl", "kept", "")
CAPTION = (
    "Found beside planted (in brackets). kept: the moving texture's activation over the free "
    "clip's. false: a kind or direction is told that is not so; unsure: a direction that is there "
    "is not told."
)


@dataclass(frozen=True)
class Answer:
    """What was found for a unit with one seed."""

    unit: HardUnit
    seed: int
    motion: MotionRecord
    kept: float

    @property
    def error_deg(self) -> float | None:
        """How far the direction is off; None where none is told or none is true."""
        told, true = self.motion.direction_deg, self.unit.direction_deg
        return None if told is None or true is None else abs((told - true + 180) % 360 - 180)

    @property
    def verdict(self) -> str:
        """true, false or unsure."""
        told, true = self.motion.direction_deg, self.unit.direction_deg
        if told is not None and (true is None or (self.error_deg or 0) > FURTHEST):
            return "false"
        if self.motion.kind in self.unit.kinds:
            return "true"
        silent = self.motion.kind in ("undirected", "unexplained") and told is None
        return "unsure" if silent and true is not None else "false"

    def cells(self) -> list[str]:
        """One row of the table."""
        motion, unit = self.motion, self.unit
        return [
            unit.name,
            str(self.seed),
            "/".join(unit.kinds),
            str(motion.kind),
            _beside(motion.direction_deg, unit.direction_deg, 0),
            _beside(motion.speed, unit.speed, 2),
            _beside(motion.divergence, unit.divergence, 3),
            _beside(motion.curl, unit.curl, 3),
            f"{self.kept:.2f}",
            self.verdict,
        ]


def answers(seed: int, units: Sequence[int], overrides: Sequence[str]) -> Iterator[Answer]:
    """The answers for units, batch by batch."""
    listed = ",".join(map(str, units))
    settings = [
        "model=hard_motion", f"target.units=[{listed}]", "method=texture_motion",
        f"engine.seed={seed}", *overrides,
    ]  # fmt: skip
    context = prepare(schema.parse(compose(settings)))
    method, module = TextureMotion(context), context.model.module
    assert isinstance(module, HardMotion)
    jobs = [job for group in method.groups for job in group]
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        for job, result in zip(batch, method.solve(batch, run_stage), strict=True):
            record: Any = result.record
            assert isinstance(record, TextureMotionRecord) and isinstance(job.unit, int)
            free = record.activations["optimal"] or 1.0
            kept = (record.activations["reconstruction"] or 0.0) / free
            yield Answer(module.key[job.unit], seed, record.motion, kept)


def _beside(found: float | None, true: float | None, digits: int) -> str:
    told = "" if found is None else f"{found:.{digits}f}"
    return f"{told} ({true:.{digits}f})" if true else told


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row as each answer comes, then the numbers of verdicts."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hard_motion")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--units", type=int, nargs="+")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args(arguments)
    units = options.units or range(len(HardMotion().key))
    sys.stdout.write(f"{CAPTION}\n\n| {' | '.join(HEADS)} |\n|{' --- |' * len(HEADS)}\n")
    verdicts: list[str] = []
    torch.set_num_threads(1)
    for seed in options.seeds:
        for answer in answers(seed, list(units), options.overrides):
            verdicts.append(answer.verdict)
            sys.stdout.write(f"| {' | '.join(answer.cells())} |\n")
            sys.stdout.flush()
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("true", "unsure", "false"))
    sys.stdout.write(f"\n{len(verdicts)} answers: {counts}\n")


if __name__ == "__main__":
    main()
