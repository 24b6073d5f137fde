"""What is measured and what came out: plain data that crosses processes and files as JSON."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Per timm network at 224 px: an early and a middle layer, and the output.
LAYERS = {
    "resnet50": ("layer1", "layer3", "logits"),
    "vit_base_patch16_224": ("blocks.0", "blocks.6", "logits"),
}
BATCHES = (1, 8, 32)
TOOLS = ("fvis", "lucent", "horama", "torch_dreams")  # a module each in `tools/`
BARE = "bare"  # measured together with fvis, in turns


@dataclass(frozen=True)
class Case:
    """A layer of a network, and how many of its units are climbed at once."""

    network: str
    layer: str
    batch: int

    def __str__(self) -> str:
        return f"{self.network}/{self.layer} batch {self.batch}"


@dataclass(frozen=True)
class Measurement:
    """What one tool needs for one step of a case's whole batch.

    `seconds` is the median wall time over `steps` steps, None where the tool can't do the case;
    `note` says why, or what the tool did instead of batching. `memory` is the peak in MiB: of the
    process on a CPU, of the allocated tensors on a GPU. `pixels` is what the network was fed per
    row and timed step, in 224 x 224 pictures: transforms that resize or crop make it differ from 1.
    """

    tool: str
    case: Case
    seconds: float | None = None
    steps: int = 0
    memory: float | None = None
    pixels: float = 1.0
    note: str = ""

    @property
    def rate(self) -> float | None:
        """Unit-steps per second."""
        return None if self.seconds is None else self.case.batch / self.seconds

    def to_json(self) -> dict[str, Any]:
        """As a dict that `from_json` reads back, the rate added for other readers."""
        return {**dataclasses.asdict(self), "rate": self.rate}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Measurement":
        """A measurement from `to_json`'s dict."""
        fields = {key: value for key, value in content.items() if key != "rate"}
        return cls(**{**fields, "case": Case(**fields["case"])})


@dataclass(frozen=True)
class Job:
    """A worker's order: which tool measures which cases, where and for how long each."""

    tool: str
    cases: tuple[Case, ...]
    device: str
    seconds: float
    threads: int

    def to_json(self) -> dict[str, Any]:
        """As a dict that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Job":
        """A job from `to_json`'s dict."""
        return cls(**{**content, "cases": tuple(Case(**case) for case in content["cases"])})


def all_cases(batches: Iterable[int] = BATCHES) -> list[Case]:
    """Every layer at every batch size, the small batches first."""
    return [
        Case(network, layer, batch)
        for batch in batches
        for network, layers in LAYERS.items()
        for layer in layers
    ]


def first_line(error: BaseException) -> str:
    """An error as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
