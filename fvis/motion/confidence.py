"""How far several searches for one unit's motion agree."""

import math
import statistics
from collections.abc import Sequence

from fvis.motion.measures import Motion

AS_GOOD = 0.8  # share of the best score from which on another finalist is an answer too


def confidence(motions: Sequence[Motion], kept: Sequence[float], best: int) -> dict[str, float]:
    """The spread of the answers that explain a unit about as well as the best one.

    Args:
        motions: what each finalist's clip shows.
        kept: each finalist's activation, as a fraction of the reference's.
        best: the index of the finalist that is shown.

    Returns:
        `coherence` of the best one; `searches`, how many finalists there are; `finalists`, how many
        of them explain the unit about as well;
        `direction_deg`, the circular standard deviation of their directions in degrees, at most
        180 (one without direction counts as any); `speed`, `divergence` and `curl`, their standard
        deviations, that of speed relative to its mean; `kept_least` and `kept_most`.
    """
    good = [i for i, share in enumerate(kept) if i == best or share >= AS_GOOD * kept[best]]
    some = [motions[i] for i in good]
    speeds = [motion.speed for motion in some]
    return {
        "coherence": motions[best].coherence,
        "searches": len(motions),
        "finalists": len(good),
        "direction_deg": circular_deviation_deg([motion.direction_deg for motion in some]),
        "speed": statistics.pstdev(speeds) / max(statistics.fmean(speeds), 1e-12),
        "divergence": statistics.pstdev([motion.divergence for motion in some]),
        "curl": statistics.pstdev([motion.curl for motion in some]),
        "kept_least": min(kept[i] for i in good),
        "kept_most": max(kept[i] for i in good),
    }


def circular_deviation_deg(angles: Sequence[float | None]) -> float:
    """The circular standard deviation of directions in degrees, at most 180.

    One that is None counts as pointing everywhere. Mardia & Jupp 2000, "Directional Statistics".

    >>> circular_deviation_deg([10.0, 10.0])
    0.0
    >>> round(circular_deviation_deg([350.0, 10.0]))
    10
    >>> circular_deviation_deg([0.0, 180.0])
    180.0
    """
    known = [math.radians(angle) for angle in angles if angle is not None]
    x, y = sum(map(math.cos, known)), sum(map(math.sin, known))
    length = min(1.0, math.hypot(x, y) / len(angles))
    if length < 1e-3:
        return 180.0
    return min(180.0, math.degrees(math.sqrt(max(0.0, -2 * math.log(length)))))
