"""The layers of a network, found in one forward pass: their output shapes, axes and units.

Which axis holds the channels is inferred from the modules' types, and by following tensors from
module to module. Where neither is enough, the axes stay unknown. Reading the values of units is
left to `objectives/positions.py`.
"""

import dataclasses
import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from fvis.errors import RequestError, described, exits_are_errors
from fvis.models.architecture import declared_channels, prefix_tokens, timm_layers, token_width
from fvis.models.base import Model

LOGITS = "logits"
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


@dataclass(frozen=True)
class Layer:
    """One module's output for a batch of one.

    Attributes:
        path: the module's dotted path; `logits` for the network's own output.
        kind: the name of the module's class.
        shape: the output's shape; empty if the module returns no single tensor.
        axes: one letter per axis: B batch, C channels, T, H, W positions, N tokens, K the units of
            an output (B, K) without positions, ? an axis that is unknown.
        prefix: how many prefix tokens precede the patch tokens.
        calls: how often one forward pass runs the module. Its last output is described.
        outputs: the indices or keys of a tuple or dict from which `target.output` chooses.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    axes: str
    prefix: int
    calls: int
    outputs: tuple[int | str, ...] = ()

    @property
    def channel_dim(self) -> int | None:
        """The index of the axis that holds the units; None if it is unknown."""
        found = [i for i, axis in enumerate(self.axes) if axis in "CK"]
        return found[0] if found else None

    @property
    def units(self) -> int | None:
        """The number of units; None if the channel axis is unknown."""
        return None if self.channel_dim is None else self.shape[self.channel_dim]


def survey(
    model: Model, output: int | str | None = None, wanted: Collection[str] = ()
) -> dict[str, Layer]:
    """All layers of `model` by path, in the order of its forward pass, with `logits` last.

    Runs the network once on a mid-grey input. Where a layer returns a tuple or dict, `output` is
    the index or key of the part to read. Raises `RequestError` if the network fails on the input,
    unless all `wanted` layers have run before: a network may be read at a size that only its later
    layers do not take.
    """
    recorder = _Recorder(output, model.module)
    handles = [
        module.register_forward_hook(functools.partial(recorder.record, path), with_kwargs=True)
        for path, module in model.module.named_modules()
    ]
    try:
        run_once(model)
    except RequestError:
        if not wanted or not recorder.entries.keys() >= set(wanted):
            raise
    finally:
        for handle in handles:
            handle.remove()
    tokens = prefix_tokens(model.module)
    grids = {
        math.prod(entry.shape[2:]) for entry in recorder.entries.values() if entry.channel_dim == 1
    }
    layers = {path: _layer(entry, model, tokens, grids) for path, entry in recorder.entries.items()}
    root = layers.pop("", None)
    if root is not None:
        layers[LOGITS] = root
    return layers


def run_once(model: Model) -> None:
    """Run one forward pass on a mid-grey input in eval mode, for hooks to observe.

    Raises `RequestError` if the network fails on the input.
    """
    grey = torch.full((1, *model.preprocessing.shape), 0.5, device=model.device)
    training = [module for module in model.module.modules() if module.training]
    model.module.eval()
    try:
        with torch.no_grad(), exits_are_errors("the network"):
            model.module(model.preprocessing.normalise(grey))
    except Exception as error:
        size = "x".join(map(str, model.preprocessing.shape))
        raise RequestError(
            f"{model.name} does not take an input of {size}: {described(error)}"
        ) from error
    finally:
        for module in training:
            module.training = True


def pick(value: Any, output: int | str | None) -> Tensor | None:
    """The tensor that a module returned, or the part `output` of the tuple or dict it returned.

    Without `output`, a tuple or dict with a single part stands for that part. The result is None
    if it would not be a tensor.
    """
    if isinstance(value, Tensor):
        return value
    parts = _parts(value)
    if output is None and len(parts) == 1:
        output = next(iter(parts))
    part = parts.get(output) if output is not None else None
    return part if isinstance(part, Tensor) else None


def _parts(value: Any) -> Mapping[int | str, Any]:
    if isinstance(value, Mapping):
        return value
    return dict(enumerate(value)) if isinstance(value, tuple | list) else {}


@dataclass
class _Entry:
    path: str
    module: nn.Module
    shape: tuple[int, ...] = ()
    channel_dim: int | None = None
    calls: int = 0
    outputs: tuple[int | str, ...] = ()


class _Recorder:
    """Follows the channel axis through a forward pass, from tensor to tensor.

    `made` has the channel axis of each tensor, by the tensor itself. `last` has, for each container
    module, the channel axis and the shape of the last output inside it whose axis is known.
    """

    def __init__(self, output: int | str | None, network: nn.Module) -> None:
        self.output = output
        self.width = token_width(network)
        self.declared = declared_channels(network)
        self.channels_second = (*CHANNELS_SECOND, *timm_layers("LayerNorm2d", "RmsNorm2d"))
        self.second = {
            path for path, part in network.named_modules() if isinstance(part, self.channels_second)
        }
        self.entries: dict[str, _Entry] = {}
        self.made: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.last: dict[str, tuple[int, tuple[int, ...]]] = {}

    def record(
        self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Any, value: Any
    ) -> None:
        entry = self.entries.pop(path, None) or _Entry(path, module)
        self.entries[path] = entry
        entry.calls += 1
        tensor = pick(value, self.output)
        entry.outputs = tuple(_parts(value))
        if tensor is None:
            return
        entry.shape = tuple(tensor.shape)
        source = next((a for a in args if isinstance(a, Tensor)), None)
        entry.channel_dim = self._channel_dim(path, module, source, tensor)
        dim = entry.channel_dim
        if dim is not None:
            self.made[tensor] = dim
        if dim is not None:
            self.last |= dict.fromkeys(_ancestors(path), (dim, entry.shape))

    def _channel_dim(
        self, path: str, module: nn.Module, source: Tensor | None, tensor: Tensor
    ) -> int | None:
        if tensor.dim() < 2 or tensor.shape[0] != 1:
            return None
        if tensor.dim() == 2:
            return 1
        if (declared := self._declared_dim(path, tensor)) is not None:
            return declared
        if isinstance(module, self.channels_second):
            return 1
        if any(parent in self.second for parent in _ancestors(path)):
            return 1  # inside timm's layers that join normalization and activation
        if isinstance(module, CHANNELS_LAST):
            return tensor.dim() - 1
        if tensor in self.made:
            return int(self.made[tensor])
        if path in self.last:
            return _inherited(*self.last[path], tensor)
        if source is not None and source in self.made:
            inherited = _inherited(int(self.made[source]), tuple(source.shape), tensor)
            if inherited is not None:
                return inherited
        if tensor.dim() == 3 and self.width is not None:
            return _inherited(2, (0, 0, self.width), tensor)
        return None

    def _declared_dim(self, path: str, tensor: Tensor) -> int | None:
        """The axis whose length is the layer's declared channel count; None if not exactly one."""
        channels = self.declared.get(path)
        axes = [i for i, size in enumerate(tensor.shape) if i > 0 and size == channels]
        return axes[0] if len(axes) == 1 else None


