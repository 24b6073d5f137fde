"""What `method=texture_motion` adds to metadata.json."""

from dataclasses import dataclass, field

from fvis.record.unit import UnitRecord
from fvis.typed_json import Number, key


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
        responses: shares of the reference's activation, as in `activations`: for each speed, one
            for each of 12 directions (0, 30, ... degrees; 90 is up).
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

    `grey` is the activation of a uniform mid-grey clip. `activations` are counted from it, as
    shares of the reference's: of the free clip's or the reconstruction's, whichever is higher; NaN
    if neither exceeds that of grey. `becomes` is what each clip is classified as, where the target
    is a logit.
    """

    solver: str | None = None
    motion: MotionRecord = field(default_factory=MotionRecord)
    tuning: TuningRecord = field(default_factory=TuningRecord)
    natural: NaturalRecord | None = key(omitted=True)
    grey: Number = None
    activations: dict[str, Number] = field(default_factory=dict)
    motion_index: Number = None
    texture_index: Number = None
    reconstruction_error: Number = None
    becomes: dict[str, int | str] | None = key(omitted=True)
