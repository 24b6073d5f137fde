"""The batched ascent: pictures climb their scores, each row for itself."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from fvis import regularizers
from fvis.adam import Adam, Optimizer, Rates, RowwiseAdam, unit_length
from fvis.graph import Graphs, Replay, graphs_of
from fvis.optimization import AdamOptimization, cosine
from fvis.parametrizations.base import Parametrization, UpdateRule
from fvis.schema import AscentConfig, EngineConfig

ROWWISE_FINAL = 0.02  # final share of the learning rate for rowwise parameters


class Views(Protocol):
    """Makes `views` random views of each picture at a step."""

    views: int

    def __call__(self, rgb: Tensor, step: int) -> Tensor:
        """Views (B * views, 3, ...) of pictures (B, 3, ...)."""
        ...


@runtime_checkable
class CountedViews(Views, Protocol):
    """Views whose draws lie on the device, where a counter finds them."""

    def phase(self, step: int) -> int:
        """Views of one phase differ in their draws alone."""
        ...

    def follow(self, counter: Tensor) -> None:
        """Look draws up by `counter` (1,) from now on; of `step` only the phase still counts."""
        ...


class Pull(Protocol):
    """What moves pictures besides their scores: a regularizer, or a prior."""

    def gradient(self, rgb: Tensor, step: int) -> Tensor:
        """What pictures (B, 3, ...) are moved against at a step, each row for itself.

        Lengths are relative to the score's gradient, which has length 1 in each row. `rgb`
        requires gradients.
        """
        ...


@dataclass(frozen=True)
class Penalty:
    """A regularizer: `value` maps pictures (B, 3, ...) to one penalty per row (B,).

    `weight` is the length of its gradient relative to that of the score's gradient. One that
    `yields` has a value of 1 at most, pulls in proportion to it, and lowers no score: of its
    gradient only what does not oppose the score's counts.
    """

    weight: float
    value: Callable[[Tensor], Tensor]
    yields: bool = False

    def gradient(self, rgb: Tensor, step: int) -> Tensor:
        """The penalty's gradient, each row's scaled to length `weight`."""
        value = self.value(rgb)
        (gradient,) = torch.autograd.grad(value.sum(), rgb)
        pull = self.weight * unit_length(gradient)
        if self.yields:
            pull = pull * value.detach().clamp(0, 1).view(-1, *[1] * (rgb.dim() - 1))
        return pull


def penalties_of(settings: AscentConfig) -> list[Penalty]:
    """A config's regularizers."""
    weights = dataclasses.asdict(settings.regularizers)
    return [
        Penalty(weight, getattr(regularizers, name)) for name, weight in weights.items() if weight
    ]


def _downhill(pull: Pull, leaf: Tensor, step: int, uphill: Tensor) -> Tensor:
    """What a pull moves pictures against, where scores rise along `uphill`, of length 1 per row."""
    gradient = pull.gradient(leaf, step)
    if not (isinstance(pull, Penalty) and pull.yields):
        return gradient
    opposing = (gradient * uphill).flatten(1).sum(1).clamp_min(0)
    return gradient - opposing.view(-1, *[1] * (leaf.dim() - 1)) * uphill


