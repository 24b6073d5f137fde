"""The frozen network, run only as far as the layers that are read.

Everything done to the network is undone when the context ends: train flags, `requires_grad` and
this module's own hooks; hooks of others are never touched.
"""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import torch
from timm.layers import GELUTanh, HardMish, HardSwish, QuickGELU, Swish, activations
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fvis.errors import RequestError
from fvis.models.base import Model
from fvis.models.layers import LOGITS, Layer, pick
from fvis.streams import stream

# Functions that go to zero, however far their input sinks, and grow without it.
RESTING_AT_ZERO: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish,
    GELUTanh, HardMish, HardSwish, QuickGELU, Swish, activations.GELU, activations.Mish,
)  # fmt: skip
RECTIFIERS: tuple[type[nn.Module], ...] = (
    *RESTING_AT_ZERO, nn.Hardtanh, nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.Threshold,
)  # fmt: skip


class _Reached(Exception):  # noqa: N818  # no error: how a forward pass is cut short
    """Every layer that is read has been computed."""


class _Nearest(NamedTuple):
    """The last activation function of a pass, how often it runs, and whether its output is read."""

    module: nn.Module
    calls: int
    is_read: bool


class Network:
    """A context in which a model is frozen and stops at the last of `layers`.

    Called with RGB pictures (B, 3, H, W) or clips (B, 3, T, H, W) in [0, 1], it returns each
    layer's output in float32, in the order of `layers`. A module that a forward pass runs several
    times gives its last output. Gradients flow to the pictures alone.
    """

    def __init__(
        self,
        model: Model,
        layers: Sequence[Layer],
        output: int | str | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._model = model
        self._layers = layers
        self._output = output
        self._autocast = autocast
        self._handles: list[RemovableHandle] = []
        self._training: list[nn.Module] = []
        self._trainable: list[nn.Parameter] = []
        self._calls: list[int] = []
        self._captured: dict[int, Tensor] = {}
        self._nearest: list[_Nearest] | None = None

    def __enter__(self) -> "Network":
        module = self._model.module
        self._training = [m for m in module.modules() if m.training]
        self._trainable = [p for p in module.parameters() if p.requires_grad]
        for part in self._training:
            part.training = False
        for parameter in self._trainable:
            parameter.requires_grad_(False)
        for index, layer in enumerate(self._layers):
            part = module if layer.path == LOGITS else module.get_submodule(layer.path)
            self._handles.append(part.register_forward_hook(self._hook(index, layer)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        for part in self._training:
            part.training = True
        for parameter in self._trainable:
            parameter.requires_grad_(True)
        self._handles, self._training, self._trainable = [], [], []
        self._captured = {}

    def __call__(self, rgb: Tensor) -> list[Tensor]:
        """The layers' outputs for RGB in [0, 1]."""
        if not self._handles:
            raise RuntimeError(
                "enter the Network before calling it: `with Network(...) as network`"
            )
        self._calls = [0] * len(self._layers)
        self._captured = {}
        enabled = self._autocast is not None
        with (
            contextlib.suppress(_Reached),
            torch.autocast(rgb.device.type, self._autocast, enabled=enabled),
        ):
            self._model.module(self._model.preprocessing.normalise(rgb))
        captured, self._captured = self._captured, {}
        return [captured[index].float() for index in range(len(self._layers))]

    @contextlib.contextmanager
    def leaking(self) -> Iterator[None]:
        """A context in which the activation function nearest to what is read leaks gradient.

        It returns what it always does, but where that is zero or below, its gradient is
        1 / (2 + 2|x|). A unit behind a ReLU's zero or on a GELU's flat side, whose true gradient
        vanishes or leads further down, can then be climbed out of it, and in a mean over positions
        those nearest to waking wake first. Earlier activations keep their gradients: through many
        at once the sum leads nowhere.
        """
        nearest = self._nearest_activation()
        if nearest is None:
            yield
            return
        activation, calls, _ = nearest
        in_place = getattr(activation, "inplace", False)
        handle = activation.register_forward_hook(_leak(calls), prepend=True)
        try:
            if in_place:
                # The hook needs the input as it was. (Modules' attributes are typed as tensors.)
                setattr(activation, "inplace", False)  # noqa: B010
            yield
        finally:
            if in_place:
                setattr(activation, "inplace", True)  # noqa: B010
            handle.remove()

    def rests_at_zero(self) -> bool:
        """Whether what is read is the very output of ReLU, GELU, SiLU or one of their kind.

        Such a unit is silent at and below zero, and where the function dips below zero its
        gradient points away from what the unit responds to.
        """
        nearest = self._nearest_activation()
        return (
            nearest is not None and nearest.is_read and isinstance(nearest.module, RESTING_AT_ZERO)
        )

    def _nearest_activation(self) -> _Nearest | None:
        """The last activation function that a forward pass runs; None where it runs none."""
        if self._nearest is None:
            ran: list[nn.Module] = []
            last: list[Tensor] = []

            def note(module: nn.Module, args: Any, value: Tensor) -> None:
                ran.append(module)
                last[:] = [value.detach().clone()]  # what runs on may change it in place

            active = [m for m in self._model.module.modules() if isinstance(m, RECTIFIERS)]
            # Before the hook that stops the pass, which may be on the very same module.
            handles = [m.register_forward_hook(note, prepend=True) for m in active]
            noise = torch.rand(1, *self._model.preprocessing.shape, generator=stream("nearest"))
            try:
                with torch.no_grad():
                    *_, read = self(noise.to(self._model.device))
            finally:
                for handle in handles:
                    handle.remove()
            if last:
                same = torch.equal(last[0].float(), read) and bool(read.any())
                self._nearest = [_Nearest(ran[-1], ran.count(ran[-1]), same)]
            else:
                self._nearest = []
        return self._nearest[0] if self._nearest else None

    def _hook(self, index: int, layer: Layer) -> Any:
        def capture(module: nn.Module, args: Any, value: Any) -> None:
            self._calls[index] += 1
            if self._calls[index] < layer.calls:
                return
            tensor = pick(value, self._output)
            if tensor is None:
                raise RequestError(f"layer {layer.path} returns no tensor target.output names")
            last = len(self._captured) == len(self._layers) - 1
            # What runs on may change the output in place; what stops here cannot.
            self._captured[index] = tensor if last else tensor.clone()
            if last and layer.path != LOGITS:
                raise _Reached

        return capture


def _leak(calls: int) -> Any:
    """A hook for a module that a pass runs so often: its last call leaks."""
    call = itertools.count(1)

    def leak(module: nn.Module, args: tuple[Any, ...], value: Tensor) -> Tensor | None:
        if next(call) % calls:
            return None
        source: Tensor = args[0]
        still = source.detach()
        leaked = value.detach() + (source - still) / (2 + 2 * still.abs())
        return torch.where(value > 0, value, leaked)

    return leak
