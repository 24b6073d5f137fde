"""The bound on a perturbation, which holds after rounding to 8 bits too."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fvis.errors import RequestError
from fvis.perturbation.measures import LEVELS, l2

ROUND_OFF = 1e-4  # grey levels; tolerance for float32 rounding errors
# A perturbation that rounding pushes out of its L2 ball is scaled down to DRAWN_BACK of the radius
# and rounded again, at most SHRINKS times.
SHRINKS = 8
DRAWN_BACK = 0.99


def per_row(numbers: Tensor, pictures: Tensor) -> Tensor:
    """One number per row (B,), shaped (B, 1, ...) to be combined with `pictures` (B, 3, ...)."""
    return numbers.view(-1, *[1] * (pictures.dim() - 1))


def projected(clean: Tensor, delta: Tensor, norm: str, epsilon: float) -> Tensor:
    """Project `delta` onto the ball of radius `epsilon`, then clip `clean + delta` to [0, 1].

    `clean` (B, 3, ...) is in [0, 1]; `delta` (B, 3, ...) and `epsilon` are on the same scale.
    `norm` is "linf", "l2" or "none". Clipping only shrinks a change, so it stays in the ball.

    >>> clean = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)
    >>> projected(clean, torch.full_like(clean, 0.75), "linf", 0.25).flatten().tolist()
    [0.25, 0.25, 0.0]
    """
    if norm == "linf":
        delta = delta.clamp(-epsilon, epsilon)
    if norm == "l2":
        delta = delta * per_row(epsilon / l2(delta).clamp_min(epsilon), delta)
    return (clean + delta).clamp(0, 1) - clean


@torch.no_grad()
def in_8_bits(clean: Tensor, delta: Tensor, norm: str, epsilon: float) -> Tensor:
    """Round `clean + delta` to whole multiples of 1/255 in [0, 1], within `epsilon` of `clean`.

    `clean` (B, 3, ...) consists of whole multiples of 1/255 itself. `norm` is "linf", "l2" or
    "none". Values are rounded to the nearest level, unless the change would leave the bound.

    >>> clean = torch.zeros(1, 3, 1, 1)
    >>> (255 * in_8_bits(clean, clean + 8.4 / 255, "linf", 10 / 255)).flatten().tolist()
    [8.0, 8.0, 8.0]
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
            change = change * per_row(torch.where(over > 1, DRAWN_BACK / over, over), change)
            rounded = (levels + change).round().clamp(0, LEVELS) - levels
        outside = l2(rounded) / LEVELS > epsilon
        # Rounding towards zero never enlarges a change, so it cannot push it out of the ball.
        towards_zero = (levels + change.trunc()).clamp(0, LEVELS) - levels
        rounded = torch.where(per_row(outside, rounded), towards_zero, rounded)
    return (levels + rounded) / LEVELS


def radius(spec: object, norm: str, linf: float, shape: Sequence[int]) -> float:
    """The bound, for pixels in [0, 1], of a setting such as "8/255" or 0.03; infinite for no norm.

    Where `spec` is None, it is `linf` for that norm. For l2 it is then the length of a change of
    every value of a picture of `shape` by a quarter of that: 3.04 for 8/255 and 224 px.

    Raises `RequestError` if `spec` is not a number, or if it is out of range: an 8-bit file can
    hold no change below 1/255, and for "linf" none above 1.

    >>> radius("51/255", "linf", 8 / 255, (3, 224, 224))
    0.2
    """
    if norm == "none":
        return math.inf
    if spec is None:
        return linf if norm == "linf" else linf / 4 * math.sqrt(math.prod(shape))
    numerator, _, denominator = str(spec).partition("/")
    try:
        epsilon = float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise RequestError(
            f"method.epsilon is {spec!r}; it must be a number such as 8/255 or 0.03"
        ) from None
    if norm == "linf" and not 1 - ROUND_OFF <= epsilon * LEVELS <= LEVELS:
        raise RequestError(
            f"method.epsilon is {spec}; for method.norm=linf it must be between 1/255, the "
            "smallest change that an 8-bit file can hold, and 1"
        )
    if norm == "l2" and not 1 - ROUND_OFF <= epsilon * LEVELS < math.inf:
        raise RequestError(
            f"method.epsilon is {spec}; for method.norm=l2 it must be finite and at least 1/255"
        )
    return epsilon
