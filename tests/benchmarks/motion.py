"""What texture_motion costs: the free clip beside the bare limit, and batches beside single rows.

`python -m tests.benchmarks.motion [--threads N] [--batches 1 8] [--quick] [--json FILE]`. What is
compared takes turns, so both see the same machine: read the ratios, not the seconds.
"""

import argparse
import contextlib
import dataclasses
import logging
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fvis import schema
from fvis.artifacts import write_json
from fvis.compose import compose
from fvis.context import prepare
from fvis.methods.base import Context
from fvis.methods.texture_motion import TextureMotion
from fvis.motion import decomposition
from fvis.optimization import Optimization
from fvis.schema import FitConfig, TextureMotionConfig
from fvis.synthesis import Synthesizer

from .cases import BARE, FVIS, Case
from .clock import Steps, TimeUp, synchronised_time
from .tools.fvis import bare_limit, calling
from .tools.fvis import in_turns as steps_in_turns
from .worker import environment, find_device

MODELS = {
    "drift_r3d": ("model=drift_r3d",),  # clips of 16 x 64 x 64
    "r3d_18": (
        "model=torchvision",
        "model.name=r3d_18",
        "model.pretrained=false",
        "model.input.frames=16",
        "model.input.height=112",
        "model.input.width=112",
    ),
}
LAYER = "layer3"
EARLY = ("stem", "layer1", "layer2")  # of r3d_18, whose units at a position see a part of the clip
BATCHES = (1, 8)
ONE_BY_ONE, BARE_LIMIT, WHOLE = "one by one", "bare limit", "whole input"
ALONE = 2  # rows that are solved one by one per turn: rows differ in nothing that takes time
STEPS = 3  # of a factored ascent per turn; the first one is left out
LEAST = 2  # turns, however long they take
CUT = 25  # tracking's steps are the default's over this; they all cost alike
CAPTION = (
    "Median wall seconds a unit with the default numbers of steps, by what was measured of them "
    "in turns with what stands beside it; the ratio is of the medians. "
    "Free clip: the ascent of stage 1, beside a pass of the frozen network forward to the layer "
    "and back and nothing else. Tracking, factored: stage 2 of all rows of a batch together, "
    "beside the same rows one by one. Canvas: stage 1 of units at the central position, beside the "
    "same on the whole input."
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Median seconds a unit of a case's stage, beside those of what took turns with it."""

    case: Case
    stage: str
    beside: str
    seconds: float
    beside_seconds: float
    turns: int

    @property
    def ratio(self) -> float:
        """What is measured over what stands beside it."""
        return self.seconds / self.beside_seconds

    def to_json(self) -> dict[str, Any]:
        """As a dict, with the ratio."""
        return {**dataclasses.asdict(self), "ratio": self.ratio}


class Gaps:
    """Wall seconds between an ascent's steps: its first step is not among them."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: list[float] = []
        self._device = device
        self._last: float | None = None

    def on_step(self, optimization: Optimization) -> None:
        """A step has ended."""
        now = synchronised_time(self._device)
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now


def plan(batches: Sequence[int], quick: bool) -> list[Case]:
    """Every network at every batch size, and early layers; when in a hurry the large one's row."""
    cases = [
        Case(network, LAYER, batch)
        for network in MODELS
        for batch in batches
        if not quick or batch == 1 or network == "drift_r3d"
    ]
    placed = [Case("r3d_18", layer, 1, "center") for layer in EARLY]
    return cases if quick else [*cases, *placed]


def measure(case: Case, device: torch.device, seconds: float) -> Iterator[Comparison]:
    """The comparisons of a case as they come in, each of which takes `seconds` or more.

    Stage 2 has none where the batch is one row.
    """
    if case.position != "mean":
        yield on_a_canvas(case, device, seconds)
        return
    context = prepare(settings(case, device))
    yield free_clip(case, context, seconds)
    if case.batch > 1:
        yield tracking(case, context, seconds)
        yield factored(case, context, seconds)


def settings(case: Case, device: torch.device, canvas: str = "auto") -> schema.Config:
    """The default config of the method, with a case's network, layer, position and units."""
    overrides = [
        *MODELS[case.network],
        f"target.layer={case.layer}",
        f"target.position={case.position}",
        f"target.units=0:{case.batch}",
        f"engine.canvas={canvas}",
        "method=texture_motion",
        "method.rescue=false",  # a second ascent would not be timed, only waited for
        f"engine.device={device}",
        f"engine.batch_size={case.batch}",
    ]
    return schema.parse(compose(overrides))


def free_clip(case: Case, context: Context, seconds: float) -> Comparison:
    """Steps of stage 1's ascent in turns with steps of the bare limit."""
    synthesizer = Synthesizer(context, _method(context))
    jobs = synthesizer.targets.targets
    found: dict[str, tuple[Steps, float]] = {}
    with bare_limit(context) as bare:

        def run(stage: str, ascent: Optimization) -> None:
            steps = {FVIS: ascent.step, BARE: bare}
            found.update(steps_in_turns(steps, context.device, seconds))
            raise TimeUp

        with contextlib.suppress(TimeUp):
            synthesizer.optima(jobs, run)
    (ours, _), (theirs, _) = found[FVIS], found[BARE]
    steps = context.config.engine.steps / case.batch
    return Comparison(
        case, "free clip", BARE_LIMIT, ours.median * steps, theirs.median * steps, ours.count
    )


def on_a_canvas(case: Case, device: torch.device, seconds: float) -> Comparison:
    """Steps of stage 1's ascent on the canvas in turns with steps on the whole input."""
    found: dict[str, tuple[Steps, float]] = {}
    contexts = [prepare(settings(case, device, canvas)) for canvas in ("auto", "full")]
    ours, theirs = (Synthesizer(context, _method(context)) for context in contexts)

    def outer(stage: str, ascent: Optimization) -> None:
        def inner(stage: str, whole: Optimization) -> None:
            found.update(steps_in_turns({FVIS: ascent.step, WHOLE: whole.step}, device, seconds))
            raise TimeUp

        theirs.optima(theirs.targets.targets, inner)

    with contextlib.suppress(TimeUp):
        ours.optima(ours.targets.targets, outer)
    (small, _), (large, _) = found[FVIS], found[WHOLE]
    steps = contexts[0].config.engine.steps / case.batch
    return Comparison(
        case,
        f"canvas of {ours.canvas.side} px",
        WHOLE,
        small.median * steps,
        large.median * steps,
        small.count,
    )


def tracking(case: Case, context: Context, seconds: float) -> Comparison:
    """The tracking solver on a batch of clips in turns with some of the same clips alone.

    Noise will do: what a clip shows changes nothing of how long it takes.
    """
    settings = _method(context)
    shape = (case.batch, *context.model.preprocessing.shape)
    clips = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(context.device)
    fit = shortened(settings.fit)

    def solve(rows: Sequence[int]) -> list[float]:
        started = synchronised_time(context.device)
        decomposition.track(clips[list(rows)], fit, settings.margin)
        return [synchronised_time(context.device) - started]

    solve([0])  # builds kernels and caches
    together, alone, turns = in_turns(solve, case.batch, seconds)
    ours, theirs = CUT * together / case.batch, CUT * alone
    return Comparison(case, "tracking", ONE_BY_ONE, ours, theirs, turns)


def factored(case: Case, context: Context, seconds: float) -> Comparison:
    """The factored solver's steps with a batch of units in turns with some of the units alone."""
    method = TextureMotion(context)
    jobs = [job for group in method.groups for job in group]

    def solve(rows: Sequence[int]) -> list[float]:
        gaps = Gaps(context.device)
        still = torch.zeros(len(rows), 2, 3, device=context.device)
        method.search.ascent(
            [jobs[row] for row in rows], still, STEPS, "timed", calling(gaps.on_step)
        )
        return gaps.seconds

    together, alone, turns = in_turns(solve, case.batch, seconds)
    steps = method.search.steps
    ours, theirs = steps * together / case.batch, steps * alone
    return Comparison(case, "factored", ONE_BY_ONE, ours, theirs, turns)


def in_turns(
    solve: Callable[[Sequence[int]], list[float]], rows: int, seconds: float
) -> tuple[float, float, int]:
    """Median seconds of all rows together, and of a row alone, and how many turns they took.

    `solve(rows)` gives the seconds that these rows took, once or several times. Another `ALONE`
    rows are solved one by one at every turn, of which there are `LEAST` or more, till `seconds`
    have been timed.
    """
    together: list[float] = []
    alone: list[float] = []
    turns = 0
    while turns < LEAST or sum(together) + sum(alone) < seconds:
        together += solve(range(rows))
        for place in range(ALONE):
            alone += solve([(turns * ALONE + place) % rows])
        turns += 1
    return statistics.median(together), statistics.median(alone), turns


def shortened(fit: FitConfig) -> FitConfig:
    """A fit of a `CUT`-th of the steps."""
    if fit.frame_steps % CUT or fit.refine_steps % CUT:
        raise ValueError(f"{fit.frame_steps} and {fit.refine_steps} steps do not divide by {CUT}")
    frame_steps, refine_steps = fit.frame_steps // CUT, fit.refine_steps // CUT
    return dataclasses.replace(fit, frame_steps=frame_steps, refine_steps=refine_steps)


def markdown(comparisons: Sequence[Comparison], where: dict[str, str]) -> str:
    """The table, one row per comparison, with the environment above."""
    heads = ["network", "layer", "batch", "what", "s a unit", "beside", "s a unit", "ratio"]
    aligned = ["---", "---", "---:", "---", "---:", "---", "---:", "---:"]
    rows = [
        [
            comparison.case.network,
            comparison.case.layer,
            str(comparison.case.batch),
            comparison.stage,
            f"{comparison.seconds:.3g}",
            comparison.beside,
            f"{comparison.beside_seconds:.3g}",
            f"{comparison.ratio:.3f}",
        ]
        for comparison in comparisons
    ]
    table = ["| " + " | ".join(row) + " |" for row in (heads, aligned, *rows)]
    named = ", ".join(f"{key} {value}" for key, value in where.items())
    return "\n".join([CAPTION, "", f"- {named}", "", *table])


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print; progress goes to stderr."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="benchmarks: %(message)s")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = find_device(options.device)
    comparisons = []
    for case in plan(options.batches, options.quick):
        for comparison in measure(
            case, device, options.seconds or (5.0 if options.quick else 10.0)
        ):
            logger.info("%s, %s: %.3f", case, comparison.stage, comparison.ratio)
            comparisons.append(comparison)
    where = environment("fvis", device)
    if options.json is not None:
        content = [comparison.to_json() for comparison in comparisons]
        write_json(options.json, {"environment": where, "comparisons": content})
    sys.stdout.write(markdown(comparisons, where) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.motion", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, help="CPU threads (torch's own choice)")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="rows (1 8)")
    parser.add_argument("--seconds", type=float, help="to spend on a comparison, or more (10)")
    parser.add_argument("--quick", action="store_true", help="5 seconds, r3d_18 with one row")
    parser.add_argument("--json", type=Path, help="also write all comparisons to this file")
    return parser


def _method(context: Context) -> TextureMotionConfig:
    assert isinstance(context.config.method, TextureMotionConfig)
    return context.config.method


if __name__ == "__main__":
    main()
