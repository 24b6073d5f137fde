"""The batched ascent: pictures climb their scores, each row for itself."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fvis.optimization import AdamOptimization, cosine
from fvis.parametrizations.base import Parametrization, UpdateRule
from fvis.schema import EngineConfig

ROWWISE_FINAL = 0.02  # final share of the learning rate for rowwise parameters
TINY = 1e-30  # keeps 0/0 of a row without gradient at 0
EPSILON = 1e-15  # Adam's; rows' gradients have length 1, so it need not hold small ones down


class Views(Protocol):
    """Makes `views` random views of each picture at a step."""

    views: int

    def __call__(self, rgb: Tensor, step: int) -> Tensor:
        """Views (B * views, 3, ...) of pictures (B, 3, ...)."""
        ...


@dataclass(frozen=True)
class Penalty:
    """A regularizer: `value` maps pictures (B, 3, ...) to one penalty per row (B,).

    `weight` is the length of its gradient relative to that of the score's gradient.
    """

    weight: float
    value: Callable[[Tensor], Tensor]


class Ascent(AdamOptimization):
    """Moves a picture's parameters up the scores of its views, for `engine.steps` Adam steps.

    At each step, every row's score gradient with respect to its picture is scaled to length 1, and
    each penalty's gradient to its `weight`. So one setting means the same on every network and for
    every view. A gradient that is not finite moves nothing. The learning rate falls from
    `engine.lr` to `engine.lr_final` of it along a cosine (to `ROWWISE_FINAL` of it for rowwise
    parameters). No step waits for the device.

    Args:
        picture: the parametrization of B pictures.
        score: maps views (B * views, 3, ...) to scores (B * views,), each from its view alone.
        views: the random views that are scored.
        penalties: regularizers of the pictures themselves.
        engine: steps, learning rate, Adam's betas, and how often scores are logged.

    Source: Erhan et al. 2009; gradient normalization as in Mordvintsev et al. 2015 (DeepDream).
    """

    def __init__(
        self,
        picture: Parametrization,
        score: Callable[[Tensor], Tensor],
        views: Views,
        penalties: Sequence[Penalty],
        engine: EngineConfig,
    ) -> None:
        rules = picture.update_rules or (UpdateRule(),) * len(picture.parameters)
        pairs = list(zip(picture.parameters, rules, strict=True))
        self._schedules = [
            (optimizer, final)
            for optimizer, final in (
                (_optimizer(torch.optim.AdamW, pairs, False, engine), engine.lr_final),
                (_optimizer(RowwiseAdam, pairs, True, engine), ROWWISE_FINAL),
            )
            if optimizer is not None
        ]
        optimizers = [optimizer for optimizer, _ in self._schedules]
        super().__init__(list(picture.parameters), optimizers, engine.steps, engine.log_every)
        self._picture, self._score, self._views = picture, score, views
        self._penalties, self._lr = penalties, engine.lr

    def _advance(self) -> Tensor:
        for optimizer, final in self._schedules:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = self._lr * cosine(self.done, self.steps, final)
        rgb = self._picture.render()
        leaf = rgb.detach().requires_grad_(True)
        by_view = self._score(self._views(leaf, self.done))
        scores = by_view.view(len(leaf), self._views.views).mean(1)
        (uphill,) = torch.autograd.grad(scores.sum(), leaf)
        lengths = _lengths(uphill)
        uphill = torch.where(lengths.isfinite(), uphill / lengths.clamp_min(TINY), 0)
        downhill = [_scaled_gradient(penalty, leaf) for penalty in self._penalties]
        rgb.backward(sum(downhill, start=-uphill))
        for optimizer, _ in self._schedules:
            optimizer.step()
        return scores


class RowwiseAdam(torch.optim.Optimizer):
    """Adam with one second moment per batch row: updates follow the direction of the gradient.

    A row's update is at most about `lr` long. Weight decay is decoupled (Loshchilov & Hutter 2019).
    The first axis of every parameter is the batch.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float | Tensor = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None, "step() passes parameters without gradient over"
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(_lengths(parameter))
        state["step"] += 1
        b0, b1 = group["betas"]
        state["exp_avg"].lerp_(gradient, 1 - b0)
        state["exp_avg_sq"].lerp_(_lengths(gradient).square(), 1 - b1)
        first = state["exp_avg"] / (1 - b0 ** state["step"])
        second = state["exp_avg_sq"] / (1 - b1 ** state["step"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(group["lr"] * first / second.sqrt().clamp_min(TINY))


def _optimizer(
    kind: Callable[..., torch.optim.Optimizer],
    pairs: Sequence[tuple[Tensor, UpdateRule]],
    rowwise: bool,
    engine: EngineConfig,
) -> torch.optim.Optimizer | None:
    """An optimizer of the parameters that are updated rowwise, or of the others; None for none."""
    groups = [
        {"params": [parameter], "weight_decay": rule.weight_decay}
        for parameter, rule in pairs
        if rule.rowwise is rowwise
    ]
    b0, b1 = engine.betas
    settings: dict[str, Any] = {"lr": engine.lr, "betas": (b0, b1)}
    if not rowwise:
        settings["eps"] = EPSILON
    return kind(groups, **settings) if groups else None


def _scaled_gradient(penalty: Penalty, leaf: Tensor) -> Tensor:
    """The penalty's gradient, each row's scaled to length `weight`."""
    (gradient,) = torch.autograd.grad(penalty.value(leaf).sum(), leaf)
    return penalty.weight * gradient / _lengths(gradient).clamp_min(TINY)


def _lengths(batch: Tensor) -> Tensor:
    norms: Tensor = batch.flatten(1).norm(dim=1)
    return norms.view(-1, *[1] * (batch.dim() - 1))
