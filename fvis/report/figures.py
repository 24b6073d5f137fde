"""`python -m fvis.report.figures MODE [FIGURE...]`: the papers' figures, from their experiments.

Each figure of figures.yaml is laid out from the runs of its experiments; runs that are done are
used again.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from fvis.errors import RequestError, unknown
from fvis.report.figure_clips import write_motion
from fvis.report.figure_images import (
    write_adversarial,
    write_comparison,
    write_layers,
    write_outputs,
)
from fvis.report.figure_runs import Job, Run, carry_out, jobs_of, missing_files

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
    """The figures of a mode, or those of them that are named; raises `RequestError`."""
    modes = OmegaConf.to_container(OmegaConf.load(DEFINITIONS))
    assert isinstance(modes, dict)
    if mode not in modes:
        raise unknown("mode", mode, modes)
    for name in names:
        if name not in modes[mode]:
            raise unknown("figure", name, modes[mode])
    return [Definition(name, **modes[mode][name]) for name in names or modes[mode]]


def make(definition: Definition, directory: Path) -> list[Path]:
    """Carry out the figure's runs below `directory`/runs and lay it out; the files written.

    Raises `RequestError` where a run fails, or a file of weights is not there.
    """
    jobs: list[Job] = []
    for experiment in definition.experiments:
        jobs += jobs_of(experiment)
    absent = [name for job in jobs for name in missing_files(job)]
    if absent:
        raise RequestError(f"no file {absent[0]}")
    runs = [carry_out(job, directory / "runs") for job in jobs]
    return KINDS[definition.kind](directory / definition.name, runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the figures asked for; those that cannot be made are named, and the others go on."""
    parser = argparse.ArgumentParser(prog="python -m fvis.report.figures")
    parser.add_argument("mode", help="hub, local or offline")
    parser.add_argument("figures", nargs="*", help="names in figures.yaml; all when none is given")
    parser.add_argument("--out", type=Path, default=Path("outputs/figures"))
    given = parser.parse_args(arguments)
    failed = 0
    try:
        asked = definitions(given.mode, given.figures)
    except RequestError as error:
        sys.stderr.write(f"figures: error: {error}\n")
        return 2
    for definition in asked:
        try:
            for path in make(definition, given.out / given.mode):
                sys.stdout.write(f"{path}\n")
        except RequestError as error:
            failed += 1
            sys.stderr.write(f"figures: {definition.name} left out: {error}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
