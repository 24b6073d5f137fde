"""fvis itself and its bare limit: the real method, step by step in turns with the mere network."""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator

import torch

from fvis import schema
from fvis.canvas import find_canvas
from fvis.capture import Network, pairs_to_fold
from fvis.compose import compose
from fvis.context import Context, prepare
from fvis.methods import METHODS
from fvis.objectives import resolve
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
    context = prepare(settings(case, device))
    config = context.config
    method = METHODS[config.method.name](context)
    jobs = [job for group in method.groups for job in group]
    module = context.model.module
    with bare_limit(context) as step:
        turns = Turns(step, device, seconds)
        with contextlib.suppress(TimeUp):
            method.solve(jobs, calling(turns.on_step))
    spare = sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()]) / 2**20
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
        "engine.canvas=full",  # as the peers; `savings.py` measures what the canvas saves
        "method.rescue=false",  # a second ascent would not be timed, only waited for
    ]
    return schema.parse(compose(overrides))


@contextlib.contextmanager
def bare_limit(context: Context) -> Iterator[Callable[[], object]]:
    """A context with a pass of one batch forward to the layer and back to the canvas, only that.

    It is made by a copy of the network, folded as fvis folds it. The gradient that is sent back is
    the one the objective would send.
    """
    config, device = context.config, context.device
    model = dataclasses.replace(context.model, module=copy.deepcopy(context.model.module))
    targets = resolve(config.target, model, config.engine.seed)
    canvas = find_canvas(targets, Network(model, targets.layers), config.engine.canvas)
    folds = config.engine.fold == "auto"
    pairs = pairs_to_fold(model, targets.layers, None) if folds else []
    rgb = torch.rand(len(targets.targets), *canvas.shape, device=device, requires_grad=True)
    objective = canvas.targets.objective(targets.targets, device)
    with Network(model, targets.layers, pairs=pairs) as network:
        outputs = network(rgb)
        uphill = torch.autograd.grad(objective.scores(outputs).sum(), outputs)
        yield lambda: torch.autograd.grad(network(rgb), rgb, uphill)


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
