"""A clip's motion in numbers: means over the clip, weighted by what matters to the unit."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fvis.motion.warp import velocity

# Where the gradient energy along one axis is this fraction of that along the other, about half of
# the motion along the weaker axis is kept (see `_least_squares`).
APERTURE_RATIO = 0.2
INVISIBLE = 1e-12  # mean squared gradient; a clip of less is uniform, and shows no motion
TINY = 1e-12  # px/frame; keeps 0/0 at 0
# Derivative filter and the matching smoothing filter for the other axis. Together they give the
# right gradient direction for waves of any orientation: Farid & Simoncelli, "Differentiation of
# discrete multidimensional signals", 2004 (5 taps).
SMOOTH = (0.037659, 0.249153, 0.426375, 0.249153, 0.037659)
SLOPE = (-0.109604, -0.276691, 0.0, 0.276691, 0.109604)
SLOWEST = 0.05  # px/frame; a slower mean velocity is given no direction
LEAST_COHERENCE = 0.85  # |mean velocity| / mean speed; what moves less as one is given no direction
# A texture whose gradient energy across its main axis is less than this fraction of that along it
# has a single orientation: motion along its edges cannot be seen. A moving Gabor pattern that an
# ascent finds has 0.03 to 0.05; two gratings 30 degrees apart have 0.07.
SINGLE_ORIENTATION = 0.06


@dataclass(frozen=True)
class Motion:
    """Means over a clip, weighted by how much each position and frame matters to the unit.

    Attributes:
        velocity: [vx, vy] px/frame, x right, y down.
        normal_velocity: the part of the velocity along the clip's colour gradients, px/frame.
            For a grating this is all that can be seen of its motion (the aperture problem); for a
            texture with many orientations it is the whole velocity.
        speed: mean length of the velocity, px/frame; where there is an axis, along that alone.
        direction_deg: direction of `velocity` in degrees, 0 right, 90 up; for a texture of a single
            orientation, of its velocity across its edges. None if that is slower than `SLOWEST`, if
            its coherence is below `LEAST_COHERENCE`, and if the clip shows nothing that moves.
        coherence: |mean velocity| / mean speed, in [0, 1]: 1 if everything moves as one.
        axis_deg: for a texture of a single orientation, or a unit that sees but one, the axis
            across the edges, in [0, 180): the only one along which motion is seen. Else None.
        divergence: per frame; positive for expansion.
        curl: per frame; positive for clockwise rotation on the screen.
    """

    velocity: tuple[float, float]
    normal_velocity: tuple[float, float]
    speed: float
    direction_deg: float | None
    coherence: float
    axis_deg: float | None
    divergence: float
    curl: float


def measure(clip: Tensor, displacement: Tensor, importance: Tensor) -> list[Motion]:
    """Measure the motion of each clip of a batch.

    Args:
        clip: (B, 3, T, H, W) in [0, 1].
        displacement: (B, 2, T, H, W) px, the displacement that renders `clip`.
        importance: (B, T, H, W), not negative: how much each pixel matters to the unit, e.g.
            |da/dV|. A row that is zero everywhere is weighted uniformly.
    """
    flow = velocity(displacement)
    weight = _over_intervals(importance)
    gradient = _gradient((clip[:, :, 1:] + clip[:, :, :-1]) / 2)
    along = _least_squares(gradient, (gradient * flow[:, :, None]).sum(1), weight)
    turning = _turning(flow, displacement, weight)
    rows = torch.cat([_mean(flow, weight), along, turning], 1).tolist()
    drifts = _drifts(flow, gradient, weight)
    return [
        Motion((vx, vy), (nx, ny), *drift, divergence, curl)
        for (vx, vy, nx, ny, divergence, curl), drift in zip(rows, drifts, strict=True)
    ]


def direction_deg(vx: float, vy: float) -> float | None:
    """Direction in degrees, [0, 360), of a velocity in px/frame, x right and y down.

    0 is right and 90 is up. None if the velocity is slower than `SLOWEST`.

    >>> direction_deg(0.0, -1.0)
    90.0
    """
    if math.hypot(vx, vy) < SLOWEST:
        return None
    return math.degrees(math.atan2(-vy, vx)) % 360


def along_axis(motion: Motion, axis: tuple[float, float] | None) -> Motion:
    """The motion as a unit sees it that is blind across an axis, a unit vector; None: as it is."""
    if axis is None:
        return motion
    (ax, ay), (vx, vy) = axis, motion.velocity
    speed = ax * vx + ay * vy
    told = motion.coherence >= LEAST_COHERENCE
    return dataclasses.replace(
        motion,
        normal_velocity=(speed * ax, speed * ay),
        speed=abs(speed),
        direction_deg=direction_deg(speed * ax, speed * ay) if told else None,
        axis_deg=_axis_deg(ax, ay),
    )


def _axis_deg(x: float, y: float) -> float:
    """The axis, in degrees from 0 to 180, of a vector with y down."""
    return math.degrees(math.atan2(-y, x)) % 180


def _over_intervals(importance: Tensor) -> Tensor:
    """Weights (B, 1, T - 1, H, W) for quantities between two frames; each row sums to one."""
    weight = (importance[:, 1:] + importance[:, :-1])[:, None]
    total = weight.flatten(1).sum(1).view(-1, 1, 1, 1, 1)
    return torch.where(total > 0, weight / total, 1 / weight[0].numel())


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).flatten(2).sum(2)


def mean_motion(clip: Tensor) -> Tensor:
    """Estimate one velocity (B, 2) px/frame for each clip (B, 3, T, H, W) from its pixels alone.

    Least squares over the gradients of the slightly blurred clip (Lucas & Kanade 1981).
    This is a rough first guess: changes that are not motion, such as flicker, lower the speed, and
    the smoothing of the gradients raises it for textures with periods of only a few pixels.
    """
    blurred = functional.avg_pool3d(clip, (1, 5, 5), 1)
    change = blurred.diff(dim=2)
    between = (blurred[:, :, 1:] + blurred[:, :, :-1]) / 2
    weight = torch.full_like(change[:, :1], 1 / change[0, 0].numel())
    return _least_squares(_gradient(between), -change, weight)


def _drifts(
    flow: Tensor, gradient: Tensor, weight: Tensor
) -> list[tuple[float, float | None, float, float | None]]:
    """`speed`, `direction_deg`, `coherence` and `axis_deg` of each row."""
    values, axes = torch.linalg.eigh(_structure(gradient, weight))
    single = values[:, :1] < SINGLE_ORIENTATION * values[:, 1:]
    axis = axes[:, :, 1]
    across = torch.einsum("bi,bithw->bthw", axis, flow)[:, None]
    drift = torch.where(single, _mean(across, weight) * axis, _mean(flow, weight))
    whole = _mean(flow.norm(dim=1, keepdim=True), weight)
    speed = torch.where(single, _mean(across.abs(), weight), whole)
    coherence = drift.norm(dim=1, keepdim=True) / speed.clamp_min(TINY)
    shown = values[:, 1:] > INVISIBLE
    columns = (drift, speed, coherence, axis, single & shown, shown)
    found = []
    for row in zip(*(column.tolist() for column in columns), strict=True):
        (vx, vy), (mean_speed,), (coherent,), (ax, ay), (is_single,), (is_shown,) = row
        told = is_shown and coherent >= LEAST_COHERENCE
        direction = direction_deg(vx, vy) if told else None
        axis_deg = _axis_deg(ax, ay) if is_single else None
        found.append((mean_speed, direction, coherent, axis_deg))
    return found


def _structure(gradient: Tensor, weight: Tensor) -> Tensor:
    """The structure tensor (B, 2, 2): the weighted mean of gradient times its transpose.

    All colour channels count, so that what differs in colour alone is seen too.
    """
    return torch.einsum("bicthw,bjcthw,bthw->bij", gradient, gradient, weight[:, 0]) / 3


def _gradient(frames: Tensor) -> Tensor:
    """d/dx and d/dy (B, 2, 3, T, H, W) per px of the smoothed frames (B, 3, T, H, W)."""
    h, w = frames.shape[-2:]
    smooth, slope = frames.new_tensor(SMOOTH), frames.new_tensor(SLOPE)
    kernels = torch.stack([smooth[:, None] * slope, slope[:, None] * smooth])[:, None]
    away = (frames - frames.mean((3, 4), keepdim=True)).reshape(-1, 1, h, w)
    padded = functional.pad(away, (2, 2, 2, 2), mode="replicate")
    return functional.conv2d(padded, kernels).view(*frames.shape[:3], 2, h, w).movedim(3, 1)


def _least_squares(gradient: Tensor, change: Tensor, weight: Tensor) -> Tensor:
    """The velocity u (B, 2) that minimises the weighted mean of (gradient . u - change)^2.

    `change` is (B, 3, T, H, W). If one orientation dominates, u is damped along the axis in which
    brightness hardly changes, because the motion along it cannot be seen (the aperture problem).
    """
    moment = torch.einsum("bicthw,bcthw,bthw->bi", gradient, change, weight[:, 0]) / 3
    values, axes = torch.linalg.eigh(_structure(gradient, weight))
    values = values.clamp_min(1e-20)
    kept = (1 + APERTURE_RATIO**2) / (1 + (APERTURE_RATIO * values[:, 1:] / values).square())
    along = torch.einsum("bij,bi->bj", axes, moment) / values * kept
    return torch.einsum("bij,bj->bi", axes, along)


def _turning(flow: Tensor, displacement: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean divergence and curl (B, 2), per frame, of each frame's best affine fit.

    `flow` D_{t-1} - D_t is the velocity on the screen only where D is uniform in space. Where D
    has slope J, that is, where it already scales or rotates the texture by 1 + J, the slope of the
    velocity on the screen is (1 + J)^-1 times the flow's.
    """
    turned = torch.eye(2, device=flow.device) + _slopes(displacement[:, :, 1:], weight)
    seen = torch.linalg.pinv(turned, rtol=0.1) @ _slopes(flow, weight)
    divergence = seen[..., 0, 0] + seen[..., 1, 1]
    curl = seen[..., 1, 0] - seen[..., 0, 1]
    share = weight[:, 0].flatten(2).sum(2)
    return torch.stack([(divergence * share).sum(1), (curl * share).sum(1)], 1)


def _slopes(field: Tensor, weight: Tensor) -> Tensor:
    """Slopes d field_i / d place_j (B, T', 2, 2) of the weighted affine fit to each frame."""
    h, w = field.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(h, dtype=field.dtype, device=field.device),
        torch.arange(w, dtype=field.dtype, device=field.device),
        indexing="ij",
    )
    place = torch.stack([x, y]).flatten(1)  # (2, P)
    share = weight[:, 0].flatten(2)  # (B, T', P)
    share = share / share.sum(2, keepdim=True).clamp_min(1e-12)
    values = field.transpose(1, 2).flatten(3)  # (B, T', 2, P)
    centre = torch.einsum("btp,jp->btj", share, place)
    mean = torch.einsum("btp,btip->bti", share, values)
    away = place - centre[..., None]  # (B, T', 2, P)
    spread = torch.einsum("btp,btip,btjp->btij", share, away, away)
    slope = torch.einsum("btp,btip,btjp->btij", share, values - mean[..., None], away)
    # The 0.25 px^2 keep the inverse finite, and the slope at 0 if one pixel has all the weight.
    slopes: Tensor = slope @ torch.linalg.inv(spread + 0.25 * torch.eye(2, device=field.device))
    return slopes