def _inherited(dim: int, shape: tuple[int, ...], tensor: Tensor) -> int | None:
    """The channel axis of a container's output `tensor`; None if it cannot be inferred.

    `dim` and `shape` are the channel axis and the shape of the last output inside the container
    whose axis is known. If the shapes differ along that axis only, the container has concatenated
    channels, and the axis stays the same.
    """
    dims, channels = len(shape), shape[dim]
    if dims == tensor.dim() and _without(dim, shape) == _without(dim, tensor.shape):
        return dim
    candidates = [i for i, size in enumerate(tensor.shape) if i > 0 and size == channels]
    if dims == tensor.dim() and dim in candidates:
        return dim
    if dim == dims - 1 and tensor.dim() - 1 in candidates:
        return tensor.dim() - 1
    return candidates[0] if len(candidates) == 1 else None


def _without(dim: int, shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[:dim], *shape[dim + 1 :])


def _ancestors(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition(".")[0]
        yield path


def _layer(entry: _Entry, model: Model, tokens: int, grids: Set[int]) -> Layer:
    axes = name_axes(entry.shape, entry.channel_dim, model.preprocessing.frames is not None)
    prefix = 0
    if "N" in axes:
        count = entry.shape[axes.index("N")]
        # As many tokens as a feature map has positions: prefix tokens are not yet joined to them.
        joined = count > tokens and count not in grids
        prefix = tokens if joined else 0
    kind = type(entry.module).__name__
    return Layer(entry.path or LOGITS, kind, entry.shape, axes, prefix, entry.calls, entry.outputs)


def name_axes(shape: tuple[int, ...], channel_dim: int | None, video: bool) -> str:
    """The letters of a shape's axes: B first, C at `channel_dim`, and the positions in order.

    An output (B, K) without positions has the axes BK. Axes that are unknown become ?: all but B
    without a `channel_dim`, and the two positions of a 4-axis output in a network of clips.

    >>> name_axes((1, 64, 56, 56), 1, False), name_axes((1, 197, 192), 2, False)
    ('BCHW', 'BNC')
    """
    if channel_dim is None:
        return "B" + "?" * (len(shape) - 1) if shape else ""
    if len(shape) == 2:
        return "BK"
    positions = {1: "N", 2: "HW", 3: "THW"}.get(len(shape) - 2, "?" * (len(shape) - 2))
    if video and len(shape) == 4:
        positions = "??"
    letters = iter(positions)
    return "".join(
        "B" if i == 0 else "C" if i == channel_dim else next(letters) for i in range(len(shape))
    )


def with_channel_dim(layer: Layer, dim: int, video: bool) -> Layer:
    """`layer` with the channel axis that the user gives; negative ones count from the end.

    Raises `RequestError` for an axis that the layer does not have, and for the batch axis.
    """
    dims = len(layer.shape)
    if not -dims <= dim < dims or dim % dims == 0:
        raise RequestError(f"target.channel_dim is {dim}; {layer.path} has axes 1 to {dims - 1}")
    axes = name_axes(layer.shape, dim % dims, video)
    return Layer(**{**layer.__dict__, "axes": axes})


def with_prefix(layer: Layer, count: int) -> Layer:
    """`layer` with so many tokens that stand for no position.

    Raises `RequestError` for a layer without tokens, and where no other token would be left.
    """
    if "N" not in layer.axes:
        raise RequestError(f"target.prefix_tokens is given; {layer.path} has no tokens")
    tokens = layer.shape[layer.axes.index("N")]
    if count >= tokens:
        raise RequestError(f"target.prefix_tokens is {count}; {layer.path} has {tokens} tokens")
    return dataclasses.replace(layer, prefix=count)
