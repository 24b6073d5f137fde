"""The frozen network, run only as far as the layers that are read.

Everything done to the network is undone when the context ends: train flags, `requires_grad` and
this module's own hooks; hooks of others are never touched.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from fvis.batching import is_out_of_memory
from fvis.casting import Place, cast, castable
from fvis.errors import RequestError, described, exits_are_errors
from fvis.folding import Pair, foldable, folded
from fvis.hardtanh import keeping_outputs
from fvis.models.base import Model, evaluating
from fvis.models.channel_axes import pick
from fvis.models.layers import LOGITS, Layer

IN_PLACE, REENTRANT = "modified by an inplace operation", "use_reentrant"  # in torch's messages


class Operations(Enum):
    """How a network's own operations are changed where pictures climb; the cheapest come first."""

    SPARING = "hard tanhs keep their output alone, see `hardtanh`"
    OWN = "as they are"
    FUNCTIONAL = "none of them works in place"


class _Reached(Exception):  # noqa: N818  # not an error: it ends a forward pass early
    """Every layer that is read has been computed."""


class Network:
    """A context in which a model is frozen and stops at the last of `layers`.

    Called with RGB pictures (B, 3, H, W) or clips (B, 3, T, H, W) in [0, 1], it returns each
    layer's output in float32, in the order of `layers`. If a module runs several times in one
    forward pass, its last output is returned. Gradients flow to the pictures only.

    Where a layer returns a tuple or dict, `output` is the index or key of the tensor to read.
    `autocast` is the lower precision to run the network in, None for its own. `operations` says how
    far the network's own are changed. Meanwhile `pairs` are folded, see `folding`, and the weights
    at `places` are of the lower precision, see `casting`.
    """

    def __init__(
        self,
        model: Model,
        layers: Sequence[Layer],
        output: int | str | None = None,
        autocast: torch.dtype | None = None,
        operations: Operations = Operations.SPARING,
        pairs: Sequence[Pair] = (),
        places: Sequence[Place] = (),
    ) -> None:
        self.model = model
        self._operations = operations
        functional = operations is Operations.FUNCTIONAL
        self._run = torch.func.functionalize(self._outputs) if functional else self._outputs
        self.layers = layers
        self._output = output
        self._autocast = autocast
        self._pairs, self._places = pairs, places
        self._changes: contextlib.ExitStack | None = None
        self._calls: list[int] = []
        self._captured: dict[int, Tensor] = {}
        self._is_running = False

    def __enter__(self) -> "Network":
        module = self.model.module
        with contextlib.ExitStack() as changes:  # undoes them where one of them fails, too
            changes.enter_context(_frozen(module))
            for index, layer in enumerate(self.layers):
                part = module if layer.path == LOGITS else module.get_submodule(layer.path)
                changes.callback(part.register_forward_hook(self._hook(index, layer)).remove)
            changes.enter_context(folded(self._pairs))
            if self._operations is Operations.SPARING:
                changes.enter_context(keeping_outputs(module))
            if self._autocast is not None:
                changes.enter_context(cast(self._places, self._autocast))
            self._changes = changes.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        changes, self._changes, self._captured = self._changes, None, {}
        if changes is not None:
            changes.close()

    def __call__(self, rgb: Tensor) -> list[Tensor]:
        """The layers' outputs for RGB in [0, 1]."""
        if self._changes is None:
            raise RuntimeError(
                "enter the Network before calling it: `with Network(...) as network`"
            )
        enabled = self._autocast is not None
        try:
            with torch.autocast(rgb.device.type, self._autocast, enabled=enabled):
                outputs = self._run(self.model.preprocessing.normalise(rgb))
        except Exception as error:
            if isinstance(error, RequestError) or is_out_of_memory(error):
                raise
            raise RuntimeError(
                f"the network {self.model.name} itself fails: {described(error)}"
            ) from error
        for layer, output, calls in zip(self.layers, outputs, self._calls, strict=True):
            if output is None:
                raise RuntimeError(
                    f"layer {layer.path} ran {calls} times in this forward pass, and "
                    f"{layer.calls} times before: it cannot be read"
                )
            if len(output) != (layer.groups or 1) * len(rgb):
                raise RequestError(
                    f"layer {layer.path} has no row for each of {len(rgb)} pictures (it returns "
                    f"{tuple(output.shape)}): a network that takes one picture at a time needs "
                    "engine.batch_size=1"
                )
            if output.is_complex():
                raise RequestError(
                    f"layer {layer.path} returns complex numbers, which have no order: take a "
                    "layer of real ones, such as their absolute values"
                )
        read = zip(self.layers, outputs, strict=True)
        return [layer.unfolded(out, len(rgb)).float() for layer, out in read if out is not None]

    def _outputs(self, values: Tensor) -> list[Tensor | None]:
        """What the layers return for the network's input; None for one that was not reached."""
        self._calls = [0] * len(self.layers)
        self._captured = {}
        self._is_running = True
        try:
            with contextlib.suppress(_Reached), exits_are_errors("it"):
                self.model.module(values)
        finally:
            self._is_running = False
        captured, self._captured = self._captured, {}
        return [captured.get(index) for index in range(len(self.layers))]

    def _hook(self, index: int, layer: Layer) -> Any:
        def capture(module: nn.Module, args: Any, value: Any) -> None:
            if not self._is_running:  # a checkpoint computes it again, for the gradient
                return
            self._calls[index] += 1
            if self._calls[index] < layer.calls:
                return
            tensor = pick(value, self._output)
            if tensor is None:
                raise RequestError(
                    f"layer {layer.path} returned no tensor for target.output={self._output}"
                )
            last = len(self._captured.keys() | {index}) == len(self.layers)
            # The modules that still run may change the output in place, so it is cloned.
            self._captured[index] = tensor if last else tensor.clone()
            if last and layer.path != LOGITS:
                raise _Reached

        return capture


