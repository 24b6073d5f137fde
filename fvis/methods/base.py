"""What a method is: jobs to do, solved in batches, each leaving numbers and pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from fvis.artifacts import Writer
from fvis.ascent import Trace
from fvis.models.base import Model
from fvis.registry import Registry
from fvis.schema import Config


@dataclass(frozen=True)
class Context:
    """What every method works with: the run's config, its model on its device, and the device."""

    config: Config
    model: Model
    device: torch.device

    @property
    def autocast(self) -> torch.dtype | None:
        """The dtype the network computes in, where that is not float32."""
        return torch.bfloat16 if self.config.engine.precision == "bf16" else None


class Job(Protocol):
    """One picture to be made: the row of a batch, and an output directory."""

    @property
    def name(self) -> str:
        """The output directory's name."""
        ...


@dataclass(frozen=True)
class Result:
    """A solved job: its metadata, and what writes each of its files (name -> writer of a path).

    `tally` has numbers that run.json gives the mean of, over all results that have them.
    """

    name: str
    metadata: dict[str, Any]
    files: dict[str, Writer] = field(default_factory=dict)
    tally: Mapping[str, float] = field(default_factory=dict)


OnStep = Callable[[int, Trace], None]


class Method(Protocol):
    """Solves jobs in batches; rows never depend on one another, save those of one group."""

    @property
    def refused(self) -> Mapping[str, str]:
        """What was asked for and cannot be done, and why; the rest goes on."""
        ...

    @property
    def groups(self) -> Sequence[Sequence[Any]]:
        """All jobs, in groups that must share a batch."""
        ...

    @property
    def steps(self) -> int:
        """Ascent steps per job."""
        ...

    def solve(self, jobs: Sequence[Any], on_step: OnStep) -> list[Result]:
        """The jobs' results; `on_step(step, trace)` is called after each step."""
        ...


METHODS: Registry[Callable[[Context], Method]] = Registry("method", "fvis.methods")
