"""Follows the channel axis through a forward pass, from tensor to tensor.

It is inferred from the modules' types and from where their inputs come from. Where neither is
enough, the axis stays unknown.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from fvis.models.architecture import declared_channels, timm_layers, token_width

CHANNELS_SECOND: tuple[type[nn.Module], ...] = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Upsample,
    nn.PixelShuffle,
)
CHANNELS_LAST: tuple[type[nn.Module], ...] = (nn.Linear, nn.LayerNorm, nn.Embedding)
# Norms of timm that go across the channels of maps.
ACROSS_MAPS = (
    *("LayerNorm2d", "LayerNorm2dFp32", "LayerNormAct2d", "LayerNormAct2dFp32"),
    *("RmsNorm2d", "RmsNorm2dFp32", "RmsNormAct2d", "RmsNormAct2dFp32"),
    *("SimpleNorm2d", "SimpleNorm2dFp32"),
)
LAST = ("LayerNorm", "LayerNormFp32", "LayerNormAct", "LayerNormActFp32")  # of timm: the last axis


@dataclass
class Entry:
    """What is noted of a module as it runs.

    `constant` says that it was given nothing but parameters and buffers of the network.
    """

    path: str
    module: nn.Module
    shape: tuple[int, ...] = ()
    channel_dim: int | None = None
    calls: int = 0
    outputs: tuple[int | str, ...] = ()
    constant: bool = False


class AxisTracker:
    """Notes each module's output in `entries`, by path, in the order of the forward pass.

    `made` has the channel axis of each tensor, by the tensor itself, and `constants` those that
    were computed from the network's own parameters and buffers. `last` has, for each container
    module, the channel axis and the shape of the last output inside it whose axis is known; `dims`
    the channel axes of all outputs of a shape.
    """

    def __init__(self, output: int | str | None, network: nn.Module) -> None:
        self.output = output
        self.width = token_width(network)
        self.declared = declared_channels(network)
        self.channels_second = (*CHANNELS_SECOND, *timm_layers(*ACROSS_MAPS))
        self.last_norms = (nn.LayerNorm, *timm_layers(*LAST))
        self.second = {
            path for path, part in network.named_modules() if isinstance(part, self.channels_second)
        }
        self.entries: dict[str, Entry] = {}
        self.made: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.constants: WeakIdKeyDictionary = WeakIdKeyDictionary()
        for tensor in (*network.parameters(), *network.buffers()):
            self.constants[tensor] = True
        self.last: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.dims: dict[tuple[int, ...], set[int]] = {}

    def record(
        self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Any, value: Any
    ) -> None:
        """Note a call of the module at `path`; a forward hook with keyword arguments."""
        entry = self.entries.pop(path, None) or Entry(path, module)
        self.entries[path] = entry
        entry.calls += 1
        tensor = pick(value, self.output)
        entry.outputs = tuple(parts(value))
        if tensor is None:
            return
        entry.shape, entry.channel_dim = tuple(tensor.shape), None
        given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        entry.constant = bool(given) and all(a in self.constants for a in given)
        if entry.constant:
            self.constants[tensor] = True
            return
        source = next((a for a in args if isinstance(a, Tensor)), None)
        entry.channel_dim = dim = self._channel_dim(path, module, source, tensor)
        if dim is not None:
            self._mark(tensor, dim)
            self.dims.setdefault(entry.shape, set()).add(dim)
            self.last |= dict.fromkeys(_ancestors(path), (dim, entry.shape))

    def _channel_dim(
        self, path: str, module: nn.Module, source: Tensor | None, tensor: Tensor
    ) -> int | None:
        if tensor.dim() < 2:
            return None
        if tensor.dim() == 2:
            return 1
        if (declared := self._declared_dim(path, tensor)) is not None:
            return declared
        if isinstance(module, self.channels_second):
            return 1
        if any(parent in self.second for parent in _ancestors(path)):
            return 1  # inside timm's layers that join normalization and activation
        known = None if source is None else self._known(source)
        if isinstance(module, nn.LayerNorm) and type(module) not in self.last_norms:
            return _normalized(module, known, tensor)
        if isinstance(module, CHANNELS_LAST):
            return _mixed(module, known, source) or tensor.dim() - 1
        if (own := self._known(tensor)) is not None:
            return own
        if path in self.last:
            inherited = _inherited(*self.last[path], tensor)
            return self._alike(tuple(tensor.shape)) if inherited is None else inherited
        if source is not None and known is not None:
            inherited = _inherited(known, tuple(source.shape), tensor)
            if inherited is not None:
                return inherited
        if tensor.dim() == 3 and self.width is not None:
            return _inherited(2, (0, 0, self.width), tensor)
        return self._alike(tuple(tensor.shape))

    def _alike(self, shape: tuple[int, ...]) -> int | None:
        """The channel axis of all earlier outputs of a shape: a sum has that of its branches.

        None if they differ, or if another axis is as long and other outputs have channels there.
        """
        dims = self.dims.get(shape, set())
        if len(dims) != 1:
            return None
        (dim,) = dims
        others = (found for known, found in self.dims.items() if len(known) == len(shape))
        return dim if shape.count(shape[dim]) == 1 or set().union(*others) == dims else None

    def _declared_dim(self, path: str, tensor: Tensor) -> int | None:
        """The axis whose length is the layer's declared channel count; None if not exactly one."""
        channels = self.declared.get(path)
        axes = [i for i, size in enumerate(tensor.shape) if i > 0 and size == channels]
        return axes[0] if len(axes) == 1 else None

    def _mark(self, tensor: Tensor, dim: int) -> None:
        """Remember the channel axis of a tensor, and of the tensor that it is a view of."""
        self.made[tensor] = dim
        base = tensor._base
        if base is not None and base not in self.made:
            found = _same_axis(tensor, dim, base)
            if found is not None:
                self.made[base] = found

    def _known(self, tensor: Tensor) -> int | None:
        """The channel axis of a tensor that a module has made, or of a view of one."""
        if tensor in self.made:
            return int(self.made[tensor])
        base = tensor._base
        if base is None or base not in self.made:
            return None
        return _same_axis(base, int(self.made[base]), tensor)


