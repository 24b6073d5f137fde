"""How a unit responds to a texture that drifts: its direction tuning, as physiologists measure it.

The network answers every question here. A texture may be moving rightwards and the unit not care.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fvis.motion.decomposition import Decomposition
from fvis.record.motion import TuningRecord

Score = Callable[[Tensor], Tensor]  # clips (B, 3, T, H, W) -> scores (B,)

DIRECTIONS = 12  # 0, 30, ... 330 degrees
SPEEDS = (0.5, 1.0, 2.0)  # times the speed that was found
SHORTEST = 4  # px; the shortest wavelength of a grating: each next one is half an octave longer
PACES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # times the speed that was found
FINER = ((0.84, 1.0, 1.19), (0.917, 1.0, 1.091))  # by quarters of an octave, and by eighths
AWAY = (-135, -90, -45, 45, 90, 135, 180)  # degrees from the direction that was found, far off it
SLOWER = (0.7, 1.0)  # times the speed that was found: a corner of two waves is faster than either
TURNS = (-30, -20, -10, -5, 0, 5, 10, 20, 30)  # degrees from the direction that was found
CONTRAST = 4.0  # of the logit of a grating's brightest colour channel
SLOWEST = 0.05  # px/frame; nothing is tested with a slower drift
PROBE = 0.25  # the change of velocity by which a unit's blind axis is found, in mean speeds
LEAST_PROBE = 0.1  # px/frame
PROBES = 4  # most changes that are tried: one that leaves too little of the score is halved
STEEPEST = 0.6  # share of the score that a change must leave, for a quadratic function to fit
NEARBY = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # the changes, in steps
LEAST_CURVATURE = 0.02  # share of the score that a unit must lose, or nothing is said of its axis
LEAST_SHARE = 0.1  # of the reference's activation; a weaker response to drift has no direction
KEPT = 0.8  # share of the score that the clip must keep without the motion that it may not see
WIDER = 2.0  # the change across the axis over that along it, where the axis is found once more
FAR = 4.0  # motion across the axis, by how much along it would halve the score
# How much faster than by that motion along the axis a score may fall across it, by its logarithm's
# curvature: found gratings have 0.018, two gratings 30 degrees apart 0.064.
BLIND = 0.03


def tuning_speeds(speed: Tensor) -> Tensor:
    """The speeds (B, S) px/frame to be tested where `speed` (B,) was found."""
    return speed.clamp_min(SLOWEST)[:, None] * speed.new_tensor(SPEEDS)


def directions(like: Tensor) -> Tensor:
    """The unit vectors (`DIRECTIONS`, 2) that are tested, x right and y down."""
    angle = torch.arange(DIRECTIONS, device=like.device) * (2 * math.pi / DIRECTIONS)
    return torch.stack([angle.cos(), -angle.sin()], 1)


def responses_to_drifts(score: Score, texture: Decomposition, speeds: Tensor) -> Tensor:
    """The scores (B, S, D, ...) of each row's texture, which drifts at its `speeds` (B, S).

    `score` may give a row several scores, (B, ...).
    """
    standing = at_rest(texture)
    ways = directions(speeds)
    scores = [
        score(standing.drifting(speeds[:, s, None] * way).render())
        for s in range(speeds.shape[1])
        for way in ways
    ]
    found = torch.stack(scores, 1)
    return found.view(*speeds.shape, DIRECTIONS, *found.shape[2:])


def best_drift(score: Score, parts: Decomposition) -> tuple[Tensor, Tensor]:
    """Of rest and drifts about their mean speed, how each row's texture excites the unit most.

    Returns the scores (B,), and the velocities (B, 2) px/frame that give them.
    """
    speeds = tuning_speeds(parts.velocity.norm(dim=1).flatten(1).mean(1))
    moved = responses_to_drifts(score, parts, speeds).flatten(1)
    velocities = (speeds[:, :, None, None] * directions(speeds)).flatten(1, 2)
    responses = torch.cat([score(at_rest(parts).render())[:, None], moved], 1)
    velocities = torch.cat([torch.zeros_like(velocities[:, :1]), velocities], 1)
    best, place = responses.nan_to_num(-torch.inf).max(1)
    return best, velocities[torch.arange(len(best), device=best.device), place]


def best_grating(score: Score, parts: Decomposition) -> tuple[Tensor, Decomposition, Tensor]:
    """The grating, in the colours of each row's texture, that excites the unit most as it drifts.

    All wavelengths are tried at several speeds in the direction of the mean velocity, at fewer in
    seven others, and the best of them in directions nearby. Ascents find coarse patterns first, and
    may be left with one that is coarser and faster than the unit likes, or with a corner of two
    waves that goes in between their directions; a grating has no such history.

    Returns the scores (B,), the gratings at rest, and the velocities (B, 2) px/frame.
    """
    mean = parts.velocity.flatten(2).mean(2)
    speed = mean.norm(dim=1).clamp_min(SLOWEST)
    angle = torch.atan2(mean[:, 1], mean[:, 0])
    longest = max(parts.displacement.shape[-2:])
    count = int(2 * math.log2(longest / SHORTEST)) + 1
    lengths = [SHORTEST * 2 ** (k / 2) for k in range(count)]
    tried = [(length, times, 0.0) for length in lengths for times in PACES]
    away = [(times, math.radians(turn)) for times in SLOWER for turn in AWAY]
    tried += [(length, *each) for length in lengths for each in away]
    tested = [angle.new_tensor(each).expand(len(angle), 3) for each in tried]
    best, found = _best_of(score, parts, angle, speed, tested)
    for changes in FINER:
        near = [found * angle.new_tensor((a, b, 1)) for a in changes for b in changes]
        best, found = _best_of(score, parts, angle, speed, near)
    turns = found.new_tensor(TURNS).deg2rad()
    near = [found + functional.pad(turn.expand(len(angle), 1), (2, 0)) for turn in turns]
    best, found = _best_of(score, parts, angle, speed, near)
    return best, *_grating(parts, angle, speed, found)


def _best_of(
    score: Score, parts: Decomposition, angle: Tensor, speed: Tensor, tested: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The highest scores (B,) of drifting gratings, and what `_grating` takes for those (B, 3)."""
    scores = []
    for each in tested:
        standing, velocity = _grating(parts, angle, speed, each)
        scores.append(score(standing.drifting(velocity).render()).nan_to_num(-torch.inf))
    best, place = torch.stack(scores).max(0)
    return best, torch.stack(list(tested))[place, torch.arange(len(best), device=place.device)]


