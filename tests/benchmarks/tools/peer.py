"""What all peers share: an untouched timm network, a clock on its forward pass, errors as notes."""

import contextlib
import dataclasses
import statistics
from collections.abc import Callable, Sequence

import timm
import torch
from torch import Tensor, nn

from ..cases import Case, Measurement, first_line
from ..clock import WARM_UP, StepClock, TimeUp, peak, reset_peak

SIDE = 224  # px
Render = Callable[[nn.Module], object]  # the peer's own endless loop over a network


def first_that_runs(
    tool: str,
    case: Case,
    device: torch.device,
    seconds: float,
    attempts: Sequence[tuple[str, Render]],
) -> Measurement:
    """Time the first of (how, render) that runs; the note says why those before it did not."""
    failures = []
    for how, render in attempts:
        try:
            timed = _timed(case, device, seconds, render)
        except Exception as error:
            failures.append(f"{how}: {first_line(error)}")
            continue
        note = "; ".join([*failures, f"measured {how}"]) if failures else ""
        return dataclasses.replace(timed, tool=tool, note=note)
    return Measurement(tool, case, note="; ".join(failures))


def fresh_network(case: Case, device: torch.device) -> nn.Module:
    """The case's network as peers' documentation prepares it: eval mode, weights not frozen."""
    module: nn.Module = timm.create_model(case.network, pretrained=False)
    return module.to(device).eval()


def part(module: nn.Module, layer: str) -> nn.Module:
    """The module at `layer`, the network itself for its logits."""
    return module if layer == "logits" else module.get_submodule(layer)


def mean_of(output: Tensor, unit: int) -> Tensor:
    """A unit's mean over all positions: channels are last in tokens (B, N, C), else second."""
    return output[..., unit].mean() if output.dim() == 3 else output[:, unit].mean()


def _timed(case: Case, device: torch.device, seconds: float, render: Render) -> Measurement:
    module = fresh_network(case, device)  # a peer may have left hooks in the last one
    clock = StepClock(seconds, device)
    pixels: list[int] = []

    def tick(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        clock.tick()
        pixels.append(inputs[0][:, 0].numel())

    module.register_forward_pre_hook(tick)
    reset_peak(device)
    with contextlib.suppress(TimeUp):
        render(module)
    share = statistics.mean(pixels[WARM_UP:]) / (case.batch * SIDE**2)
    steps = clock.steps
    return Measurement("", case, steps.median, steps.count, peak(device), share)