def pick(value: Any, output: int | str | None) -> Tensor | None:
    """The tensor that a module returned, or the part `output` of the tuple or dict it returned.

    Without `output`, a tuple or dict with a single part stands for that part. The result is None
    if it would not be a tensor.
    """
    if isinstance(value, Tensor):
        return value
    found = parts(value)
    if output is None and len(found) == 1:
        output = next(iter(found))
    part = found.get(output) if output is not None else None
    return part if isinstance(part, Tensor) else None


def parts(value: Any) -> dict[int | str, Any]:
    """The parts of a tuple, list, dict or dataclass by index or name; none of anything else.

    Those of a named tuple have their names.

    >>> parts([{"boxes": 1, "scores": 2}, None])
    {'0.boxes': 1, '0.scores': 2, 1: None}
    """
    if isinstance(value, tuple | list):
        value = dict(zip(getattr(value, "_fields", range(len(value))), value, strict=True))
    elif dataclasses.is_dataclass(value) and not isinstance(value, Mapping):
        value = vars(value)
    found: dict[int | str, Any] = {}
    for key, part in value.items() if isinstance(value, Mapping) else ():
        inner = parts(part)
        found |= {f"{key}.{name}": one for name, one in inner.items()} if inner else {key: part}
    return found


def _mixed(module: nn.Module, known: int | None, source: Tensor | None) -> int | None:
    """The channel axis of a linear layer that is applied along another one: a mixer's, of tokens.

    None if it is applied along the channels, as most are.
    """
    if not isinstance(module, nn.Linear) or source is None or known == source.dim() - 1:
        return None
    return known


def _normalized(norm: nn.LayerNorm, known: int | None, tensor: Tensor) -> int | None:
    """The axis that a kind of layer norm goes along, which may not be the last, as in ConvNeXt.

    It is the one axis of the norm's length; where there are several, the `known` one of its input,
    or else, of tokens, the last.
    """
    axes = [i for i, size in enumerate(tensor.shape) if i > 0 and size == norm.normalized_shape[-1]]
    if len(axes) == 1 or known in axes:
        return axes[0] if len(axes) == 1 else known
    return 2 if tensor.dim() == 3 and 2 in axes else None


def _same_axis(tensor: Tensor, dim: int, view: Tensor) -> int | None:
    """The axis of a view that is the axis `dim` of a tensor of the same memory; None if none is."""
    if not (_is_strided(tensor) and _is_strided(view)):
        return None
    wanted = (tensor.shape[dim], tensor.stride(dim))
    axes = zip(view.shape, view.stride(), strict=True)
    found = [i for i, axis in enumerate(axes) if i > 0 and axis == wanted]
    return found[0] if len(found) == 1 else None


def _is_strided(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided


def _inherited(dim: int, shape: tuple[int, ...], tensor: Tensor) -> int | None:
    """The channel axis of a container's output `tensor`; None if it cannot be inferred.

    `dim` and `shape` are the channel axis and the shape of the last output inside the container
    whose axis is known. If the shapes differ along that axis only, the container has concatenated
    channels, and the axis stays the same. Otherwise it is the one axis of that length: where there
    are two, axes may have changed places.
    """
    dims, channels = len(shape), shape[dim]
    if dims == tensor.dim() and _without(dim, shape) == _without(dim, tensor.shape):
        return dim
    candidates = [i for i, size in enumerate(tensor.shape) if i > 0 and size == channels]
    return candidates[0] if len(candidates) == 1 else None


def _without(dim: int, shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[:dim], *shape[dim + 1 :])


def _ancestors(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition(".")[0]
        yield path
