"""The batched optimization loop: pictures climb their scores, each row for itself."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from fvis.parametrizations.base import Pace, Parametrization
from fvis.schema import EngineConfig

AT_REST = 0.02  # share of the learning rate left at the end for numbers that move as one
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
    score: Callable[[Tensor], Tensor],
    views: Views,
    penalties: Sequence[Penalty],
    engine: EngineConfig,
    on_step: Callable[[int, Trace], None] = lambda step, trace: None,
) -> Trace:
    """Move `picture`'s numbers up the scores of its views for `engine.steps` Adam steps.

    `score(views)` gives one number per view (B * views,), from that view alone. Every row's
    score gradient to its picture is scaled to length 1 and each penalty's to its `weight`, so
    settings mean the same on every network, and at every step whatever the view; one that is not
    finite moves nothing. The loop never waits for the device, except where `on_step` reads the
    trace.
    """
    # Rows' gradients have length 1 below, so Adam's epsilon can be out of the way.
    b0, b1 = engine.betas
    paces = picture.paces or (Pace(),) * len(picture.numbers)
    pairs = list(zip(picture.numbers, paces, strict=True))
    each = [
        {"params": [number], "weight_decay": pace.shrink}
        for number, pace in pairs
        if not pace.as_one
    ]
    optimizer = torch.optim.AdamW(each or [{"params": []}], lr=engine.lr, betas=(b0, b1), eps=1e-15)
    whole = [_RowAdam(number, pace.shrink, (b0, b1)) for number, pace in pairs if pace.as_one]
    trace = Trace()
    for step in range(engine.steps):
        lr = engine.lr * cosine(step, engine.steps, engine.lr_final)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        rgb = picture.render()
        leaf = rgb.detach().requires_grad_(True)
        by_view = score(views(leaf, step))
        scores = by_view.view(len(leaf), views.views).mean(1)
        (uphill,) = torch.autograd.grad(scores.sum(), leaf)
        lengths = _lengths(uphill)
        uphill = torch.where(lengths.isfinite(), uphill / lengths.clamp_min(TINY), 0)
        downhill = [_balanced(penalty, leaf) for penalty in penalties]
        rgb.backward(sum(downhill, start=-uphill))
        optimizer.step()
        for rows in whole:
            rows.step(engine.lr * cosine(step, engine.steps, AT_REST))
        if step % engine.log_every == 0 or step == engine.steps - 1:
            trace.steps.append(step)
            trace.scores.append(scores.detach())
        on_step(step, trace)
    return trace


class _RowAdam:
    """Adam with one second moment per row: steps of at most about `lr`, along the gradient."""

    def __init__(self, numbers: Tensor, shrink: float, betas: tuple[float, float]) -> None:
        self._numbers, self._shrink, self._betas = numbers, shrink, betas
        self._first = torch.zeros_like(numbers)
        self._second = torch.zeros_like(_lengths(numbers.detach()))
        self._steps = 0

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the numbers against their gradient, and take the gradient away."""
        gradient = self._numbers.grad
        assert gradient is not None, "step() follows backward()"
        self._numbers.grad = None
        self._steps += 1
        b0, b1 = self._betas
        self._first.lerp_(gradient, 1 - b0)
        self._second.lerp_(_lengths(gradient).square(), 1 - b1)
        first = self._first / (1 - b0**self._steps)
        second = self._second / (1 - b1**self._steps)
        self._numbers.mul_(1 - lr * self._shrink)
        self._numbers.sub_(lr * first / second.sqrt().clamp_min(TINY))


def cosine(step: int, steps: int, final: float) -> float:
    """The factor from 1 at step 0 to `final` at the last step, along half a cosine."""
    progress = step / max(1, steps - 1)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def _balanced(penalty: Penalty, leaf: Tensor) -> Tensor:
    """The penalty's gradient, each row's scaled to length `weight`."""
    (gradient,) = torch.autograd.grad(penalty.value(leaf).sum(), leaf)
    return penalty.weight * gradient / _lengths(gradient).clamp_min(TINY)


def _lengths(batch: Tensor) -> Tensor:
    norms: Tensor = batch.flatten(1).norm(dim=1)
    return norms.view(-1, *[1] * (batch.dim() - 1))