class Ascent(AdamOptimization):
    """Moves a picture's parameters up the scores of its views, for `engine.steps` Adam steps.

    At each step, every row's score gradient with respect to its picture is scaled to length 1, and
    each penalty's gradient to its `weight`. So one setting means the same on every network and for
    every view. A gradient that is not finite moves nothing. The learning rate falls from
    `engine.lr` to `engine.lr_final` of it along a cosine (to `ROWWISE_FINAL` of it for rowwise
    parameters). No step waits for the device. On CUDA steps are replayed as `engine.graph` asks,
    where all pulls are penalties and the pictures themselves climb.

    Args:
        picture: the parametrization of B pictures.
        score: maps views (B * views, 3, ...) to scores (B * views,), each from its view alone.
        views: the random views that are scored.
        pulls: regularizers of the pictures themselves, and what a prior adds to them.
        engine: steps, learning rate, Adam's betas, and how often scores are logged.

    Source: Erhan et al. 2009; gradient normalization as in Mordvintsev et al. 2015 (DeepDream).
    """

    def __init__(
        self,
        picture: Parametrization,
        score: Callable[[Tensor], Tensor],
        views: Views,
        pulls: Sequence[Pull],
        engine: EngineConfig,
    ) -> None:
        rules = picture.update_rules or (UpdateRule(),) * len(picture.parameters)
        pairs = list(zip(picture.parameters, rules, strict=True))
        self._lr = engine.lr
        self._schedules = [
            (optimizer, self._rates(optimizer, engine.steps, final))
            for optimizer, final in (
                (_optimizer(Adam, pairs, False, engine), engine.lr_final),
                (_optimizer(RowwiseAdam, pairs, True, engine), ROWWISE_FINAL),
            )
            if optimizer is not None
        ]
        optimizers = [optimizer for optimizer, _ in self._schedules]
        super().__init__(list(picture.parameters), optimizers, engine.steps, engine.log_every)
        self._picture, self._score, self._views = picture, score, views
        self._pulls = pulls
        self._step: Callable[[int], Tensor] = self._plain_step
        graphs = graphs_of(engine.graph, self._device)
        if graphs is not None and self.is_counted:
            self.replay(graphs, required=engine.graph is True)

    @property
    def is_counted(self) -> bool:
        """Whether all that differs between steps can be looked up by a counter on the device."""
        views, picture = isinstance(self._views, CountedViews), self._picture.render_at is None
        return views and picture and all(isinstance(pull, Penalty) for pull in self._pulls)

    def replay(self, graphs: Graphs, *, required: bool = False) -> None:
        """Make the steps by replaying them, as `Replay` does; only where `is_counted`."""
        assert isinstance(self._views, CountedViews)
        counter = torch.zeros(1, dtype=torch.long, device=self._device)
        self._views.follow(counter)
        self._schedules = [
            (optimizer, _looked_up(rates, self.steps, counter))
            for optimizer, rates in self._schedules
        ]
        moments = [each.state_dict()["moments"] for each in self._optimizers]
        state = [*self._parameters, *(t for each in moments for pair in each for t in pair)]
        phase = self._views.phase
        self._step = Replay(self._plain_step, phase, state, counter, graphs, required=required)

    def _advance(self) -> Tensor:
        return self._step(self.done)

    def _plain_step(self, step: int) -> Tensor:
        """Make a step by itself; returns the scores (B,) before it."""
        for optimizer, _ in self._schedules:
            optimizer.zero_grad()
        rgb = self._picture.climbing(step)
        leaf = rgb.detach().requires_grad_(True)
        scores, uphill = self._uphill(leaf, step)
        downhill = [_downhill(pull, leaf, step, uphill) for pull in self._pulls]
        _Passing.apply(rgb, sum(downhill, start=-uphill)).backward()
        for optimizer, rates in self._schedules:
            optimizer.step(rates(step))
        return scores.detach()

    def _uphill(self, leaf: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The scores (B,) of pictures, and the direction (B, 3, ...) in which they rise."""
        return climbing(self._score, self._views, leaf, step)

    def _rates(self, optimizer: Optimizer, steps: int, final: float) -> Callable[[int], Rates]:
        """The rates of each step, of which the learning rate falls to `final` of it."""
        return lambda step: optimizer.rates(self._lr * cosine(step, steps, final), step + 1)


class TetheredAscent(Ascent):
    """An ascent that is held near photographs, by what views are to the network on its way.

    At each step the gradient of the distance, scaled to length `weight`, is taken from that of the
    score, scaled to length 1. Where the distance is below `fade` it is in proportion shorter.

    Args:
        distance: the distances (B * views,) of the views that were last scored.
        weight: of the distance.
        fade: the distance below which the pull fades, to nothing at 0; 0 for one that never does.

    Source: Hamblin et al. 2024 (arXiv 2402.10039).
    """

    def __init__(
        self,
        picture: Parametrization,
        score: Callable[[Tensor], Tensor],
        views: Views,
        pulls: Sequence[Pull],
        engine: EngineConfig,
        distance: Callable[[], Tensor],
        weight: float,
        fade: float = 0.0,
    ) -> None:
        super().__init__(picture, score, views, pulls, engine)
        self._distance, self._weight, self._fade = distance, weight, fade

    def _uphill(self, leaf: Tensor, step: int) -> tuple[Tensor, Tensor]:
        scores = _mean(self._score(self._views(leaf, step)), self._views)
        away = _mean(self._distance(), self._views)
        (uphill,) = torch.autograd.grad(scores.sum(), leaf, retain_graph=True)
        (outwards,) = torch.autograd.grad(away.sum(), leaf)
        pull = self._weight * unit_length(outwards)
        if self._fade:
            share = (away.detach() / self._fade).clamp(max=1).nan_to_num(0)
            pull = share.view(-1, *[1] * (leaf.dim() - 1)) * pull
        return scores, unit_length(uphill) - pull


class _Passing(torch.autograd.Function):
    """A zero to call `backward` on: the tensor then receives the given gradient.

    The same as `tensor.backward(gradient)`, for which torch would import symbolic algebra.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return tensor.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient, None


def climbing(
    score: Callable[[Tensor], Tensor], views: Views, rgb: Tensor, step: int
) -> tuple[Tensor, Tensor]:
    """The scores (B,) of pictures (B, 3, ...), means over their views, and the way up for them.

    The way up (B, 3, ...) is the gradient, each row's scaled to length 1, and 0 in rows where it is
    not finite. `rgb` is a leaf that requires gradients.
    """
    scores = _mean(score(views(rgb, step)), views)
    (gradient,) = torch.autograd.grad(scores.sum(), rgb)
    return scores, unit_length(gradient)


def _mean(by_view: Tensor, views: Views) -> Tensor:
    """The mean (B,) over each picture's views of numbers (B * views,)."""
    return by_view.view(-1, views.views).mean(1)


def _looked_up(
    rates: Callable[[int], Rates], steps: int, counter: Tensor
) -> Callable[[int], Rates]:
    """The same rates from a table on the device, of the step that the counter holds."""
    table = torch.tensor([rates(step) for step in range(steps)], dtype=torch.float64)
    table = table.to(counter.device)
    return lambda step: Rates(*table.index_select(0, counter)[0].unbind())


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
