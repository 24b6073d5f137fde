"""fvis itself and its bare limit: the real method, step by step in turns with the mere network."""

import contextlib
import copy
import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from fvis import runner, schema
from fvis.capture import Network
from fvis.compose import compose
from fvis.methods import METHODS
from fvis.models import Model
from fvis.objectives import TargetSet, resolve
from fvis.optimization import Callback, Optimization, RunStage

from ..cases import BARE, Case, Measurement
from ..clock import Steps, TimeUp, peak, reset_peak, synchronised_time

DISTRIBUTION = "fvis"
LEAST = 2  # pairs of steps that are timed, however long they take


def measure(case: Case, device: torch.device, seconds: float) -> list[Measurement]:
    """The method as `fvis run` runs it with its defaults, and the bare limit.

    Every step of fvis is followed by one of the bare limit, so both see the same machine. The
    second network that this takes is not counted as memory.
    """
    context = runner.prepare(settings(case, device))
    config = context.config
    method = METHODS[config.method.name](context)
    jobs = [job for group in method.groups for job in group]
    twin = dataclasses.replace(context.model, module=copy.deepcopy(context.model.module))
    targets = resolve(config.target, twin, config.engine.seed)
    with Network(twin, targets.layers) as network:
        turns = Turns(bare_step(network, twin, targets, device), device, seconds)
        with contextlib.suppress(TimeUp):
            method.solve(jobs, calling(turns.on_step))
    tensors = [*twin.module.parameters(), *twin.module.buffers()]
    spare = sum(tensor.nbytes for tensor in tensors) / 2**20
    return [
        Measurement("fvis", case, turns.ours.median, turns.ours.count, turns.our_peak - spare),
        Measurement(BARE, case, turns.bare.median, turns.bare.count, turns.bare_peak - spare),
    ]


def settings(case: Case, device: torch.device) -> schema.Config:
    """The default config, with a case's network, layer and units."""
    overrides = [
        "model=timm",
        f"model.name={case.network}",
        "model.pretrained=false",
        f"target.layer={case.layer}",
        f"target.units=0:{case.batch}",
        f"engine.device={device}",
        f"engine.batch_size={case.batch}",
        "method.rescue=false",  # a second ascent would not be timed, only waited for
    ]
    return schema.parse(compose(overrides))


def bare_step(
    network: Network, model: Model, targets: TargetSet, device: torch.device
) -> Callable[[], object]:
    """A pass of one batch forward to the layer and back to the input, and nothing else.

    The gradient that is sent back is the one the objective would send.
    """
    size = (len(targets.targets), *model.preprocessing.shape)
    rgb = torch.rand(size, device=device, requires_grad=True)
    objective = targets.objective(targets.targets, device)
    outputs = network(rgb)
    uphill = torch.autograd.grad(objective.scores(outputs).sum(), outputs)

    def step() -> tuple[Tensor, ...]:
        return torch.autograd.grad(network(rgb), rgb, uphill)

    return step


def calling(on_step: Callback) -> RunStage:
    """Runs stages to their end, and calls `on_step` after each step."""

    def run(stage: str, optimization: Optimization) -> None:
        optimization.run(on_step)

    return run


class Turns:
    """Called after each step of the ascent: times it, then makes and times a bare step."""

    def __init__(self, step: Callable[[], object], device: torch.device, seconds: float) -> None:
        self.ours, self.bare = Steps(), Steps()
        self.our_peak = self.bare_peak = 0.0
        self._step = step
        self._device = device
        self._limit = seconds
        reset_peak(device)
        self._started = synchronised_time(device)

    def on_step(self, optimization: Optimization) -> None:
        """Raises `TimeUp` once enough pairs are timed."""
        ended = synchronised_time(self._device)
        self.ours.add(ended - self._started)
        self.our_peak = max(self.our_peak, peak(self._device))
        reset_peak(self._device)
        started = synchronised_time(self._device)
        self._step()
        self.bare.add(synchronised_time(self._device) - started)
        self.bare_peak = max(self.bare_peak, peak(self._device))
        if self.ours.count >= LEAST and self.ours.total + self.bare.total >= self._limit:
            raise TimeUp
        reset_peak(self._device)
        self._started = synchronised_time(self._device)
