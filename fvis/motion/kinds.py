"""Which kind of motion explains a unit: in a word, by what the network says of the controls."""

import math
from collections.abc import Mapping

from fvis.motion.controls import motion_index

# A moving texture that keeps less of the optimal clip's activation does not explain the unit.
LEAST_KEPT = 0.5
LEAST_LOST = 0.1  # motion index; a unit that loses less when its clip stands still needs no motion

MOVING, STILL, UNDIRECTED, UNEXPLAINED = "moving", "still", "undirected", "unexplained"
NOTES = {
    STILL: "still: motion adds nothing",
    UNEXPLAINED: "unexplained by a moving texture",
}


def kind_of(activations: Mapping[str, float], direction_deg: float | None) -> str:
    """The kind of motion of a unit.

    Args:
        activations: those of the controls, as fractions of the optimal clip's.
        direction_deg: the direction of the moving texture; None if it has none.

    Returns:
        `unexplained` if the moving texture keeps less than half of the activation, or nothing
        finite; `still` if the unit responds as well to a texture that stands still; `moving` if
        it needs motion in a direction; `undirected` if it needs motion, but in no one direction
        (rotation, expansion, shear, parts that move apart).
    """
    kept = activations["reconstruction"]
    if not kept >= LEAST_KEPT:  # NaN too
        return UNEXPLAINED
    lost = motion_index(activations)
    if math.isnan(lost) or lost < LEAST_LOST:
        return STILL
    return UNDIRECTED if direction_deg is None else MOVING
