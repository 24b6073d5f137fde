"""`python -m fvis.figures.make MODE [FIGURE...]`: the papers' figures, from their experiments.

Each figure of figures.yaml is laid out from the runs of its experiments. Finished runs are used
again.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from fvis.errors import RequestError, unknown
from fvis.figures.clips import write_motion
from fvis.figures.images import (
    write_adversarial,
    write_comparison,
    write_layers,
    write_outputs,
)
from fvis.figures.runs import MissingFileError, Run, carry_out, planned_runs
from fvis.interruption import end_on_signals

DEFINITIONS = Path(__file__).with_name("figures.yaml")

Layout = Callable[[Path, Sequence[Run]], list[Path]]

KINDS: Mapping[str, Layout] = {
    "outputs": write_outputs,
    "layers": write_layers,
    "comparison": write_comparison,
    "adversarial": write_adversarial,
    "motion": write_motion,
}


@dataclass(frozen=True)
class Definition:
    """One figure: its kind, and the experiments whose runs it shows."""

    name: str
    kind: str
    experiments: Sequence[str]


def definitions(mode: str, names: Sequence[str] = ()) -> list[Definition]:
    """All figures of a mode, or those called `names`.

    The mode `local` includes the figures of `hub`, whose weights may be in the folder as well.
    Raises `RequestError` for an unknown mode or figure.
    """
    modes = OmegaConf.to_container(OmegaConf.load(DEFINITIONS))
    assert isinstance(modes, dict)
    if mode not in modes:
        raise unknown("mode", mode, map(str, modes))
    figures = {**modes["hub"], **modes["local"]} if mode == "local" else modes[mode]
    for name in names:
        if name not in figures:
            raise unknown("figure", name, map(str, figures))
    return [Definition(name, **figures[name]) for name in names or figures]


def make(definition: Definition, directory: Path, weights: Path | None = None) -> list[Path]:
    """Carry out the figure's runs below `directory`/runs and lay it out; returns the files written.

    `weights` is a folder to read the hub's networks from. Raises `RequestError` if a run fails, and
    `MissingFileError` if a file of weights is missing.
    """
    jobs = [job for name in definition.experiments for job in planned_runs(name, weights)]
    runs = [carry_out(job, directory / "runs") for job in jobs]
    return KINDS[definition.kind](directory / definition.name, runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the figures asked for; returns the exit status.

    0: done. 1: a figure failed, none was made, or it was interrupted. 2: the request is wrong. A
    figure whose weights are missing is left out, which by itself is not a failure.
    """
    try:
        return _make_all(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("figures: interrupted; the same command goes on\n")
        return 1


def _make_all(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fvis.figures.make")
    parser.add_argument("mode", help="hub, local (weights in the folder FVIS_WEIGHTS) or offline")
    parser.add_argument("figures", nargs="*", help="names in figures.yaml; all when none is given")
    parser.add_argument("--out", type=Path, default=Path("outputs/figures"))
    given = parser.parse_args(arguments)
    made = failed = 0
    try:
        asked = definitions(given.mode, given.figures)
        weights = _weights() if given.mode == "local" else None
    except RequestError as error:
        sys.stderr.write(f"figures: error: {error}\n")
        return 2
    for definition in asked:
        try:
            paths = make(definition, given.out / given.mode, weights)
        except Exception as error:  # whatever the error, the other figures are still made
            failed += not isinstance(error, MissingFileError)
            sys.stderr.write(f"figures: {definition.name} left out: {_one_line(error)}\n")
            continue
        made += 1
        sys.stdout.writelines(f"{path}\n" for path in paths)
        sys.stdout.flush()
    return 1 if failed or not made else 0


def _one_line(error: Exception) -> str:
    if os.environ.get("FVIS_TRACEBACK") == "1":
        traceback.print_exception(error)
    kind = "" if isinstance(error, RequestError) else f"{type(error).__name__}: "
    return kind + " ".join(str(error).split())


def _weights() -> Path:
    """The folder of checkpoints; the local experiments read the same environment variable."""
    folder = os.environ.get("FVIS_WEIGHTS")
    if not folder or not Path(folder).is_dir():
        raise RequestError("local figures need FVIS_WEIGHTS, a folder of checkpoints")
    return Path(folder)


if __name__ == "__main__":
    end_on_signals()
    sys.exit(main())
