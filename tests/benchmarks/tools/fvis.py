"""fvis itself, with and without what makes it fast, and its bare limit, step by step in turns."""

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from fvis import models, schema
from fvis.canvas import find_canvas
from fvis.compose import compose
from fvis.context import Context, prepare
from fvis.memory import trim
from fvis.methods.activation_maximization import ActivationMaximization
from fvis.models.base import Model
from fvis.objectives import resolve
from fvis.optimization import Callback, Optimization, RunStage

from ..cases import BARE, FULL, FVIS, PLAIN, Case, Measurement
from ..clock import Steps, TimeUp, peak, reset_peak, synchronised_time

DISTRIBUTION = "fvis"
LEAST, MOST = 2, 100  # turns, however long or short they take
WHOLE = "engine.canvas=full"
WAYS = {
    FVIS: (),  # the defaults
    FULL: (WHOLE,),
    PLAIN: (WHOLE, "engine.fold=never", "engine.channels_last=false"),
}
Step = Callable[[], object]


def measure(case: Case, device: torch.device, seconds: float) -> list[Measurement]:
    """The method as `fvis run` runs it, in all ways that differ, and the bare limit of the first.

    All step in turns, so that they see the same machine. The further networks that this takes are
    not counted as memory.
    """
    contexts = {way: prepared(case, device, words) for way, words in WAYS.items()}
    if contexts[FVIS].model.attends:  # nothing of it is folded, and units see everything
        contexts = {FVIS: contexts[FVIS]}
    methods = {way: ActivationMaximization(context) for way, context in contexts.items()}
    side = methods[FVIS]._synthesizer.canvas.side
    if side is None:
        methods.pop(FULL, None)
    with bare_limit(contexts[FVIS]) as bare:
        found = alongside(methods, {BARE: bare}, device, seconds)
    module = contexts[FVIS].model.module
    spare = len(methods) * sum(t.nbytes for t in [*module.parameters(), *module.buffers()]) / 2**20
    return [
        Measurement(
            way, case, taken.median, taken.count, most - spare, side=side if way == FVIS else None
        )
        for way, (taken, most) in found.items()
    ]


def prepared(case: Case, device: torch.device, words: Sequence[str] = ()) -> Context:
    """The default config, with a case's network, layer and units, and what `words` set."""
    overrides = [
        *("model=timm", f"model.name={case.network}", "model.pretrained=false"),
        *(f"target.layer={case.layer}", f"target.units=0:{case.batch}"),
        *(f"target.position={case.position}", f"engine.device={device}"),
        *(f"engine.batch_size={case.batch}", f"engine.precision={case.precision}"),
        "method.rescue=false",  # a second ascent would not be timed, only waited for
    ]
    config = schema.parse(compose([*overrides, *words]))
    model = _built(case.network, config.engine.seed)
    return prepare(config, dataclasses.replace(model, module=copy.deepcopy(model.module)))


@functools.lru_cache(1)
def _built(network: str, seed: int) -> Model:
    words = ["model=timm", f"model.name={network}", "model.pretrained=false"]
    return models.load(schema.parse(compose(words)).model, seed)


@contextlib.contextmanager
def bare_limit(context: Context) -> Iterator[Step]:
    """A context with a pass of one batch forward to the layer and back to the canvas, only that.

    It is made by a copy of the network, folded as fvis folds it. The gradient that is sent back is
    the one the objective would send.
    """
    config, device = context.config, context.device
    model = dataclasses.replace(context.model, module=copy.deepcopy(context.model.module))
    targets = resolve(config.target, model, config.engine.seed)
    opened = dataclasses.replace(context, model=model).opener(targets.layers)
    canvas = find_canvas(targets, opened(), config.engine.canvas)
    rgb = torch.rand(len(targets.targets), *canvas.shape, device=device, requires_grad=True)
    objective = canvas.targets.objective(targets.targets, device)
    with opened() as network:
        outputs = network(rgb)
        uphill = torch.autograd.grad(objective.scores(outputs).sum(), outputs)
        yield lambda: torch.autograd.grad(network(rgb), rgb, uphill)


def alongside(
    methods: Mapping[str, ActivationMaximization],
    others: Mapping[str, Step],
    device: torch.device,
    seconds: float,
) -> dict[str, tuple[Steps, float]]:
    """What `in_turns` finds of the methods' first ascents and of other steps, all begun at once."""
    found: dict[str, tuple[Steps, float]] = {}

    def begin(waiting: list[str], steps: dict[str, Step]) -> None:
        if not waiting:
            found.update(in_turns(steps | others, device, seconds))
            raise TimeUp
        name, *rest = waiting
        method = methods[name]
        jobs = [job for group in method.groups for job in group]
        method.solve(jobs, lambda _, ascent: begin(rest, {**steps, name: ascent.step}))

    with contextlib.suppress(TimeUp):
        begin(list(methods), {})
    return found


def in_turns(
    steps: Mapping[str, Step], device: torch.device, seconds: float
) -> dict[str, tuple[Steps, float]]:
    """The times of each, and its peak of memory in MiB, when all make a step in turns.

    Memory is measured in a turn of its own, for which the others' is handed back: asking for it
    again takes time. After it there are `LEAST` turns or more, besides the warm-up, till `seconds`
    have been timed.
    """
    taken, most = {name: Steps() for name in steps}, dict.fromkeys(steps, 0.0)
    for name, step in steps.items():
        trim()
        reset_peak(device)
        step()
        most[name] = peak(device)
    for turn in range(1 + MOST):
        for name, step in steps.items():
            started = synchronised_time(device)
            step()
            taken[name].add(synchronised_time(device) - started)
        if turn >= LEAST and sum(each.total for each in taken.values()) >= seconds:
            break
    return {name: (taken[name], most[name]) for name in steps}


def calling(on_step: Callback) -> RunStage:
    """Runs stages to their end, and calls `on_step` after each step."""

    def run(stage: str, optimization: Optimization) -> None:
        optimization.run(on_step)

    return run
