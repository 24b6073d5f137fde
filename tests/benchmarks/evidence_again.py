"""What is measured of evidence by gathering it again for the pictures of runs: costs, mistakes."""

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf

from fvis import grounding, schema
from fvis.artifacts import read_png
from fvis.batching import auto_size
from fvis.context import Context, prepare
from fvis.evidence.record import WORDS
from fvis.methods.activation_maximization import ActivationMaximization
from fvis.objectives import Target
from fvis.optimization import Optimization
from fvis.run_folder import SavedRun, SavedUnit, read_run
from fvis.synthesis import Optimum, Synthesizer
from fvis.workspace import working_directory

from ..passes import counted

TIMED_STEPS = 8  # of the ascents whose CPU seconds are measured; all steps cost the same
TRIES = 3  # of everything else
SHIFTS = (1, 2, 3)  # by how many units pictures are swapped


@dataclass(frozen=True)
class Cost:
    """CPU seconds, and how many pictures ran through networks."""

    seconds: float
    passes: int

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds - other.seconds, self.passes - other.passes)


def cost_table(run: Path) -> str:
    """What each kind of evidence adds to the first layer's ascents, which are without any.

    Each kind is measured the first time, and with what is kept of the photographs.
    """
    saved = read_run(run)
    units = list(saved.units())
    layer = units[0].record.layer
    units = [unit for unit in units if unit.record.layer == layer]
    with working_directory(saved.record.directory):
        return "\n".join(_cost_lines(_config(saved, units), units))


