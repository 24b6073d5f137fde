"""What a parametrization is: parameters that the ascent moves, and the RGB pictures they render."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from fvis.registry import Registry


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
    """

    parameters: tuple[Tensor, ...]
    render: Callable[[], Tensor]
    update_rules: tuple[UpdateRule, ...] = ()


class Build(Protocol):
    """Builds a `Parametrization` with one picture per generator."""

    def __call__(
        self,
        config: Any,
        generators: Sequence[Generator],
        shape: tuple[int, ...],
        device: torch.device,
    ) -> Parametrization:
        """Build pictures of `shape`, (3, H, W) or (3, T, H, W); row b is drawn by generator b."""
        ...


PARAMETRIZATIONS: Registry[Build] = Registry(
    "parametrization", "fvis.parametrizations", entry_points="fvis.parametrizations"
)


def leaf(start: Tensor, device: torch.device) -> Tensor:
    """`start` on `device`, as a leaf tensor that requires gradients."""
    return start.to(device).requires_grad_(True)
