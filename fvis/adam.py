"""Adam for the ascent (Kingma & Ba 2015): torch's fused AdamW where it can be; and a rowwise one.

torch's own optimizers import its compiler before their first step, which takes longer than a short
run; and no library has the rowwise form.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

TINY = 1e-30  # keeps 0/0 of a row without gradient at 0
ONE_PASS = ("cpu", "cuda")  # kinds of device that have torch's fused AdamW
EPSILON = 1e-15  # rows' gradients have length 1, so it need not hold small ones down


class Rates(NamedTuple):
    """What differs between steps: numbers, or tensors () in double precision on the device.

    With either torch computes the same, since a tensor without axes takes the others' type.

    Attributes:
        number: of the step, from 1 on.
        lr: the learning rate.
        first: the sum of the weights that gradients have in the running mean so far.
        second: that of the gradients' squares.
    """

    number: float | Tensor
    lr: float | Tensor
    first: float | Tensor
    second: float | Tensor


@dataclass
class _Moments:
    """The running means of a parameter's gradient and of its square."""

    first: Tensor
    second: Tensor


class Optimizer(ABC):
    """Moves parameters against their gradients by about `lr` a step.

    The decay of weights is decoupled from the gradient (Loshchilov & Hutter 2019).

    Args:
        parameters: leaf tensors; their first axis is the batch.
        decays: the weight decay of each, a number or a tensor that broadcasts with it.
        betas: the decay rates of the running means.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        decays: Sequence[float | Tensor],
        betas: tuple[float, float],
    ) -> None:
        self._parameters, self._decays, self._betas = parameters, decays, betas
        self._moments = [
            _Moments(torch.zeros_like(p), torch.zeros_like(self._squared(p))) for p in parameters
        ]

    def zero_grad(self) -> None:
        """Forget the parameters' gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def rates(self, lr: float, number: int) -> Rates:
        """The rates of a step, by the learning rate and its number, from 1 on."""
        b0, b1 = self._betas
        return Rates(number, lr, 1 - b0**number, 1 - b1**number)

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """Move every parameter against its gradient."""
        for parameter, decay, moments in zip(
            self._parameters, self._decays, self._moments, strict=True
        ):
            gradient = parameter.grad
            assert gradient is not None, "every parameter affects the picture"
            if isinstance(decay, Tensor) or decay:
                parameter.mul_(1 - rates.lr * decay)
            self._move(parameter, gradient, moments, rates)

    def state_dict(self) -> dict[str, Any]:
        """What the steps to come depend on, besides the parameters."""
        moments = [[each.first, each.second] for each in self._moments]
        return {"moments": moments}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of an optimizer of the same parameters."""
        for moments, (first, second) in zip(self._moments, state["moments"], strict=True):
            moments.first.copy_(first)
            moments.second.copy_(second)

    @abstractmethod
    def _squared(self, gradient: Tensor) -> Tensor:
        """What the second moment is the mean of."""

    @abstractmethod
    def _move(self, parameter: Tensor, gradient: Tensor, moments: _Moments, rates: Rates) -> None:
        """Update the moments, and move one parameter."""


class Adam(Optimizer):
    """One second moment per number."""

    def _squared(self, gradient: Tensor) -> Tensor:
        return gradient.square()

    def _move(self, parameter: Tensor, gradient: Tensor, moments: _Moments, rates: Rates) -> None:
        b0, b1 = self._betas
        # What torch.optim.AdamW(fused=True) calls: one pass over numbers in the order in which they
        # lie in memory, which has to be the same for all four tensors.
        alike = parameter.stride() == gradient.stride() == moments.first.stride()
        if parameter.device.type in ONE_PASS and alike:
            # A tensor, whichever `rates` has. Of double precision CUDA would read the wrong bytes.
            number = (parameter.new_ones(()) * rates.number).float()
            lr = rates.lr.float() if isinstance(rates.lr, Tensor) and rates.lr.is_cuda else rates.lr
            torch._fused_adamw_(
                [parameter], [gradient], [moments.first], [moments.second], [], [number],
                lr=lr, beta1=b0, beta2=b1, weight_decay=0.0, eps=EPSILON,
                amsgrad=False, maximize=False,
            )  # fmt: skip
            return
        moments.first.lerp_(gradient, 1 - b0)
        moments.second.mul_(b1).addcmul_(gradient, gradient, value=1 - b1)
        spread = (moments.second.sqrt() / rates.second**0.5).add_(EPSILON)
        parameter.add_((moments.first * (-rates.lr / rates.first)).div_(spread))


class RowwiseAdam(Optimizer):
    """One second moment per batch row: updates follow the direction of the row's gradient."""

    def _squared(self, gradient: Tensor) -> Tensor:
        return lengths(gradient).square()

    def _move(self, parameter: Tensor, gradient: Tensor, moments: _Moments, rates: Rates) -> None:
        moments.first.lerp_(gradient, 1 - self._betas[0])
        moments.second.lerp_(self._squared(gradient), 1 - self._betas[1])
        first, second = moments.first / rates.first, moments.second / rates.second
        parameter.sub_(rates.lr * first / second.sqrt().clamp_min(TINY))


def unit_length(gradient: Tensor) -> Tensor:
    """A gradient (B, ...) with each row scaled to length 1; 0 where it is not finite.

    Its largest number is brought near 1 first: the squares of small ones would be 0 in float32, as
    those of a probability's gradient may be. A power of two does so without rounding.
    """
    largest = gradient.flatten(1).abs().amax(1).view(-1, *[1] * (gradient.dim() - 1))
    scaled = gradient * torch.exp2(-largest.clamp_min(TINY).log2().floor())
    size = lengths(scaled)
    share = torch.where(size.isfinite(), size.clamp_min(TINY).reciprocal(), 0)
    return (share * scaled).nan_to_num_(0, 0, 0)


def lengths(batch: Tensor) -> Tensor:
    """The length of each row of a batch (B, ...), as (B, 1, ...)."""
    norms: Tensor = batch.flatten(1).norm(dim=1)
    return norms.view(-1, *[1] * (batch.dim() - 1))
