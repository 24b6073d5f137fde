"""Which kind of motion explains a unit: in a word, by what the network says of the controls."""

import math
from collections.abc import Mapping

from fvis.motion.confidence import WIDEST, angle_deg, direction_of
from fvis.motion.controls import motion_index
from fvis.record.motion import TuningRecord

# What keeps less of the reference's activation, moving or in place, does not explain the unit.
LEAST_KEPT = 0.5
LEAST_LOST = 0.1  # share of the reconstruction's activation that a control must lose
FURTHEST = 45.0  # degrees between the reconstruction's direction and the tuning curve's

MOVING, STILL, FLICKER, APPEARS = "moving", "still", "flicker", "appears"
UNDIRECTED, UNEXPLAINED = "undirected", "unexplained"
NOTES = {
    STILL: "still: motion adds nothing",
    FLICKER: "flicker: contrast that changes in place excites as much",
    APPEARS: "appears: a texture that comes into view excites as much",
    UNDIRECTED: "undirected: no one direction is sure",  # `doubt` says why
    UNEXPLAINED: "unexplained by a moving texture",
}
UNMEASURED = "unexplained: no clip was found that excites more than plain grey"


def kind_of(activations: Mapping[str, float]) -> str:
    """The kind of motion of a unit, as far as the controls' `activations` say.

    Returns:
        `unexplained` if the moving texture keeps less than half of the reference's activation, or
        there is none above grey's; `still`, `appears` or `flicker` if the unit responds about as
        well to a texture that stands, that comes into view and stands, or whose contrast changes in
        place (which must keep half of the reference's activation, too); else `moving`. Of what only
        changes in place none is told where the free clip's middle frame, held, does as well.
    """
    kept = activations["reconstruction"]
    explained = kept >= LEAST_KEPT  # NaN is not
    least = max(LEAST_KEPT, (1 - LEAST_LOST) * (kept if explained else 1.0))
    lost = motion_index(activations)
    if explained and (math.isnan(lost) or lost < LEAST_LOST):
        return STILL
    name = max((APPEARS, FLICKER), key=lambda name: activations[name])
    if activations[name] > least:
        held = activations.get("held", math.nan)
        return STILL if held >= (1 - LEAST_LOST) * activations[name] else name
    return MOVING if explained else UNEXPLAINED


def doubt(
    direction_deg: float | None, sure: Mapping[str, float], tuning: TuningRecord
) -> str | None:
    """Why no direction may be told of a moving unit; None if one may.

    Args:
        direction_deg: of the moving texture; None if it does not move as one.
        sure: how far the finalists agree (`confidence`). Where there was more than one search, a
            second one must have found the direction too.
        tuning: the unit's responses to the texture as it drifts.
    """
    if direction_deg is None:
        return "not all of it moves one way"
    preferred = direction_of(tuning)
    if preferred is None:
        return "other directions excite as much"
    if angle_deg(direction_deg, preferred) > FURTHEST:
        return "drifts prefer another direction"
    confirmed = sure["agreeing"] > 0 or sure["searches"] == 1
    if not confirmed or sure["direction_deg"] > WIDEST:
        return "searches disagree on the direction"
    return None
