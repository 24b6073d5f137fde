"""Batch norm folded into the convolutions before it: the same function of the input, for less.

Which norm follows which convolution is found by following tensors through a forward pass, not by
names. What is changed in the network is undone when the context ends.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from fvis.models.architecture import timm_layers

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
WITH_ACTIVATION = "BatchNormAct2d"  # of timm: norm, dropout and activation in one module


@dataclass(frozen=True)
class Pair:
    """A convolution, and the batch norm that alone uses its output."""

    conv: nn.Module
    norm: nn.Module


@dataclass
class _Uses(TorchFunctionMode):
    """Notes what convolutions and batch norms do, and how often each tensor is used.

    `running` holds the convolutions and norms whose own `forward` is at work, the innermost last.
    Only what is computed there can be folded: a network may also take their weights and compute
    elsewhere. The tensors are kept, so that no other gets the identity of one.
    """

    running: list[nn.Module] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    made_by: dict[int, nn.Module] = field(default_factory=dict)
    norms: list[tuple[Tensor, nn.Module]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not any(True for _ in _tensors([result])):  # it asks for a shape, say
            return result
        for tensor in _tensors([args, list((kwargs or {}).values())]):
            self.counts[id(tensor)] = self.counts.get(id(tensor), 0) + 1
        self.kept += [args, kwargs, result]
        if len(args) < 2 or args[1] is None or not self.running:
            return result
        part = self.running[-1]
        if func in CONVOLUTIONS and args[1] is part.weight:
            self.made_by[id(result)] = part
        elif func is functional.batch_norm and args[1] is getattr(part, "running_mean", None):
            self.norms.append((args[0], part))
        return result


def foldable(module: nn.Module, run: Callable[[], Sequence[Tensor]]) -> list[Pair]:
    """The pairs of `module` that can be folded without changing what `run` returns.

    `run` makes a forward pass and returns the tensors that are read of it. A convolution is left
    alone whose output or weight is used twice or is read, or whose weight is not its parameter, as
    with weight standardization; so is a norm that is not a plain one, or has hooks.
    """
    kinds = (*NORMS, *timm_layers(WITH_ACTIVATION))
    parts = [
        part
        for part in module.modules()
        if isinstance(part, nn.modules.conv._ConvNd)
        or (type(part) in kinds and part.running_mean is not None)
    ]
    with torch.no_grad(), _Uses() as uses, _noted(parts, uses.running):
        read = {id(tensor) for tensor in run()}
    pairs = []
    for source, norm in uses.norms:
        conv = uses.made_by.get(id(source))
        if conv is None or id(source) in read:
            continue
        own = (source, conv.weight, norm.running_mean)
        once = all(uses.counts[id(tensor)] == 1 for tensor in own)
        if once and _is_plain(conv) and _is_plain(norm):
            pairs.append(Pair(conv, norm))
    return pairs


@contextlib.contextmanager
def _noted(parts: Sequence[nn.Module], running: list[nn.Module]) -> Iterator[None]:
    """A context in which `running` has the modules of `parts` whose `forward` is at work."""

    def end(*_: object) -> None:
        running.pop()

    with contextlib.ExitStack() as hooks:
        for part in parts:
            begin = part.register_forward_pre_hook(lambda part, _: running.append(part))
            hooks.callback(begin.remove)
            hooks.callback(part.register_forward_hook(end).remove)
        yield


@contextlib.contextmanager
def folded(pairs: Sequence[Pair]) -> Iterator[None]:
    """A context in which each convolution of `pairs` does its norm's work, and the norm none.

    Pairs that are folded already stay so.
    """
    pairs = [pair for pair in pairs if "forward" not in pair.norm.__dict__]
    before = [(pair.conv, dict(pair.conv._parameters)) for pair in pairs]
    try:
        for pair in pairs:
            pair.conv._parameters.update(_folded_parameters(pair))
            pair.norm.forward = _rest_of(pair.norm)
        yield
    finally:
        for conv, parameters in before:
            conv._parameters.update(parameters)
        for pair in pairs:
            pair.norm.__dict__.pop("forward", None)


def _folded_parameters(pair: Pair) -> dict[str, nn.Parameter]:
    """The convolution's weight and bias with the norm in them, computed in double precision."""
    norm: Any = pair.norm
    weight, bias = pair.conv._parameters["weight"], pair.conv._parameters["bias"]
    assert weight is not None
    scale = (_double(norm.running_var) + norm.eps).rsqrt()
    shift = (
        -_double(norm.running_mean) if bias is None else _double(bias) - _double(norm.running_mean)
    )
    scale = scale if norm.weight is None else scale * _double(norm.weight)
    shift = shift * scale if norm.bias is None else shift * scale + _double(norm.bias)
    shape = (-1, *[1] * (weight.dim() - 1))
    made = {"weight": _double(weight) * scale.view(shape), "bias": shift}
    made = {name: value.to(weight) for name, value in made.items()}  # in the weight's layout
    return {name: nn.Parameter(value, requires_grad=False) for name, value in made.items()}


def _double(tensor: Tensor) -> Tensor:
    """A tensor in double precision, on the CPU, since not every device has it."""
    return tensor.detach().cpu().double()


def _rest_of(norm: Any) -> Callable[[Tensor], Tensor]:
    """What a norm module does besides normalizing: nothing, or its activation function."""
    has_activation = isinstance(norm, timm_layers(WITH_ACTIVATION))
    return (lambda x: norm.act(norm.drop(x))) if has_activation else (lambda x: x)


def _is_plain(part: nn.Module) -> bool:
    """Whether nothing is attached to a module that would see that it computes something else."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
    return not any(hooks) and "forward" not in part.__dict__


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
