"""What an attack wants of a network's values: its objectives, and by how much they are reached."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Aim:
    """The class or unit that a picture shall be taken for; with `away`, that it no longer shall."""

    index: int
    away: bool = False


@dataclass(frozen=True)
class Aims:
    """What one network shall take each picture of a batch for.

    Row b shall be taken for class `classes[b]` where `signs[b]` is 1, and for any other class where
    it is -1. Both are (B,). Values are (B, C).
    """

    classes: Tensor
    signs: Tensor

    @classmethod
    def of(cls, aims: Sequence[Aim | None], device: torch.device) -> "Aims":
        """The batch of some aims; a row without one has class 0."""
        classes = [aim.index if aim else 0 for aim in aims]
        signs = [-1.0 if aim and aim.away else 1.0 for aim in aims]
        return cls(torch.tensor(classes, device=device), torch.tensor(signs, device=device))

    def own(self, values: Tensor) -> Tensor:
        """The values (B,) of the rows' own classes.

        >>> Aims.of([Aim(1)], torch.device("cpu")).own(torch.tensor([[1.0, 3.0, 2.0]]))
        tensor([3.])
        """
        return values.gather(1, self.classes[:, None])[:, 0]

    def margin(self, values: Tensor) -> Tensor:
        """By how much (B,) a row's class exceeds the greatest other value, or falls short of it.

        >>> values = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
        >>> Aims.of([Aim(1), Aim(1, away=True)], torch.device("cpu")).margin(values)
        tensor([ 1., -1.])
        """
        return self.signs * (self.own(values) - self._others(values).amax(1))

    def lead(self, values: Tensor, confidence: float, probability: float) -> Tensor:
        """By how much (B,) each row is ahead of what is asked for.

        Its margin is to reach `confidence`, and the probability of its class (of all others
        together) `probability`, here in logits: the lesser of both leads counts. Below zero, one of
        them is not reached.
        """
        ahead = self.margin(values) - confidence
        if probability <= 0:
            return ahead
        odds = self.signs * (self.own(values) - self._others(values).logsumexp(1))
        return torch.minimum(ahead, odds - math.log(probability / (1 - probability)))

    def objective(self, name: str, values: Tensor) -> Tensor:
        """What is maximized (B,), by the name that `method.objective` gives it."""
        if name == "margin":
            return self.margin(values)
        return self.signs * self.own(values.log_softmax(1) if name == "cross_entropy" else values)

    def _others(self, values: Tensor) -> Tensor:
        return values.scatter(1, self.classes[:, None], -torch.inf)
