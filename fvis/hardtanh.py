"""ReLU6 and other hard tanhs whose gradient needs nothing but their output.

torch keeps their input for the gradient, of those that work in place a copy of it. But the gradient
passes just where the output lies between the bounds, and the layer after it keeps that anyway. So
what is computed stays the same to the bit, and a network with many of them, such as MobileNetV2,
keeps half as much. What is changed in the network is undone when the context ends.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

KINDS = (nn.Hardtanh, nn.ReLU6)  # the very types: what derives from them may compute otherwise


@contextlib.contextmanager
def keeping_outputs(network: nn.Module) -> Iterator[None]:
    """A context in which a network's hard tanhs keep their output, not their input."""
    parts = [part for part in network.modules() if type(part) in KINDS]
    parts = [part for part in parts if "forward" not in part.__dict__]
    try:
        for part in parts:
            part.forward = _forward_of(part)
        yield
    finally:
        for part in parts:
            part.__dict__.pop("forward", None)


def _forward_of(part: Any) -> Callable[[Tensor], Tensor]:
    def forward(input: Tensor) -> Tensor:  # as torch calls it
        output: Tensor = _HardTanh.apply(input, part.min_val, part.max_val, part.inplace)
        return output

    return forward


class _HardTanh(torch.autograd.Function):
    """Values clamped to [low, high], in place or not, whose gradient is looked up in the output."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, low: float, high: float, in_place: bool) -> Tensor:
        if in_place:
            ctx.mark_dirty(values)
        output = values.clamp_(low, high) if in_place else values.clamp(low, high)
        ctx.save_for_backward(output)
        ctx.bounds = low, high
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (output,) = ctx.saved_tensors
        inner: Tensor = torch.ops.aten.hardtanh_backward(gradients[0], output, *ctx.bounds)
        return inner, None, None, None