def _grating(
    parts: Decomposition, angle: Tensor, speed: Tensor, numbers: Tensor
) -> tuple[Decomposition, Tensor]:
    """Gratings at rest, and velocities (B, 2) px/frame.

    `numbers` (B, 3) are their wavelengths, px, speeds, as multiples of `speed` (B,), and the turns,
    in radians, of their directions from `angle` (B,) on.
    """
    length, times, turn = numbers.T
    way = torch.stack([(angle + turn).cos(), (angle + turn).sin()], 1)
    h, w = parts.texture.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(h, device=way.device) - h / 2,
        torch.arange(w, device=way.device) - w / 2,
        indexing="ij",
    )
    along = way[:, 0, None, None] * x + way[:, 1, None, None] * y
    wave = (2 * math.pi * along / length[:, None, None]).sin()[:, None]
    colour = _main_colour(parts)[:, :, None, None]
    texture = torch.sigmoid(CONTRAST * wave * colour)
    return at_rest(dataclasses.replace(parts, texture=texture)), (times * speed)[:, None] * way


def _main_colour(parts: Decomposition) -> Tensor:
    """The colours (B, 3) along which textures vary most where the frame shows them, at most 1."""
    shown = at_rest(parts).render()[:, :, 0].flatten(2)
    away = shown - shown.mean(2, keepdim=True)
    _, axes = torch.linalg.eigh(away @ away.transpose(1, 2))
    colour: Tensor = axes[:, :, 2] / axes[:, :, 2].abs().amax(1, keepdim=True)
    return colour


