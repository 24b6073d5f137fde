"""run.json and sweep.json as types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fvis.evidence.record import WORDS
from fvis.processes import Process
from fvis.record.attack import AdversarialRecord
from fvis.record.motion import TextureMotionRecord
from fvis.record.photograph import AccentuationRecord, InversionRecord
from fvis.record.unit import UnitRecord, WeightsRecord
from fvis.typed_json import Number, key

RUNNING, DONE, INTERRUPTED = "running", "done", "interrupted"

# The record of each method's units; a method of another package adds its own.
UNIT_RECORDS: dict[str, type[UnitRecord]] = {
    "activation_maximization": UnitRecord,
    "texture_motion": TextureMotionRecord,
    "adversarial": AdversarialRecord,
    "accentuation": AccentuationRecord,
    "inversion": InversionRecord,
    "caricature": InversionRecord,
}


@dataclass(frozen=True)
class ModelRecord:
    """The network: its name, weights, and the fields of its `Preprocessing`."""

    name: str | None = None
    weights: WeightsRecord = field(default_factory=WeightsRecord)
    preprocessing: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MeanRecord:
    """A mean over the units that have the number, and how many they are."""

    mean: Number = None
    of: int = 0


@dataclass(frozen=True)
class TimingsRecord:
    """When the run started and each time it was resumed (ISO 8601, UTC), and its wall time."""

    started: str | None = None
    seconds: Number = None
    resumed: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """run.json: what was asked, by what it was made, and how far it has come.

    Attributes:
        config, config_sha256: the resolved config, and its hash.
        versions, model, inputs, device, threads: what else the pictures depend on; `inputs` has the
            SHA-256 of each file that the config names, by path.
        directory: where the command was typed; relative paths start there.
        process: the process at work, while the run is running.
        layers: the layers of the run, each with its place in the network's forward pass.
        refused: what was asked for and cannot be done, and why.
        forced: what had changed when the run was resumed all the same.
        prior: the weights of the prior, if there is one.
        jobs: the directories of all units that were asked for, in the order of the run.
        batches: the number of jobs of each batch that is done; `batch_size` limits the next one.
        units: the directories that have been written so far; `statuses` counts their statuses.
        summary: means over the units.
    """

    schema: int = 1
    status: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    config_sha256: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    model: ModelRecord = field(default_factory=ModelRecord)
    prior: WeightsRecord | None = key(omitted=True)
    inputs: dict[str, str] = field(default_factory=dict)
    device: str | None = None
    threads: int | None = None
    directory: str | None = None
    process: Process | None = None
    layers: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    forced: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    batch_size: int | None = None
    units: list[str] | None = None
    statuses: dict[str, int] = field(default_factory=dict)
    summary: dict[str, MeanRecord] = field(default_factory=dict)
    timings: TimingsRecord = field(default_factory=TimingsRecord)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> dict[str, int]:
        """How many pictures have each word of the evidence; empty where there is none."""
        means = {word: self.summary.get(f"evidence.{word}") for word in WORDS}
        return {word: round((m.mean or 0) * m.of) for word, m in means.items() if m}

    def setting(self, *path: str) -> Any:
        """A setting of the config, e.g. `setting("method", "name")`; None where there is none."""
        value: Any = self.config
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True)
class SweepJobRecord:
    """A job of a sweep: its folder in the sweep's, its resolved config, its `.hydra` texts."""

    folder: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepRecord:
    """sweep.json: the jobs of a sweep, and the directory in which it was asked for."""

    schema: int = 1
    directory: str | None = None
    jobs: list[SweepJobRecord] = field(default_factory=list)