@contextlib.contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """A context in which a network is in eval mode, and no parameter has a gradient."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        with evaluating(module):
            yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def opener(
    model: Model,
    layers: Sequence[Layer],
    output: int | str | None = None,
    autocast: torch.dtype | None = None,
    *,
    fold: bool = False,
) -> Callable[[], Network]:
    """Returns what makes a `Network`, each time anew, that computes as fast as it can.

    What makes it faster is found once: weights to cast and, with `fold`, batch norms to fold.
    Raises `RequestError` where no gradient passes from the layers to the input.
    """
    operations = operations_for(model, layers, output)
    pairs, places = list[Pair](), list[Place]()
    if fold and operations is not Operations.FUNCTIONAL:
        pairs = pairs_to_fold(model, layers, output)
    if autocast is not None and operations is not Operations.FUNCTIONAL:
        places = weights_to_cast(model, layers, output, autocast, pairs)
    return functools.partial(Network, model, layers, output, autocast, operations, pairs, places)


def operations_for(model: Model, layers: Sequence[Layer], output: int | str | None) -> Operations:
    """The first operations with which a network changes no tensor in place that a gradient needs.

    Raises `RequestError` where there are none, or where no gradient passes from the layers to the
    input at all.
    """
    for operations in Operations:
        network = Network(model, layers, output, operations=operations)
        try:
            with network, torch.enable_grad():
                _pass_gradient(network)
            return operations
        except RuntimeError as error:
            if REENTRANT in str(error):
                raise RequestError(
                    f"{model.name} calls torch.utils.checkpoint with use_reentrant=True, through "
                    "which no gradient of a picture can be asked for: set it to False"
                ) from error
            if IN_PLACE not in str(error) and operations is not Operations.FUNCTIONAL:
                raise
    raise RequestError(
        f"{model.name} changes tensors in place that the gradient needs: "
        "write x = x + y where its code has x += y"
    )


def bytes_kept(network: Network, shape: tuple[int, ...]) -> tuple[int, int]:
    """The bytes that a pass of one picture of `shape` keeps for its gradient; enters `network`.

    Weights do not count. They are counted by storage: views of a tensor are kept but once. The
    second number is that of the largest tensor.
    """
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    rgb = torch.full((1, *shape), 0.5, device=network.model.device, requires_grad=True)
    with network, torch.enable_grad():
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            outputs = network(rgb)
        module = network.model.module
        for tensor in (*module.parameters(), *module.buffers()):
            sizes.pop(tensor.untyped_storage().data_ptr(), None)
    kept = [*sizes.values(), *(output.nbytes for output in outputs)]
    return sum(kept), max(kept)


def pairs_to_fold(model: Model, layers: Sequence[Layer], output: int | str | None) -> list[Pair]:
    """The batch norms of a network that can be folded where these layers are read of it."""
    grey = torch.full((1, *model.preprocessing.shape), 0.5, device=model.device)
    with Network(model, layers, output) as network:
        return foldable(model.module, lambda: network(grey))


def weights_to_cast(
    model: Model,
    layers: Sequence[Layer],
    output: int | str | None,
    autocast: torch.dtype,
    pairs: Sequence[Pair],
) -> list[Place]:
    """The weights of a network that are cast at every pass, with these pairs folded."""
    grey = torch.full((1, *model.preprocessing.shape), 0.5, device=model.device)
    with Network(model, layers, output, autocast, pairs=pairs) as network:
        return castable(model.module, lambda: network(grey), autocast)


def _pass_gradient(network: Network) -> None:
    """Compute the gradient of the layers' sum at a mid-grey input."""
    shape = (1, *network.model.preprocessing.shape)
    grey = torch.full(shape, 0.5, device=network.model.device, requires_grad=True)
    sums = [output.sum() for output in network(grey) if output.requires_grad]
    (gradient,) = torch.autograd.grad(sums, grey, allow_unused=True) if sums else (None,)
    if gradient is None:
        raise RequestError(
            f"no gradient passes through {network.model.name}: the layer does not depend on the "
            "picture (as a table of positions does not), or on the way to it the network detaches "
            "its tensors, switches gradients off (as checkpoints with use_reentrant=True do), or "
            "turns them into whole numbers"
        )
