"""What a parametrization is: parameters that the ascent moves, and the RGB pictures they render."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from fvis.registry import Registry

INSIDE = 0.25 / 255  # black and white themselves have no finite logit


@dataclass(frozen=True)
class UpdateRule:
    """How the ascent updates one tensor of parameters.

    `weight_decay` is decoupled from the gradient (Loshchilov & Hutter 2019): parameters that the
    score does not hold up decay to zero. With `rowwise`, Adam keeps one second moment per batch row
    instead of one per parameter, so that an update follows the direction of its row's gradient; the
    decay may then be a tensor that broadcasts with the parameters.
    """

    weight_decay: float | Tensor = 0.0
    rowwise: bool = False


@dataclass(frozen=True)
class Parametrization:
    """A batch of B pictures, described by free parameters.

    Attributes:
        parameters: leaf tensors that require gradients; their first axis is the batch, and no
            parameter affects more than its own row.
        render: returns the pictures, RGB in [0, 1], (B, 3, H, W) or clips (B, 3, T, H, W).
        update_rules: one rule for each of the `parameters`; empty for plain Adam on all of them.
        render_at: what climbs instead of the pictures at a step of the ascent, if anything does.
    """

    parameters: tuple[Tensor, ...]
    render: Callable[[], Tensor]
    update_rules: tuple[UpdateRule, ...] = ()
    render_at: Callable[[int], Tensor] | None = None

    def climbing(self, step: int) -> Tensor:
        """What climbs at a step: usually the pictures themselves."""
        return self.render_at(step) if self.render_at else self.render()


class Build(Protocol):
    """Builds a `Parametrization` with one picture per generator."""

    def __call__(
        self,
        config: Any,
        generators: Sequence[Generator],
        shape: tuple[int, ...],
        device: torch.device,
        start: Tensor | None = None,
    ) -> Parametrization:
        """Build pictures of `shape`, (3, H, W) or (3, T, H, W); row b is drawn by generator b.

        With `start`, images (B, 3, H, W) in [0, 1], the pictures start as these, to 8 bits.
        """
        ...


PARAMETRIZATIONS: Registry[Build] = Registry(
    "parametrization", "fvis.parametrizations", entry_points="fvis.parametrizations"
)


def unbounded(rgb: Tensor) -> Tensor:
    """The numbers whose sigmoid is `rgb` in [0, 1]; black and white are a quarter level inside.

    >>> ends = torch.tensor([0.0, 1.0])
    >>> (255 * torch.sigmoid(unbounded(ends))).round().tolist()
    [0.0, 255.0]
    """
    return rgb.clamp(INSIDE, 1 - INSIDE).logit()


def leaf(start: Tensor, device: torch.device) -> Tensor:
    """`start` on `device`, as a leaf tensor that requires gradients."""
    return start.to(device).requires_grad_(True)
