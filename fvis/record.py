"""run.json and metadata.json as types: written by runs, read by everything else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fvis.evidence.record import WORDS, EvidenceRecord
from fvis.processes import Process
from fvis.typed_json import Number as Number
from fvis.typed_json import key

SCHEMA = 2  # of both files; 1 had no config hash, no process, no inputs and no batches
OK, RESCUED, DEAD = "ok", "rescued", "dead"
DIRECTION = "direction-"  # how the names begin of units that are directions
RUNNING, DONE, INTERRUPTED = "running", "done", "interrupted"


@dataclass(frozen=True)
class ActivationRecord:
    """The activation before, after and on the way: `trace` has (step, activation) pairs."""

    initial: Number = None
    final: Number = None
    trace: list[tuple[int, Number]] = field(default_factory=list)


@dataclass(frozen=True)
class PatchRecord:
    """Where a photograph excites the unit most; `box` is x, y, width and height in pixels."""

    file: str = ""
    activation: Number = None
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class BestPositionRecord:
    """The greatest value of the unit at any position: in the picture, and in any photograph.

    `times_strongest` is the ratio of the two. A picture that excites the unit all over has a high
    mean over positions; this is how strongly it does so at one.
    """

    picture: Number = None
    photographs: Number = None
    times_strongest: Number = None


@dataclass(frozen=True)
class GroundingRecord:
    """How the picture's activation stands among those of photographs.

    `best_position` compares single positions. All else is read at `target.position`: `below` is the
    share of photographs with a lower activation, and `times_strongest` the ratio to the highest.
    `strongest` has the patches that excite the unit most. With `target.sign=-1` the lowest value
    stands in the place of the highest, and what excites the unit least in that of what does most.
    """

    photographs: int = 0
    best_position: BestPositionRecord = field(default_factory=BestPositionRecord)
    percentiles: dict[str, Number] = field(default_factory=dict)
    below: Number = None
    times_strongest: Number = None
    strongest: list[PatchRecord] = field(default_factory=list)


@dataclass(frozen=True)
class ClipRecord:
    """A natural clip: the video's name, the number of the first frame (from 0), the activation."""

    clip: str = ""
    start: int = 0
    activation: Number = None


@dataclass(frozen=True)
class NaturalClipsRecord:
    """How the free clip's activation stands among those of `windows` clips from `files` videos.

    `percentiles`, `below` and `times_strongest` are as in `GroundingRecord`. `strongest` has the
    clips that excite the unit most.
    """

    windows: int = 0
    files: int = 0
    percentiles: dict[str, Number] = field(default_factory=dict)
    below: Number = None
    times_strongest: Number = None
    strongest: list[ClipRecord] = field(default_factory=list)


@dataclass(frozen=True)
class DictionaryRecord:
    """The dictionary of which the unit is a latent: its file's name and hash, and what was read.

    `read` is pre, post or decoder, see `objectives.dictionaries.Dictionary`.
    """

    file: str = ""
    sha256: str = ""
    read: str = ""


@dataclass(frozen=True)
class ConceptRecord:
    """How the direction of a concept was fitted, and how well it tells photographs apart.

    Attributes:
        model, weights: the network, and the SHA-256 of its weights.
        layer, position: where it was read.
        fit: mean or probe.
        photographs: how many show the concept, and how many do not.
        accuracy: mean of both groups' shares of photographs that a direction fitted without them
            puts on the right side: 0.5 is chance.
        chance: the accuracy that a direction without meaning reaches in one fit of twenty.
    """

    model: str = ""
    weights: str = ""
    layer: str = ""
    position: str | int | list[int] | None = None
    fit: str = ""
    photographs: tuple[int, int] = (0, 0)
    accuracy: Number = None
    chance: Number = None

    @property
    def separates(self) -> bool:
        """Whether the accuracy is above what chance reaches."""
        known = self.accuracy is not None and self.chance is not None
        return known and (self.accuracy or 0) > (self.chance or 0)


@dataclass(frozen=True)
class CanvasRecord:
    """The part of the network's input on which a picture was synthesised.

    Attributes:
        side: of the square canvas, px.
        offset: y and x of the canvas in image.png, px.
        scale: how many times it is enlarged in motif.png.
        periodic: whether image.png is tiled with the canvas; otherwise the rest of it is mid-grey.
    """

    side: int = 0
    offset: tuple[int, int] = (0, 0)
    scale: Number = None
    periodic: bool = False


@dataclass(frozen=True)
class WeightsRecord:
    """The weights' SHA-256, and what was hashed: a file's or folder's name, or `state_dict`."""

    sha256: str = ""
    of: str = ""


