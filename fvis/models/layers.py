"""The layers of a network, found in one forward pass: their output shapes, axes and units.

Which axis holds the channels is inferred by `channel_axes`. Reading the values of units is left to
`objectives/positions.py`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fvis.errors import RequestError, described, exits_are_errors
from fvis.models.architecture import prefix_tokens
from fvis.models.base import Model, evaluating
from fvis.models.channel_axes import AxisTracker, Entry, pick
from fvis.models.token_grids import joined_tokens

LOGITS = "logits"


@dataclass(frozen=True)
class Layer:
    """One module's output for a batch of one.

    Attributes:
        path: the module's dotted path; `logits` for the network's own output.
        kind: the name of the module's class.
        shape: the output's shape; empty if the module returns no single tensor. Where the network
            folds groups (attention windows, frames) into the batch, they are the axis after it.
            A lone number (1,) is one unit, (1, 1).
        axes: one letter per axis: B batch, G groups, C channels, T, H, W positions, N tokens, K the
            units of an output (B, K) without positions, ? an axis that is unknown.
        prefix: how many prefix tokens precede the patch tokens.
        calls: how often one forward pass runs the module. Its last output is described.
        outputs: the indices or keys of a tuple or dict from which `target.output` chooses.
        constant: whether it is computed from parameters of the network alone, as a table of
            positions is.
        prefixes: of an output with three axes, the `prefix` if its axis i held the tokens.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    axes: str
    prefix: int
    calls: int
    outputs: tuple[int | str, ...] = ()
    constant: bool = False
    prefixes: tuple[int, ...] = ()

    @property
    def channel_dim(self) -> int | None:
        """The index of the axis that holds the units; None if it is unknown."""
        found = [i for i, axis in enumerate(self.axes) if axis in "CK"]
        return found[0] if found else None

    @property
    def units(self) -> int | None:
        """The number of units; None if the channel axis is unknown."""
        return None if self.channel_dim is None else self.shape[self.channel_dim]

    @property
    def groups(self) -> int | None:
        """How many groups the network folds into the batch; None where it folds none."""
        return self.shape[1] if self.axes[1:2] == "G" else None

    def unfolded(self, output: Tensor, batch: int) -> Tensor:
        """What the module returns for a batch, as `shape` has it: with an axis of groups or units.

        Groups are the axis after the batch; a single number (B,) is one unit (B, 1).
        """
        if output.dim() == 1:
            return output[:, None]
        return output if self.groups is None else output.unflatten(0, (batch, self.groups))


def survey(
    model: Model, output: int | str | None = None, wanted: Collection[str] = ()
) -> dict[str, Layer]:
    """All layers of `model` by path, in the order of its forward pass, with `logits` last.

    Runs the network once on a mid-grey input; a second time if some layers return more or less than
    one row for it. Where a layer returns a tuple or dict, `output` is the index or key of the part
    to read. Raises `RequestError` if the network fails on the input, unless all `wanted` layers
    have run before: a network may be read at a size that only its later layers do not take.
    """
    tracker = AxisTracker(output, model.module)
    try:
        with _hooked(model.module, tracker.record):
            run_once(model)
    except RequestError:
        if not wanted or not tracker.entries.keys() >= set(wanted):
            raise
    entries = tracker.entries
    tokens = prefix_tokens(model.module)
    maps = {math.prod(entry.shape[2:]) for entry in entries.values() if entry.channel_dim == 1}
    folded = _folded(model, entries, output)
    layers = {
        path: _layer(entry, model, tokens, maps, path in folded) for path, entry in entries.items()
    }
    root = layers.pop("", None)
    if root is not None:
        layers[LOGITS] = root
    return layers


