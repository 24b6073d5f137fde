"""The batched optimization loop: pictures climb their scores, each row for itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from fvis.parametrizations.base import Parametrization
from fvis.schema import EngineConfig

TINY = 1e-30  # keeps 0/0 of a row without gradient at 0


class Views(Protocol):
    """Makes `views` random views of each picture at a step."""

    views: int

    def __call__(self, rgb: Tensor, step: int) -> Tensor:
        """Views (B * views, 3, ...) of pictures (B, 3, ...)."""
        ...


@dataclass(frozen=True)
class Penalty:
    """A regularizer (B,) of pictures (B, 3, ...), its weight relative to the score's gradient."""

    weight: float
    value: Callable[[Tensor], Tensor]


@dataclass
class Trace:
    """The scores (B,) of each logged step, left on the device until they are read."""

    steps: list[int] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)

    def rows(self) -> list[list[tuple[int, float]]]:
        """Per row: (step, score) pairs."""
        if not self.scores:
            return []
        columns = torch.stack(self.scores).T.tolist()
        return [list(zip(self.steps, column, strict=True)) for column in columns]


def ascend(
    picture: Parametrization,
    score: Callable[[Tensor, int], Tensor],
    views: Views,
    penalties: Sequence[Penalty],
    engine: EngineConfig,
    on_step: Callable[[int, Trace], None] = lambda step, trace: None,
) -> Trace:
    """Move `picture`'s numbers up the scores of its views for `engine.steps` Adam steps.

    `score(views, step)` gives one number per view (B * views,), from that view alone. A row's
    penalties are balanced: each one's gradient to the picture is scaled to `weight` times the
    length of the row's score gradient, so one weight means the same on every network. The loop
    never waits for the device, except where `on_step` reads the trace.
    """
    # A gradient's size varies by many orders between networks; an epsilon must never matter.
    optimizer = torch.optim.Adam(picture.numbers, lr=engine.lr, eps=1e-15)
    trace = Trace()
    for step in range(engine.steps):
        optimizer.zero_grad(set_to_none=True)
        rgb = picture.render()
        leaf = rgb.detach().requires_grad_(True)
        scores = score(views(leaf, step), step).unflatten(0, (-1, views.views)).mean(1)
        (uphill,) = torch.autograd.grad(scores.sum(), leaf)
        downhill = [_balanced(penalty, leaf, uphill) for penalty in penalties]
        rgb.backward(sum(downhill, start=-uphill))
        optimizer.step()
        if step % engine.log_every == 0 or step == engine.steps - 1:
            trace.steps.append(step)
            trace.scores.append(scores.detach())
        on_step(step, trace)
    return trace


def _balanced(penalty: Penalty, leaf: Tensor, uphill: Tensor) -> Tensor:
    """The penalty's gradient, each row's scaled to `weight` times the length of `uphill`'s."""
    (gradient,) = torch.autograd.grad(penalty.value(leaf).sum(), leaf)
    ratio = _lengths(uphill) / _lengths(gradient).clamp_min(TINY)
    return penalty.weight * ratio * gradient


def _lengths(batch: Tensor) -> Tensor:
    norms: Tensor = batch.flatten(1).norm(dim=1)
    return norms.view(-1, *[1] * (batch.dim() - 1))
