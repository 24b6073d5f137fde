"""Perturbations that stay within their bounds, 8 bits and all."""

import math

import torch
from torch import Tensor

from fvis.errors import RequestError
from fvis.perturbation.measures import LEVELS, l2

ROUND_OFF = 1e-4  # of a level: what float32 may lose
SHRINKS = 8  # times a perturbation that rounding has pushed out of an L2 ball is drawn back in
DRAWN_BACK = 0.99


def projected(clean: Tensor, delta: Tensor, norm: str, epsilon: float) -> Tensor:
    """The change (B, 3, H, W) within `epsilon` of `norm` nearest to `delta`, inside [0, 1]."""
    if norm == "linf":
        delta = delta.clamp(-epsilon, epsilon)
    if norm == "l2":
        delta = delta * (epsilon / l2(delta).clamp_min(epsilon)).view(-1, 1, 1, 1)
    return (clean + delta).clamp(0, 1) - clean


@torch.no_grad()
def in_8_bits(clean: Tensor, delta: Tensor, norm: str, epsilon: float) -> Tensor:
    """`clean + delta` as an 8-bit file holds it: in [0, 1], whole levels, and within the bound.

    `clean` (B, 3, H, W) is of whole levels itself. Towards the bound values are rounded down.
    """
    levels = (clean * LEVELS).round()
    change = delta * LEVELS
    if norm == "linf":
        reach = int(epsilon * LEVELS + ROUND_OFF)
        rounded = (levels + change).round().clamp(0, LEVELS) - levels
        return (levels + rounded.clamp(-reach, reach)) / LEVELS
    rounded = (levels + change).round().clamp(0, LEVELS) - levels
    if norm == "l2":
        for _ in range(SHRINKS):
            over = (l2(rounded) / LEVELS / epsilon).clamp_min(1)
            change = change * torch.where(over > 1, DRAWN_BACK / over, over).view(-1, 1, 1, 1)
            rounded = (levels + change).round().clamp(0, LEVELS) - levels
        outside = l2(rounded) / LEVELS > epsilon
        # Towards zero no change grows, so what was inside before it was rounded stays inside.
        towards_zero = (levels + change.trunc()).clamp(0, LEVELS) - levels
        rounded = torch.where(outside.view(-1, 1, 1, 1), towards_zero, rounded)
    return (levels + rounded) / LEVELS


def radius(spec: object, norm: str) -> float:
    """The bound that a setting such as `8/255` or 0.03 asks for; infinite for norm none.

    Raises `RequestError` for what is no number, or leaves an 8-bit file no room.
    """
    if norm == "none":
        return math.inf
    numerator, _, denominator = str(spec).partition("/")
    try:
        epsilon = float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise RequestError(
            f"method.epsilon is {spec!r}; it takes a number such as 8/255 or 0.03"
        ) from None
    if norm == "linf" and not 1 - ROUND_OFF <= epsilon * LEVELS <= LEVELS:
        raise RequestError(
            f"method.epsilon is {spec}; for linf it must be from 1/255, the least that a file of "
            "8 bits can show, to 1"
        )
    if not 1 <= epsilon * LEVELS < math.inf:
        raise RequestError(f"method.epsilon is {spec}; for l2 it must be at least 1/255")
    return epsilon
