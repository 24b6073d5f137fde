"""What a parametrization is: numbers the ascent moves, and the RGB pictures they mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from fvis.registry import Registry


@dataclass(frozen=True)
class Pace:
    """How the ascent moves a tensor of numbers.

    `shrink` is the share that they lose per unit of the learning rate: what the score does not
    hold up goes to zero. `as_one`: each row's numbers are scaled by one second moment instead of
    by one each, so that they follow the gradient's direction.
    """

    shrink: float = 0.0
    as_one: bool = False


@dataclass(frozen=True)
class Parametrization:
    """A batch of pictures as free numbers.

    `numbers` are leaf tensors whose first axis is the batch; `render()` gives the pictures they
    mean, RGB in [0, 1], (B, 3, H, W) or (B, 3, T, H, W). No number touches two rows. `paces` says
    how each of the `numbers` moves, where not all simply by Adam.
    """

    numbers: tuple[Tensor, ...]
    render: Callable[[], Tensor]
    paces: tuple[Pace, ...] = ()


class Build(Protocol):
    """Builds a `Parametrization` of one picture per generator, each of `shape`."""

    def __call__(
        self,
        config: Any,
        generators: Sequence[Generator],
        shape: tuple[int, ...],
        device: torch.device,
    ) -> Parametrization:
        """`shape` is (3, H, W) or (3, T, H, W); row b starts from generator b alone."""
        ...


PARAMETRIZATIONS: Registry[Build] = Registry("parametrization", "fvis.parametrizations")


def leaf(start: Tensor, device: torch.device) -> Tensor:
    """`start` on `device` as a tensor that the ascent may move."""
    return start.to(device).requires_grad_(True)
