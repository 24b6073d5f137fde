"""Pictures besides a unit's own: those from other seeds, and those that excite it least."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fvis import artifacts
from fvis.artifacts import Writer
from fvis.objectives import Target
from fvis.optimization import Optimization, RunStage
from fvis.schema import EvidenceConfig
from fvis.synthesis import Optimum, Synthesizer

APART = 1000  # between the random numbers of two such pictures: more than a unit has repeats


@dataclass(frozen=True)
class Others:
    """What was made besides a unit's own picture: from other seeds, and to excite it least."""

    seeds: list[Optimum] = field(default_factory=list)
    minimising: list[Optimum] = field(default_factory=list)

    @property
    def files(self) -> dict[str, Writer]:
        """What writes their pictures, `seed-1.png` and so on."""
        named = {"seed": self.seeds, "minimising": self.minimising}
        return {
            f"{name}-{number}.png": functools.partial(artifacts.write_png, rgb=shown(optimum))
            for name, optima in named.items()
            for number, optimum in enumerate(optima, 1)
        }


def make_others(
    synthesizer: Synthesizer, settings: EvidenceConfig, jobs: Sequence[Target], run: RunStage
) -> list[Others]:
    """For each job, as many other pictures as `evidence.seeds` and `evidence.minimising` ask for.

    Each is made as the unit's own, from random numbers of its own.
    """

    def ascend(name: str, number: int) -> list[Optimum]:
        def run_stage(stage: str, optimization: Optimization) -> None:
            run(f"{name} {number} {stage}", optimization)

        sign = -1 if name == "minimising" else 1
        asked = [replace(job, repeat=sign * (APART * number + (job.repeat or 0))) for job in jobs]
        if name == "minimising":
            asked = [replace(job, sign=-1) for job in asked]
        return synthesizer.best(asked, run_stage)

    seeds = [ascend("seed", n) for n in range(1, settings.seeds + 1)]
    minimising = [ascend("minimising", n) for n in range(1, settings.minimising + 1)]
    return [
        Others([made[row] for made in seeds], [made[row] for made in minimising])
        for row in range(len(jobs))
    ]


def shown(optimum: Optimum) -> Tensor:
    """What is looked at of an optimal picture (3, H, W)."""
    return optimum.picture if optimum.motif is None else optimum.motif


def stacked(optima: Sequence[Optimum]) -> Tensor:
    """What is looked at of optimal pictures (B, 3, H, W)."""
    return torch.stack([shown(optimum) for optimum in optima])