def swapped_table(runs: list[Path]) -> str:
    """The words for units with their own pictures, and with those of other units of the layer.

    The path and the observer judge single pictures; no picture of another unit should be supported.
    """
    lines = ["| network and layer | pictures | supported | plausible | unsupported |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    for run in runs:
        saved = read_run(run)
        units = list(saved.units())
        with working_directory(saved.record.directory):
            for layer in dict.fromkeys(unit.record.layer for unit in units):
                own = [unit for unit in units if unit.record.layer == layer]
                lines += _swapped_lines(_config(saved, own), own)
    return "\n".join(lines)


def _config(saved: SavedRun, units: list[SavedUnit]) -> schema.Config:
    """The config of a run of these units, all of one layer, alone."""
    config = schema.parse(OmegaConf.create(saved.record.config))
    asked = [unit.record.unit for unit in units]
    target = dataclasses.replace(config.target, layer=units[0].record.layer, units=asked)
    return dataclasses.replace(config, target=target)


def _swapped_lines(config: schema.Config, units: list[SavedUnit]) -> Iterator[str]:
    evidence = schema.EvidenceConfig(embedding=config.evidence.embedding)
    context = prepare(dataclasses.replace(config, evidence=evidence))
    method = ActivationMaximization(context)
    jobs = [job for group in method.groups for job in group]
    optima = [_optimum(unit) for unit in units]
    for whose, shifts in (("own", (0,)), ("other units'", SHIFTS)):
        counts: Counter[str] = Counter()
        for shift in shifts:
            given = _asked(method, jobs, optima[shift:] + optima[:shift])
            _, course = method._responses(jobs, given)
            gathered = method._evidence.gather(jobs, given, course, lambda *_: None)
            counts.update(record.word for record, _ in gathered if record is not None)
        shares = " | ".join(f"{100 * counts[word] / counts.total():.0f} %" for word in WORDS)
        yield f"| {context.model.name} {units[0].record.layer} | {whose} | {shares} |"


def _asked(
    method: ActivationMaximization, jobs: list[Target], optima: list[Optimum]
) -> list[Optimum]:
    """Pictures with how much they excite the units of the jobs, which may not be their own."""
    pictures = torch.stack([optimum.picture for optimum in optima])
    targets = method._synthesizer.targets
    with method._open() as network, torch.no_grad():
        scores, *_ = grounding.responses(network, targets, pictures)
    finals = [scores[row, int(job.unit)].item() for row, job in enumerate(jobs)]
    return [
        dataclasses.replace(optimum, final=final)
        for optimum, final in zip(optima, finals, strict=True)
    ]


def _cost_lines(config: schema.Config, units: list[SavedUnit]) -> Iterator[str]:
    context = prepare(config)
    assert isinstance(config.method, schema.SynthesisConfig)
    synthesizer = Synthesizer(context, config.method)
    jobs, steps = list(synthesizer.targets.targets), config.engine.steps
    optima = [_optimum(unit) for unit in units]
    seconds = _ascents(synthesizer, jobs) * steps / TIMED_STEPS
    ascents = Cost(seconds, len(jobs) * steps)
    plain = schema.EvidenceConfig(path=False)
    kinds = {
        "grounding": plain,
        "path": schema.EvidenceConfig(),
        "observer": dataclasses.replace(plain, embedding=config.evidence.embedding),
        "strangers": dataclasses.replace(plain, strangers=[config.evidence.embedding]),
    }
    yield "| what | CPU s | share of the ascents | pictures through a network |"
    yield "| --- | ---: | ---: | ---: |"
    yield _line(f"ascents of {len(jobs)} pictures, {steps} steps", ascents, seconds)
    costs = {kind: _witnessed(context, own, jobs, optima) for kind, own in kinds.items()}
    nothing = dataclasses.replace(config.grounding, images=None)
    bare = dataclasses.replace(context, config=dataclasses.replace(config, grounding=nothing))
    less, _ = _witnessed(bare, plain, jobs, optima)
    for kind, found in costs.items():
        base = (less, less) if kind == "grounding" else costs["grounding"]
        for when, cost, before in zip(("the first time", "then"), found, base, strict=True):
            yield _line(f"{kind}, {when}", cost - before, seconds)
    yield _line("one more picture of each, by seed or minimising", ascents, seconds)


def _witnessed(
    context: Context,
    evidence: schema.EvidenceConfig,
    jobs: list[Target],
    optima: list[Optimum],
) -> tuple[Cost, Cost]:
    """What all but the ascents costs with some evidence: with an empty cache, and with a full one.

    The least of several times, as other processes only add to them.
    """
    tries: list[list[Cost]] = [[], []]
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory() as cache:
            grounding = dataclasses.replace(context.config.grounding, cache=cache)
            config = dataclasses.replace(context.config, grounding=grounding, evidence=evidence)
            own = dataclasses.replace(context, config=config)
            for costs in tries:
                started = time.process_time()
                with counted() as passes:
                    method = ActivationMaximization(own)
                    _, course = method._responses(jobs, optima)
                    method._evidence.gather(jobs, optima, course, lambda *_: None)
                costs.append(Cost(time.process_time() - started, passes.pictures))
    first, then = (min(costs, key=lambda cost: cost.seconds) for costs in tries)
    return first, then


def _line(what: str, cost: Cost, ascents: float) -> str:
    share = f"{100 * cost.seconds / ascents:.1f} %"
    return f"| {what} | {cost.seconds:.1f} | {share} | {cost.passes} |"


def _optimum(unit: SavedUnit) -> Optimum:
    picture = torch.as_tensor(read_png(unit.file("image.png")))
    return Optimum(picture, 0.0, unit.record.activation.final or 0.0, [], str(unit.record.status))


def _ascents(synthesizer: Synthesizer, jobs: list[Target]) -> float:
    """CPU seconds of the first `TIMED_STEPS` steps of all jobs, in batches as a run has them."""
    seconds = 0.0

    def run(stage: str, optimization: Optimization) -> None:
        nonlocal seconds
        started = time.process_time()
        for _ in range(TIMED_STEPS):
            optimization.step()
        seconds += time.process_time() - started

    some = jobs[: auto_size(torch.device("cpu"), synthesizer.canvas.share)]
    synthesizer.attempt(some, synthesizer._start(some, None), "optimal", run)
    return seconds * len(jobs) / len(some)
