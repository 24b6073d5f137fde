"""What the methods that work on a photograph add to metadata.json."""

from dataclasses import dataclass, field

from fvis.record.unit import UnitRecord
from fvis.typed_json import Number


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
    """What `method=inversion` and `method=caricature` add; `activation` has the objective's values.

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
