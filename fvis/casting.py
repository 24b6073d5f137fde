"""Weights cast once to the type in which a frozen network computes, instead of at every step.

Autocast casts the weights of convolutions and linear layers whenever it uses them, and keeps the
cast only of weights that are trained. Cast beforehand, they give the same to the bit. Which weights
these are is found by following a forward pass, not by names. What is changed in the network is
undone when the context ends.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from fvis.folding import CONVOLUTIONS

CASTING = (
    *CONVOLUTIONS,
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
    functional.linear,
)  # functions whose tensors autocast casts
Place = tuple[nn.Module, str]  # a module, and the name of a parameter of its own


class _Uses(TorchFunctionMode):
    """Notes which tensors autocast casts to a type, and which are used in any other way."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self.cast: set[int] = set()
        self.others: set[int] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given = [*args, *(kwargs or {}).values()]
        tensors = [value for value in given if isinstance(value, Tensor)]
        for several in (value for value in given if isinstance(value, list | tuple)):
            tensors += [value for value in several if isinstance(value, Tensor)]
        kind = tensors[0].device.type if tensors else "cpu"
        casts = func in CASTING and torch.is_autocast_enabled(kind)
        casts = casts and torch.get_autocast_dtype(kind) == self._dtype
        (self.cast if casts else self.others).update(map(id, tensors))
        return func(*args, **(kwargs or {}))


def castable(module: nn.Module, run: Callable[[], object], dtype: torch.dtype) -> list[Place]:
    """The parameters of `module` that autocast casts to `dtype` whenever `run` makes a pass.

    Those that anything else uses, if only to ask for their type, are left out.
    """
    with torch.no_grad(), _Uses(dtype) as uses:
        run()
    found = uses.cast - uses.others
    return [
        (part, name)
        for part in module.modules()
        for name, parameter in part._parameters.items()
        if parameter is not None and id(parameter) in found and parameter.dtype == torch.float32
    ]


@contextlib.contextmanager
def cast(places: Sequence[Place], dtype: torch.dtype) -> Iterator[None]:
    """A context in which the parameters at `places` are of another type."""
    before = [(part, name, part._parameters[name]) for part, name in places]
    try:
        for part, name, parameter in before:
            if parameter is not None:
                part._parameters[name] = nn.Parameter(parameter.to(dtype), requires_grad=False)
        yield
    finally:
        for part, name, parameter in before:
            part._parameters[name] = parameter
