"""What is measured and what came out: plain data that crosses processes and files as JSON."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Per timm network at 224 px: an early and a middle layer, and the output.
LAYERS = {
    "mobilenetv2_100": ("blocks.1", "blocks.2", "logits"),
    "resnet50": ("layer1", "layer2", "logits"),
    "vit_base_patch16_224": ("blocks.0", "blocks.6", "logits"),
}
PLACED = ("mobilenetv2_100", "resnet50")  # at whose inner positions units see a part of the input
COMPARED = ("resnet50", "vit_base_patch16_224")  # with the peers
SCALED = ("resnet50", "layer3")  # measured with several batch sizes
BATCH, BATCHES = 4, (1, 4, 16)
FVIS, FULL, PLAIN, BARE = "fvis", "full", "plain", "bare"  # measured together, in turns
PEERS = ("lucent", "horama", "torch_dreams")
TOOLS = (FVIS, *PEERS)  # a module each in `tools/`


@dataclass(frozen=True)
class Case:
    """A layer of a network, where it is read, and how many of its units are climbed at once.

    `precision` is that in which the network computes, fp32 or bf16.
    """

    network: str
    layer: str
    batch: int
    position: str = "mean"
    precision: str = "fp32"

    def __str__(self) -> str:
        return f"{self.network}/{self.layer} {self.position} batch {self.batch} {self.precision}"


@dataclass(frozen=True)
class Measurement:
    """What one tool, or one way of fvis, needs for one step of a case's whole batch.

    `seconds` is the median wall time over `steps` steps, None where the tool can't do the case;
    `note` says why, or what the tool did instead of batching. `memory` is the peak in MiB: of the
    process on a CPU, of the allocated tensors on a GPU. `pixels` is what the network was fed per
    row and timed step, in 224 x 224 pictures: transforms that resize or crop make it differ from 1.
    `side` is that of fvis's canvas, px; None for the whole input.
    """

    tool: str
    case: Case
    seconds: float | None = None
    steps: int = 0
    memory: float | None = None
    pixels: float = 1.0
    note: str = ""
    side: int | None = None

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
        added = ("rate", "times_fvis")  # for other readers
        fields = {key: value for key, value in content.items() if key not in added}
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


def all_cases(
    batch: int = BATCH, batches: Iterable[int] = BATCHES, precision: str = "fp32"
) -> list[Case]:
    """Every layer, inner ones of convolutional networks at two positions; and one by batch size."""
    cases = [
        Case(network, layer, batch, position, precision)
        for network, layers in LAYERS.items()
        for layer in layers
        for position in (("center", "mean") if is_placed(network, layer) else ("mean",))
    ]
    return cases + [Case(*SCALED, size, precision=precision) for size in batches]


def is_placed(network: str, layer: str) -> bool:
    """Whether a layer is read at its central position as well."""
    return network in PLACED and layer != "logits"


def is_compared(case: Case) -> bool:
    """Whether the peers are measured too: where they can do the same, and once per layer."""
    as_peers_do = case.position == "mean" and case.precision == "fp32"
    return as_peers_do and case.network in COMPARED and case.layer != SCALED[1]


def first_line(error: BaseException) -> str:
    """An error as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