@dataclass(frozen=True)
class PriorRecord:
    """The prior that a picture was made with: it shows what the prior knows, too.

    `activation` has the final score `with` the prior, and that of the picture made `without` it,
    null where it was not made.
    """

    name: str = ""
    weights: WeightsRecord | None = None
    activation: dict[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UnitRecord:
    """metadata.json: what every method says of a unit.

    `config_sha256` is that of the run that made the unit. `sign` is -1 for a picture that excites
    the unit least, else left out. `score` is what the ascent maximised, where that was not simply
    the unit's value: see `objectives.classes`. `ensemble` has the final score of the class by each
    further network that shares the picture. `seconds` is the wall time of the unit's batch over the
    number of its units. `extra` holds keys that this version does not know.
    """

    schema: int = 1
    config_sha256: str | None = key(omitted=True)
    model: str | None = None
    layer: str | None = None
    unit: int | str | None = None
    repeat: int | None = None
    sign: int | None = key(omitted=True)
    position: str | int | list[int] | None = None
    score: str | None = key(omitted=True)
    method: str | None = None
    seed: int | None = None
    steps: int | None = None
    status: str | None = None
    activation: ActivationRecord = field(default_factory=ActivationRecord)
    class_name: str | int | None = key("class", omitted=True)
    dictionary: DictionaryRecord | None = key(omitted=True)
    concept: ConceptRecord | None = key(omitted=True)
    canvas: CanvasRecord | None = key(omitted=True)
    prior: PriorRecord | None = key(omitted=True)
    ensemble: dict[str, Number] | None = key(omitted=True)
    grounding: GroundingRecord | None = key(omitted=True)
    natural_clips: NaturalClipsRecord | None = key(omitted=True)
    evidence: EvidenceRecord | None = key(omitted=True)
    seconds: Number = None
    files: list[str] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """`unit 17`, `latent 17` of a dictionary, or `direction striped`."""
        if isinstance(self.unit, str) and self.unit.startswith(DIRECTION):
            return f"direction {self.unit.removeprefix(DIRECTION)}"
        return f"{'unit' if self.dictionary is None else 'latent'} {self.unit}"

    @property
    def failed(self) -> bool:
        """Whether the unit is dead, and the network gave no finite number for its picture."""
        final = self.activation.final
        return self.status == DEAD and (final is None or not math.isfinite(final))

    def tally(self) -> dict[str, float]:
        """The numbers of which run.json gives the mean over all units that have them."""
        return {} if self.evidence is None else self.evidence.tally()


@dataclass(frozen=True)
class MotionRecord:
    """`motion` of texture_motion, as `motion.measures.Motion` says; velocities in px/frame."""

    velocity: tuple[Number, Number] | None = None
    normal_velocity: tuple[Number, Number] | None = None
    speed: Number = None
    direction_deg: Number = None
    confidence: dict[str, Number] = field(default_factory=dict)
    axis_deg: Number = None
    divergence: Number = None
    curl: Number = None
    kind: str | None = None


@dataclass(frozen=True)
class TuningRecord:
    """The responses of a unit to a drifting texture.

    Attributes:
        speeds: px/frame, (S,).
        responses: shares of the reference's activation: for each speed, one for each of 12
            directions (0, 30, ... degrees; 90 is up).
        direction_index: (Rp - Rn) / (Rp + Rn) of the strongest response Rp and that to the opposite
            direction Rn, both above the response to a blank clip: 1 for a unit that responds to one
            of two opposite directions alone, 0 for one that responds to both alike. NaN if nothing
            that drifts excites the unit more than a blank clip, by a tenth of the reference.
        preferred_deg: the middle of the curve's peak at the best speed: the mean direction,
            weighted by what exceeds half of the peak; None where the whole curve does.
        bandwidth_deg: half the width of the curve at half of its height, at most 180.
    """

    speeds: list[Number] = field(default_factory=list)
    responses: list[list[Number]] = field(default_factory=list)
    direction_index: Number = None
    preferred_deg: Number = None
    bandwidth_deg: Number = None


@dataclass(frozen=True)
class NaturalRecord:
    """The unit's tuning to drifting photographs; its responses are activations.

    `disagreement_deg` is the angle between the motion's direction (or, where none is told, the
    tuning curve's) and that of the photographs; None if either has none.
    """

    photographs: int = 0
    tuning: TuningRecord = field(default_factory=TuningRecord)
    disagreement_deg: Number = None


@dataclass(frozen=True, kw_only=True)
class TextureMotionRecord(UnitRecord):
    """What `method=texture_motion` adds.

    `activations` are shares of the reference's: of the free clip's or the reconstruction's,
    whichever is higher. `becomes` is what each clip is classified as, where the target is a logit.
    """

    solver: str | None = None
    motion: MotionRecord = field(default_factory=MotionRecord)
    tuning: TuningRecord = field(default_factory=TuningRecord)
    natural: NaturalRecord | None = key(omitted=True)
    activations: dict[str, Number] = field(default_factory=dict)
    motion_index: Number = None
    texture_index: Number = None
    reconstruction_error: Number = None
    becomes: dict[str, int | str] | None = key(omitted=True)


Top = list[tuple[int | str, Number]]  # classes and their probabilities, the likeliest first


@dataclass(frozen=True)
class MarginRecord:
    """By how much the target exceeds every other class, before and after."""

    clean: Number = None
    adversarial: Number = None


@dataclass(frozen=True)
class ProbabilityRecord:
    """The target's probability, before and after: a success may be the likeliest class at 5 %."""

    clean: Number = None
    adversarial: Number = None


@dataclass(frozen=True)
class TransferRecord:
    """What another network says of both pictures; `success` is null where it has no such class."""

    success: bool | None = None
    clean: Top = field(default_factory=list)
    adversarial: Top = field(default_factory=list)


@dataclass(frozen=True)
class AttackedRecord:
    """What one of several networks that are attacked at once says of both pictures."""

    success: bool | None = None
    probability: ProbabilityRecord | None = None
    margin: MarginRecord = field(default_factory=MarginRecord)
    clean: Top = field(default_factory=list)
    adversarial: Top = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class AdversarialRecord(UnitRecord):
    """What `method=adversarial` adds; norms are of RGB in [0, 1], see `perturbation.measures`.

    `target` is a class or unit; for `any`, to be taken for any other class than before, `margin`
    and `probability` are of all other classes, and `activation` is of the class before. `start` is
    a clip's first frame in its video. Where several networks are attacked at once, `networks` has
    what each says, and `success` is that with all; `activation` is the mean over them, and
    `probability`, `margin`, `clean` and `adversarial` are those of `model`.
    """

    source: str | None = None
    image: str | None = None
    start: int | None = key(omitted=True)
    target: int | str | None = None
    class_name: str | int | None = key("class")
    probability: ProbabilityRecord | None = None
    success: bool | None = None
    steps_to_success: int | None = None
    margin: MarginRecord = field(default_factory=MarginRecord)
    clean: Top = field(default_factory=list)
    adversarial: Top = field(default_factory=list)
    networks: dict[str, AttackedRecord] | None = key(omitted=True)
    norm: str | None = None
    epsilon: Number = None
    linf: Number = None
    l2: Number = None
    tv: Number = None
    spectral_centroid: Number = None
    ssim: Number = None
    amplification: Number = None
    transfer: dict[str, TransferRecord] = field(default_factory=dict)

    def tally(self) -> dict[str, float]:
        """Success, steps, size and smoothness, and success with each network by itself."""
        names = ("success", "steps_to_success", "linf", "l2", "tv", "ssim", "spectral_centroid")
        numbers = {name: getattr(self, name) for name in names}
        each = self.networks or {}
        numbers |= {f"networks.{name}": one.success for name, one in each.items()}
        numbers |= {f"transfer.{name}": other.success for name, other in self.transfer.items()}
        known = {name: float(n) for name, n in numbers.items() if n is not None}
        return {name: n for name, n in known.items() if math.isfinite(n)}


@dataclass(frozen=True, kw_only=True)
class PhotographRecord(UnitRecord):
    """What the methods that work on a photograph add: its path, and its name in the run."""

    source: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class TetherRecord:
    """How far a picture is from its photograph at a layer, as lengths of differences there.

    `photographs` is the least distance of another one of the unit's strongest photographs.
    """

    layer: str = ""
    picture: Number = None
    photographs: Number = None


@dataclass(frozen=True, kw_only=True)
class AccentuationRecord(PhotographRecord):
    """What `method=accentuation` adds.

    `times` is the activation over that of the photograph, where that is positive.
    """

    times: Number = None
    distance: TetherRecord = field(default_factory=TetherRecord)


@dataclass(frozen=True, kw_only=True)
class InversionRecord(PhotographRecord):
    """What `method=inversion` adds; `activation` has the objective's values.

    `distance` is the length of the difference of both pictures' activations over that of the
    photograph's, and `cosine` the cosine of the angle between them.
    """

    objective: str | None = None
    distance: Number = None
    cosine: Number = None

    @property
    def called(self) -> str:
        """The photograph's name."""
        return str(self.image)


# The record of each method's units; a method of another package adds its own.
UNIT_RECORDS: dict[str, type[UnitRecord]] = {
    "activation_maximization": UnitRecord,
    "texture_motion": TextureMotionRecord,
    "adversarial": AdversarialRecord,
    "accentuation": AccentuationRecord,
    "inversion": InversionRecord,
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
