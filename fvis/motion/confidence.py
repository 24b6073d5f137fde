"""How far several searches for one unit's motion agree."""

import math
import statistics
from collections.abc import Sequence

from fvis.motion.measures import Motion
from fvis.motion.tuning import peak
from fvis.record.motion import TuningRecord

LEAST_INDEX = 0.33  # direction index: the preferred one excites twice as much as the opposite one
AS_GOOD = 0.8  # share of the best score from which on another finalist is an answer too
AS_SIGN = 0.5  # share of it from which on a finalist may confirm the best one's direction
WIDEST = 30.0  # degrees; directions may differ so far
# Degrees. Known directions are missed by up to so much (`tests.benchmarks.hard_motion`), and other
# seeds differ by as much, though all searches with one seed may agree.
SHARPEST = 3.0


def confidence(
    motions: Sequence[Motion],
    tunings: Sequence[TuningRecord],
    kept: Sequence[float],
    best: int,
    unaided: float | None = None,
) -> dict[str, float]:
    """The spread of the answers that explain a unit about as well as the best one.

    The direction's is the network's own: of those in which the finalists' textures excite the unit
    most as they drift. What a single clip does beside that, such as a motion along the crests of
    its texture or one that no two places share, does not enter.

    Args:
        motions: what each finalist's clip shows.
        tunings: the responses to each finalist's texture as it drifts.
        kept: each finalist's activation, as a fraction of the reference's.
        best: the index of the finalist that is shown.
        unaided: what the best search kept before it went on from a grating, where it did.

    Returns:
        `coherence` of the best one; `searches`, how many finalists there are; `finalists`, how many
        of them explain the unit about as well; `agreeing`, how many of the others prefer a
        direction within 30 degrees of the best one's (here it is enough if a finalist, or its
        texture as it drifts, reaches half as much, or half as much as the best one did before it
        went on from a grating: many searches stop on the way);
        `direction_deg`, the circular standard deviation of the directions that they prefer, in
        degrees, from 3 to 180 (one that prefers none counts as any), or how far the best one's own
        motion is from the direction that its texture prefers, if that is more; `speed`,
        `divergence` and `curl`, standard deviations, that of speed relative to its mean, and NaN
        where one finalist alone explains the unit;
        `kept_least` and `kept_most`.
    """
    good = [i for i, share in enumerate(kept) if i == best or share >= AS_GOOD * kept[best]]
    reached = [max(s, *map(peak, t.responses)) for s, t in zip(kept, tunings, strict=True)]
    level = AS_SIGN * (kept[best] if unaided is None else unaided)
    signs = [i for i, r in enumerate(reached) if i != best and r >= level]
    some = [motions[i] for i in good]
    ways = [direction_of(each) for each in tunings]
    speeds = [motion.speed for motion in some]
    apart = angle_deg(motions[best].direction_deg, ways[best])
    spread = circular_deviation_deg([ways[i] for i in good])
    return {
        "coherence": motions[best].coherence,
        "searches": len(motions),
        "finalists": len(good),
        "agreeing": sum(angle_deg(ways[i], ways[best]) <= WIDEST for i in signs),
        "direction_deg": max(SHARPEST, spread, apart if math.isfinite(apart) else 0.0),
        "speed": _deviation(speeds) / max(statistics.fmean(speeds), 1e-12),
        "divergence": _deviation([motion.divergence for motion in some]),
        "curl": _deviation([motion.curl for motion in some]),
        "kept_least": min(kept[i] for i in good),
        "kept_most": max(kept[i] for i in good),
    }


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation; NaN of a single value, which says nothing of how answers differ."""
    return statistics.pstdev(values) if len(values) > 1 else math.nan


def direction_of(tuning: TuningRecord) -> float | None:
    """The direction that a tuning curve prefers; None if it does not clearly prefer one."""
    index = tuning.direction_index
    return tuning.preferred_deg if index is not None and index >= LEAST_INDEX else None


def angle_deg(one: float | None, other: float | None) -> float:
    """The angle between two directions, in [0, 180]; infinite if either is None."""
    return math.inf if one is None or other is None else abs((one - other + 180) % 360 - 180)


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
