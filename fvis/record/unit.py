"""metadata.json as types: what every method says of a unit."""

import math
from dataclasses import dataclass, field
from typing import Any

from fvis.evidence.record import EvidenceRecord
from fvis.record.witnesses import GroundingRecord, NaturalClipsRecord
from fvis.typed_json import Number, key

SCHEMA = 2  # of both files; 1 had no config hash, no process, no inputs and no batches
OK, RESCUED, DEAD = "ok", "rescued", "dead"
DIRECTION = "direction-"  # how the names begin of units that are directions

Top = list[tuple[int | str, Number]]  # classes and their probabilities, the likeliest first


@dataclass(frozen=True)
class ActivationRecord:
    """The activation before, after and on the way: `trace` has (step, activation) pairs."""

    initial: Number = None
    final: Number = None
    trace: list[tuple[int, Number]] = field(default_factory=list)


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
        offset: y and x of the canvas in the network's input (image.png, clip.gif), px.
        scale: how many times it is enlarged in motif.png or motif.gif; 1 where the pictures are the
            canvas alone, as those of texture_motion.
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
