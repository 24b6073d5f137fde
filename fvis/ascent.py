"""The batched ascent: pictures climb their scores, each row for itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fvis.adam import TINY, Adam, Optimizer, RowwiseAdam, lengths
from fvis.optimization import AdamOptimization, cosine
from fvis.parametrizations.base import Parametrization, UpdateRule
from fvis.schema import EngineConfig

ROWWISE_FINAL = 0.02  # final share of the learning rate for rowwise parameters


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
                (_optimizer(Adam, pairs, False, engine), engine.lr_final),
                (_optimizer(RowwiseAdam, pairs, True, engine), ROWWISE_FINAL),
            )
            if optimizer is not None
        ]
        optimizers = [optimizer for optimizer, _ in self._schedules]
        super().__init__(list(picture.parameters), optimizers, engine.steps, engine.log_every)
        self._picture, self._score, self._views = picture, score, views
        self._penalties, self._lr = penalties, engine.lr

    def _advance(self) -> Tensor:
        for optimizer, _ in self._schedules:
            optimizer.zero_grad()
        rgb = self._picture.render()
        leaf = rgb.detach().requires_grad_(True)
        scores, uphill = self._uphill(leaf)
        downhill = [_scaled_gradient(penalty, leaf) for penalty in self._penalties]
        # The same gradient as rgb.backward(...), for which torch would import symbolic algebra.
        (rgb * sum(downhill, start=-uphill)).sum().backward()
        for optimizer, final in self._schedules:
            optimizer.step(self._lr * cosine(self.done, self.steps, final))
        return scores

    def _uphill(self, leaf: Tensor) -> tuple[Tensor, Tensor]:
        """The scores (B,) of pictures, and the direction (B, 3, ...) in which they rise."""
        scores = self._mean(self._score(self._views(leaf, self.done)))
        (uphill,) = torch.autograd.grad(scores.sum(), leaf)
        return scores, unit_length(uphill)

    def _mean(self, by_view: Tensor) -> Tensor:
        """The mean (B,) over each picture's views of numbers (B * views,)."""
        return by_view.view(-1, self._views.views).mean(1)


class TetheredAscent(Ascent):
    """An ascent that is held near photographs, by what the same views of both are to the network.

    At each step the gradient of the distance, scaled to length `weight`, is taken from that of the
    score, scaled to length 1.

    Args:
        distance: the distances (B * views,) of the views that were last scored.
        weight: of the distance.

    Source: Hamblin et al. 2024 (arXiv 2402.10039).
    """

    def __init__(
        self,
        picture: Parametrization,
        score: Callable[[Tensor], Tensor],
        views: Views,
        penalties: Sequence[Penalty],
        engine: EngineConfig,
        distance: Callable[[], Tensor],
        weight: float,
    ) -> None:
        super().__init__(picture, score, views, penalties, engine)
        self._distance, self._weight = distance, weight

    def _uphill(self, leaf: Tensor) -> tuple[Tensor, Tensor]:
        scores = self._mean(self._score(self._views(leaf, self.done)))
        away = self._mean(self._distance())
        (uphill,) = torch.autograd.grad(scores.sum(), leaf, retain_graph=True)
        (outwards,) = torch.autograd.grad(away.sum(), leaf)
        return scores, unit_length(uphill) - self._weight * unit_length(outwards)


def unit_length(gradient: Tensor) -> Tensor:
    """A gradient (B, ...) with each row scaled to length 1; 0 where it is not finite."""
    size = lengths(gradient)
    return torch.where(size.isfinite(), gradient / size.clamp_min(TINY), 0)


def _optimizer(
    kind: type[Optimizer],
    pairs: Sequence[tuple[Tensor, UpdateRule]],
    rowwise: bool,
    engine: EngineConfig,
) -> Optimizer | None:
    """An optimizer of the parameters that are updated rowwise, or of the others; None for none."""
    own = [(parameter, rule) for parameter, rule in pairs if rule.rowwise is rowwise]
    b0, b1 = engine.betas
    decays = [rule.weight_decay for _, rule in own]
    return kind([parameter for parameter, _ in own], decays, (b0, b1)) if own else None


def _scaled_gradient(penalty: Penalty, leaf: Tensor) -> Tensor:
    """The penalty's gradient, each row's scaled to length `weight`."""
    (gradient,) = torch.autograd.grad(penalty.value(leaf).sum(), leaf)
    return penalty.weight * gradient / lengths(gradient).clamp_min(TINY)
