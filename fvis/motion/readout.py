"""What a moving clip's motion is, in numbers, wherever the unit looks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fvis.motion.warp import velocity

ONE_WAY = 0.4  # gradients this much weaker across than along leave half of what they show
# A derivative and the smoothing across that goes with it, so that their ratio is a wave's angle:
# Farid & Simoncelli, "Differentiation of discrete multidimensional signals", 2004 (5 taps).
SMOOTH = (0.037659, 0.249153, 0.426375, 0.249153, 0.037659)
SLOPE = (-0.109604, -0.276691, 0.0, 0.276691, 0.109604)
STILL = 0.05  # px/frame; below it a mean velocity has no direction worth the name


@dataclass(frozen=True)
class Motion:
    """Means over a clip, each place and frame weighed by how much it matters to the unit.

    `velocity` [vx, vy] px/frame, x right, y down. `normal_velocity` is the part of it along the
    clip's own gradients: of a grating's motion all that can be seen (the aperture problem), of a
    texture's with many orientations the whole. `speed` px/frame is the velocity's mean length.
    `direction_deg` is the normal velocity's: 0 right, 90 up, counter-clockwise; None where nothing
    moves on the whole.
    `divergence` (above 0: expanding) and `curl` (above 0: clockwise on the screen) are per frame.
    """

    velocity: tuple[float, float]
    normal_velocity: tuple[float, float]
    speed: float
    direction_deg: float | None
    divergence: float
    curl: float


def measure(clip: Tensor, displacement: Tensor, importance: Tensor) -> list[Motion]:
    """The motion of clips (B, 3, T, H, W) under displacements (B, 2, T, H, W) px.

    `importance` (B, T, H, W), at least 0, is how much each place matters, e.g. |da/dV|; where all
    of it is zero every place counts alike.
    """
    flow = velocity(displacement)
    weight = _over_intervals(importance)
    mean = _mean(flow, weight)
    along = _along_gradient(clip, flow, weight)
    speed = _mean(flow.norm(dim=1, keepdim=True), weight)
    turning = _turning(flow, displacement, weight)
    rows = torch.cat([mean, along, speed, turning], 1).tolist()
    return [
        Motion((vx, vy), (nx, ny), s, direction_deg(nx, ny), divergence, curl)
        for vx, vy, nx, ny, s, divergence, curl in rows
    ]


def direction_deg(vx: float, vy: float) -> float | None:
    """The direction in [0, 360) of a velocity in px/frame; None below `STILL`.

    >>> direction_deg(0.0, -1.0)
    90.0
    """
    if math.hypot(vx, vy) < STILL:
        return None
    return math.degrees(math.atan2(-vy, vx)) % 360


def _over_intervals(importance: Tensor) -> Tensor:
    """Weights (B, 1, T - 1, H, W) of the steps from frame to frame, adding up to one."""
    weight = (importance[:, 1:] + importance[:, :-1])[:, None]
    total = weight.flatten(1).sum(1).view(-1, 1, 1, 1, 1)
    return torch.where(total > 0, weight / total, 1 / weight[0].numel())


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).flatten(2).sum(2)


def mean_motion(clip: Tensor) -> Tensor:
    """One velocity (B, 2) px/frame per clip (B, 3, T, H, W), from its brightness alone.

    Least squares over the gradients of the slightly blurred clip (Lucas & Kanade 1981): a first
    guess, too slow where frames differ otherwise than by motion.
    """
    grey = functional.avg_pool3d(clip.mean(1, keepdim=True), (1, 5, 5), 1)[:, 0]
    change = grey.diff(dim=1)
    between = (grey[:, 1:] + grey[:, :-1]) / 2
    weight = torch.full_like(change[:, None], 1 / change[0].numel())
    return _least_squares(_gradient(between), -change, weight)


def _along_gradient(clip: Tensor, flow: Tensor, weight: Tensor) -> Tensor:
    """The part (B, 2) of the velocity that brightness shows."""
    grey = clip.mean(1)
    gradient = _gradient((grey[:, 1:] + grey[:, :-1]) / 2)
    return _least_squares(gradient, (gradient * flow).sum(1), weight)


def _gradient(grey: Tensor) -> Tensor:
    """d/dx and d/dy (B, 2, T, H, W) per px of (B, T, H, W), at the same angle for all waves."""
    b, t, h, w = grey.shape
    smooth, slope = grey.new_tensor(SMOOTH), grey.new_tensor(SLOPE)
    kernels = torch.stack([smooth[:, None] * slope, slope[:, None] * smooth])[:, None]
    frames = (grey - grey.mean((2, 3), keepdim=True)).reshape(b * t, 1, h, w)
    padded = functional.pad(frames, (2, 2, 2, 2), mode="replicate")
    return functional.conv2d(padded, kernels).view(b, t, 2, h, w).transpose(1, 2)


def _least_squares(gradient: Tensor, change: Tensor, weight: Tensor) -> Tensor:
    """The velocity u (B, 2) of least length for which gradient . u comes nearest to `change`.

    Where one orientation dominates, what runs along it is left out.
    """
    tensor = torch.einsum("bithw,bjthw,bthw->bij", gradient, gradient, weight[:, 0])
    moment = torch.einsum("bithw,bthw,bthw->bi", gradient, change, weight[:, 0])
    values, axes = torch.linalg.eigh(tensor)
    values = values.clamp_min(1e-20)
    kept = (1 + ONE_WAY**2) / (1 + (ONE_WAY * values[:, 1:] / values).square())
    along = torch.einsum("bij,bi->bj", axes, moment) / values * kept
    return torch.einsum("bij,bj->bi", axes, along)


def _turning(flow: Tensor, displacement: Tensor, weight: Tensor) -> Tensor:
    """Mean divergence and curl (B, 2) per frame, of the affine fields that fit best.

    D_{t-1} - D_t is the velocity where the displacement is even; a texture already turned or
    scaled by 1 + J shows (1 + J)^-1 of it.
    """
    turned = torch.eye(2, device=flow.device) + _slopes(displacement[:, :, 1:], weight)
    seen = torch.linalg.pinv(turned, rtol=0.1) @ _slopes(flow, weight)
    divergence = seen[..., 0, 0] + seen[..., 1, 1]
    curl = seen[..., 1, 0] - seen[..., 0, 1]
    share = weight[:, 0].flatten(2).sum(2)
    return torch.stack([(divergence * share).sum(1), (curl * share).sum(1)], 1)


def _slopes(field: Tensor, weight: Tensor) -> Tensor:
    """The matrices (B, T', 2, 2), d field_i / d place_j, of each frame's best affine fit."""
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
    # Half a pixel of spread keeps a single place from having any slope.
    slopes: Tensor = slope @ torch.linalg.inv(spread + 0.25 * torch.eye(2, device=field.device))
    return slopes