@contextmanager
def _hooked(network: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    """A context in which `hook` is a forward hook of every module, its path as first argument."""
    handles = [
        module.register_forward_hook(functools.partial(hook, path), with_kwargs=True)
        for path, module in network.named_modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _folded(model: Model, entries: Mapping[str, Entry], output: int | str | None) -> frozenset[str]:
    """The paths of layers whose first axis holds groups of each picture, picture by picture.

    They are told by a batch of a grey picture and one of NaN: the first half of the rows has no
    NaN, and each row of the second half has some.
    """
    asked = {
        path: entry.shape[0]
        for path, entry in entries.items()
        if entry.shape and entry.shape[0] > 1 and not entry.constant
    }
    found: dict[str, bool] = {}

    def look(path: str, module: nn.Module, args: Any, kwargs: Any, value: Any) -> None:
        tensor, groups = pick(value, output), asked.get(path)
        if groups is None or tensor is None or tensor.shape[0] != 2 * groups:
            found[path] = False
        else:
            nans = tensor.reshape(len(tensor), -1).isnan().any(1)
            found[path] = bool(nans[groups:].all() and not nans[:groups].any())

    if asked:
        with suppress(RequestError), _hooked(model.module, look):
            run_once(model, [0.5, math.nan])
    return frozenset(path for path, is_folded in found.items() if is_folded)


def run_once(model: Model, greys: Sequence[float] = (0.5,)) -> None:
    """Run one forward pass on uniform pictures in eval mode, for hooks to observe.

    `greys` has the value of each picture of the batch. Raises `RequestError` if the network fails
    on them.
    """
    values = torch.tensor(greys, device=model.device)
    shape = model.preprocessing.shape
    batch = values.view(-1, *[1] * len(shape)).expand(-1, *shape).contiguous()
    try:
        with evaluating(model.module), torch.no_grad(), exits_are_errors("the network"):
            model.module(model.preprocessing.normalise(batch))
    except Exception as error:
        size = "x".join(map(str, model.preprocessing.shape))
        raise RequestError(
            f"{model.name} does not take an input of {size}: {described(error)}"
            f"{_in_other_types(model.module)}"
        ) from error


def _in_other_types(network: nn.Module) -> str:
    """Words on weights that are not float32, as inputs are; empty where all are."""
    numbers = [weight.dtype for weight in network.parameters() if weight.is_floating_point()]
    others = sorted({str(kind).removeprefix("torch.") for kind in numbers} - {"float32"})
    return f" (its weights are {', '.join(others)}: give it in float32)" if others else ""


def _layer(entry: Entry, model: Model, tokens: int, maps: Set[int], is_folded: bool) -> Layer:
    shape, dim = entry.shape, entry.channel_dim
    if shape == (1,):
        shape, dim = (1, 1), 1  # one number a picture
    if not is_folded and shape[:1] != (1,):
        dim = None  # its rows are not pictures
    axes = name_axes(shape, dim, model.preprocessing.frames is not None)
    if is_folded:
        shape, axes = (1, *shape), f"BG{axes[1:].replace('K', 'C')}"
    rows = shape if len(shape) == 3 and not is_folded else ()
    prefixes = tuple(joined_tokens(n, tokens, maps, model.preprocessing) for n in rows)
    kind, path = type(entry.module).__name__, entry.path or LOGITS
    layer = Layer(path, kind, shape, axes, 0, entry.calls, entry.outputs, entry.constant, prefixes)
    return _with_axes(layer, axes)


def _with_axes(layer: Layer, axes: str) -> Layer:
    """`layer` with these axes, and the prefix tokens that it then has."""
    has_tokens = "N" in axes and "G" not in axes
    prefix = layer.prefixes[axes.index("N")] if has_tokens and layer.prefixes else 0
    return dataclasses.replace(layer, axes=axes, prefix=prefix)


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
    dims, first = len(layer.shape), 1 if layer.groups is None else 2
    if not -dims <= dim < dims or dim % dims < first:
        raise RequestError(
            f"target.channel_dim is {dim}; {layer.path} has axes {first} to {dims - 1}"
        )
    if layer.groups is None:
        axes = name_axes(layer.shape, dim % dims, video)
    else:
        rest = name_axes(layer.shape[1:], dim % dims - 1, video)
        axes = f"BG{rest[1:].replace('K', 'C')}"
    return _with_axes(layer, axes)


def with_prefix(layer: Layer, count: int) -> Layer:
    """`layer` with so many tokens that stand for no position.

    Raises `RequestError` for a layer without tokens, and where no other token would be left.
    """
    if "N" not in layer.axes or layer.groups is not None:
        raise RequestError(f"target.prefix_tokens is given; {layer.path} has no tokens")
    tokens = layer.shape[layer.axes.index("N")]
    if count >= tokens:
        raise RequestError(f"target.prefix_tokens is {count}; {layer.path} has {tokens} tokens")
    return dataclasses.replace(layer, prefix=count)