def at_rest(parts: Decomposition) -> Decomposition:
    """The same textures, undisplaced: what the middle frame shows, and the texture around it."""
    return Decomposition(parts.texture, parts.offset, torch.zeros_like(parts.displacement))


def tuning(
    speeds: Sequence[float],
    responses: Sequence[Sequence[float]],
    blank: float,
    least: float = 0.0,
) -> TuningRecord:
    """What the responses (S, D) say of one unit; `blank` is that to a uniform clip.

    Nothing is said of responses that exceed it by less than `least`.

    >>> one_way = [max(0.0, math.cos(math.radians(30 * k - 60))) for k in range(12)]
    >>> found = tuning([1.0], [one_way], 0.0)
    >>> round(found.preferred_deg), found.direction_index, round(found.bandwidth_deg)
    (60, 1.0, 60)
    """
    above = [[max(0.0, value - blank) for value in row] for row in responses]
    best = max(above, key=max)
    peak = max(best)
    index, preferred, width = math.nan, None, math.nan
    if peak > 0 and peak >= least:
        place = best.index(peak)
        opposite = best[(place + DIRECTIONS // 2) % DIRECTIONS]
        index = (peak - opposite) / (peak + opposite)
        preferred = preferred_direction_deg(best)
        width = _bandwidth(best, place)
    rows: list[list[float | None]] = [list(row) for row in responses]
    return TuningRecord(list(speeds), rows, index, preferred, width)


def preferred_direction_deg(curve: Sequence[float]) -> float | None:
    """The middle of a tuning curve's peak; None where the curve has none.

    It is the mean direction weighted by what exceeds half of the peak, around it alone and with
    straight lines between the tested directions. The mean of a whole curve would be drawn away from
    the direction that excites most wherever one flank is the longer one.

    >>> preferred_direction_deg([0.0, 1.0, 0.0, 0.0])
    90.0
    """
    fine = np.interp(np.arange(360), np.linspace(0, 360, len(curve) + 1), [*curve, curve[0]])
    place = int(fine.argmax())
    above = np.roll(fine - fine.max() / 2, 180 - place)
    beyond = np.flatnonzero(above <= 0)
    if not fine.max() > 0 or not beyond.size:
        return None
    first, last = beyond[beyond < 180].max(initial=-1), beyond[beyond > 180].min(initial=360)
    angles = np.arange(first + 1, last)
    return float(place - 180 + np.average(angles, weights=above[first + 1 : last])) % 360


def peak(responses: Sequence[float | None]) -> float:
    """The strongest of the responses, at least 0; those that are not finite are passed over."""
    known = [value for value in responses if value is not None and math.isfinite(value)]
    return max([0.0, *known])


def _bandwidth(curve: Sequence[float], place: int) -> float:
    """Half the width, in degrees, at half of the height of the peak at `place`."""
    half, step, count = curve[place] / 2, 360 / len(curve), len(curve)
    sides = []
    for way in (1, -1):
        width = 180.0
        for k in range(1, count // 2 + 1):
            here, before = curve[(place + way * k) % count], curve[(place + way * (k - 1)) % count]
            if here <= half:
                width = step * (k - 1 + (before - half) / max(before - here, 1e-12))
                break
        sides.append(width)
    return sum(sides) / 2


def visible_axes(
    score: Score, parts: Decomposition, velocity: Tensor, speed: Tensor
) -> list[tuple[float, float] | None]:
    """For each row, the axis along which alone the unit sees motion; None if it sees it along both.

    A quadratic function of the velocity is fitted to the scores of the clip with a little more
    velocity in every direction: its steepest axis is the one along which the unit sees motion best.
    Motion across that axis is taken away, and the axis found once more without it. Then so much
    motion across it is added that any change along it would silence the unit. Where that costs
    little, the unit is blind to motion across the axis: its texture has a single orientation, or
    the unit sees one only, and nothing says how fast the texture moves across the axis. An axis
    across the motion itself is not returned: that unit accepts any speed.

    Args:
        score: the unit's response.
        parts: what moves, B rows.
        velocity: mean velocities (B, 2) px/frame.
        speed: mean speeds (B,) px/frame.
    """
    step = (PROBE * speed).clamp_min(LEAST_PROBE)
    both = torch.eye(2, device=step.device).expand(len(step), 2, 2)
    for _ in range(PROBES):
        scores = _probed(score, parts, step[:, None, None] * both)
        too_far = scores.amin(1) < STEEPEST * scores[:, len(NEARBY) // 2]
        step = torch.where(too_far.to(step.device), step / 2, step)
        if not too_far.any():
            break
    top = scores[:, len(NEARBY) // 2]
    curvature, rough = _steepest(scores)
    falls = curvature / 2 > LEAST_CURVATURE * top.abs()
    rough = rough.to(velocity)
    along = (rough * velocity).sum(1).abs() >= 0.5 * velocity.norm(dim=1)

    rest = _crossing(rough)
    seen = parts.drifting(-(rest * velocity).sum(1, keepdim=True) * rest)
    steps = torch.stack([step[:, None] * rough, WIDER * step[:, None] * rest], 1)
    scores = _probed(score, seen, steps)
    kept = scores[:, len(NEARBY) // 2]
    falls &= kept > KEPT * top
    curvature, place = _steepest(scores, WIDER)
    axis = place[:, :1].to(rough) * rough + place[:, 1:].to(rest) * rest

    # Half of the score is lost by this much motion along the axis; a clip has only so much texture.
    half = step * (kept / curvature.clamp_min(1e-12)).clamp_min(0).sqrt().to(step)
    frames = parts.displacement.shape[2] // 2
    furthest = torch.maximum(step, parts.offset.amin(1) / frames)
    far = torch.minimum(FAR * half, furthest)
    ways = [sign * far[:, None] * _crossing(axis) for sign in (-1, 1)]
    share = sum(score(seen.drifting(way).render()).cpu().double() for way in ways) / (2 * kept)
    lost = -share.clamp_min(1e-12).log2() / (far / half).square().cpu().double()
    blind = falls & (lost < BLIND) & along.cpu()
    return [
        (x, y) if is_blind else None
        for (x, y), is_blind in zip(axis.tolist(), blind.tolist(), strict=True)
    ]


def _probed(score: Score, parts: Decomposition, steps: Tensor) -> Tensor:
    """The scores (B, 9) of clips that drift besides by each of `NEARBY` times two steps (B, 2, 2).

    They are double and on the CPU; those that are not finite are 0.
    """
    extra = [x * steps[:, 0] + y * steps[:, 1] for x, y in NEARBY]
    found = torch.stack([score(parts.drifting(velocity).render()) for velocity in extra], 1)
    return found.cpu().double().nan_to_num(0, 0, 0)


def _steepest(scores: Tensor, wider: float = 1.0) -> tuple[Tensor, Tensor]:
    """The curvature (B,), per step, and axis (B, 2) along which scores (B, 9) fall most.

    The second step is `wider` than the first; the axis is given in units of the first.
    """
    x, y = torch.tensor(NEARBY, dtype=torch.float64).T
    y = wider * y
    design = torch.stack([torch.ones_like(x), x, y, x * x / 2, x * y, y * y / 2], 1)
    fitted = scores @ torch.linalg.pinv(design).T
    values, axes = torch.linalg.eigh(-fitted[:, [3, 4, 4, 5]].view(-1, 2, 2))
    return values[:, 1], axes[:, :, 1]


def _crossing(axis: Tensor) -> Tensor:
    """The axes (B, 2) at right angles to these."""
    return torch.stack([-axis[:, 1], axis[:, 0]], 1)
