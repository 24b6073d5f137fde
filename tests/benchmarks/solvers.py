"""How well texture_motion's solvers take clips apart, on networks whose answers are known.

`python -m tests.benchmarks.solvers [SHARED] [--json FILE] [OVERRIDE...]` runs each solver on
planted_motion and drift_r3d and, with the folder of models/shufflenet3d.py and
weights/shufflenet3d_jester.safetensors, on four gestures. An OVERRIDE is a setting of `fvis run`.
What the runs write stays in outputs/solvers.
"""

import argparse
import contextlib
import json
import math
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from fvis import runner, schema
from fvis.artifacts import write_json
from fvis.compose import compose
from fvis.methods.texture_motion import TextureMotion
from fvis.zoo import drifts, planted

SOLVERS = ("factored", "tracking", "joint")
PLANTED_UNITS = (1, 3, 9, 11, 14, 18)  # two of middling speed, two fast, a slow and a still one
SWIPES = (15, 16, 17, 18)  # down, left, right, up, as the one who swipes sees it
FOLDER = Path("outputs/solvers")
HEADS = (
    "network", "solver", "units", "kept, mean", "least", "direction error, mean", "max",
    "speed error", "still units move", "falls reversed", "own class", "CPU s a unit",
)  # fmt: skip
CAPTION = (
    "kept: the reconstruction's activation over the free clip's; direction error: degrees of the "
    "normal velocity off the known direction; speed error: of the normal speed, mean; still "
    "units move: px/frame, the most; falls reversed: of those known to move, how many "
    "reconstructions lose half of their activation or more when run backwards; own class: how many "
    "the network takes for the class they are of; CPU s: of the decomposition "
    "alone, without the free clip."
)


@dataclass(frozen=True)
class Truth:
    """What is known of a unit's motion: degrees and px/frame, None where it isn't; speed 0: still.

    >>> Truth(90.0, 2.0).still
    False
    """

    direction_deg: float | None = None
    speed: float | None = None

    @property
    def still(self) -> bool:
        """Whether the unit is known to prefer what stands still."""
        return self.speed == 0


@dataclass(frozen=True)
class Case:
    """A network as `fvis run` is told of it, and what is known of its units."""

    network: str
    settings: tuple[str, ...]
    truths: Mapping[int, Truth]


@dataclass(frozen=True)
class Finding:
    """What a solver found of a unit.

    `kept` is the reconstruction's activation over the free clip's, `reversed` the same of the
    reconstruction run backwards, both NaN where the free clip doesn't excite the unit. `speed` is
    the normal velocity's, px/frame; `own` whether the reconstruction is classified as the unit,
    None where that isn't known.
    """

    unit: int
    truth: Truth
    kept: float
    reversed: float
    direction_deg: float | None
    speed: float
    own: bool | None

    @property
    def direction_error(self) -> float | None:
        """Degrees between the direction found and the known one; None where either is missing."""
        if self.truth.direction_deg is None or self.direction_deg is None:
            return None
        return degrees_apart(self.direction_deg, self.truth.direction_deg)

    @property
    def lost(self) -> bool:
        """Whether a known direction was not found: nothing moves on the whole."""
        return self.truth.direction_deg is not None and self.direction_deg is None

    @property
    def speed_error(self) -> float | None:
        """The normal speed's error as a share of the known one; None where none is known."""
        if not self.truth.speed:
            return None
        return abs(self.speed / self.truth.speed - 1)

    @property
    def falls_reversed(self) -> bool:
        """Whether running backwards costs the reconstruction half of its activation or more."""
        return self.reversed <= 0.5 * self.kept


@dataclass(frozen=True)
class Row:
    """One solver on one network; `cpu_seconds` a unit are those of the decomposition alone."""

    network: str
    solver: str
    findings: tuple[Finding, ...]
    cpu_seconds: float

    def cells(self) -> list[str]:
        """The row's cells, in the order of HEADS; empty where nothing is known."""
        kept = [finding.kept for finding in self.findings]
        directions = _known(finding.direction_error for finding in self.findings)
        lost = sum(finding.lost for finding in self.findings)
        speeds = _known(finding.speed_error for finding in self.findings)
        resting = [finding.speed for finding in self.findings if finding.truth.still]
        falls = [f.falls_reversed for f in self.findings if not f.truth.still]
        own = _known(finding.own for finding in self.findings)
        return [
            self.network,
            self.solver,
            str(len(self.findings)),
            f"{100 * statistics.fmean(kept):.0f} %",
            f"{100 * min(kept):.0f} %",
            f"{statistics.fmean(directions):.1f}" if directions else "",
            (f"{max(directions):.1f}" if directions else "") + (f" ({lost} lost)" if lost else ""),
            f"{100 * statistics.fmean(speeds):.0f} %" if speeds else "",
            f"{max(resting):.2f}" if resting else "",
            f"{sum(falls)} of {len(falls)}" if falls else "",
            f"{sum(own)} of {len(own)}" if own else "",
            f"{self.cpu_seconds:.1f}",
        ]

    def to_json(self) -> dict[str, Any]:
        """All that was found, unit by unit."""
        return asdict(self)


def degrees_apart(one: float, other: float) -> float:
    """The angle between two directions, in [0, 180].

    >>> degrees_apart(350.0, 10.0)
    20.0
    """
    return abs((one - other + 180) % 360 - 180)


def all_cases(shared: Path | None) -> list[Case]:
    """The networks; that of gestures only where the folder that has it is given."""
    energy = planted.answer_key().energy
    cases = [
        Case(
            "planted_motion",
            (
                "model=planted_motion",
                "target.layer=energy",
                "target.position=center",
                "transforms=none",
            ),
            {unit: _planted_truth(energy[unit]) for unit in PLANTED_UNITS},
        ),
        Case("drift_r3d", ("model=drift_r3d", "target.layer=logits"), _drift_truths()),
    ]
    if shared is not None:
        cases.append(Case("gestures", gesture_settings(shared), dict.fromkeys(SWIPES, Truth())))
    return cases


def gesture_settings(shared: Path) -> tuple[str, ...]:
    """The network of gestures, which takes RGB in 0..255 minus its mean."""
    mean = [round(level / 255, 7) for level in (114.7748, 107.7354, 99.4750)]
    std = [round(1 / 255, 9)] * 3
    return (
        "model=factory",
        f"model.factory={shared}/models/shufflenet3d.py:build",
        f"+model.kwargs.checkpoint={shared}/weights/shufflenet3d_jester.safetensors",
        "model.input.frames=16",
        "model.input.height=112",
        "model.input.width=112",
        f"model.input.mean={_list(mean)}",
        f"model.input.std={_list(std)}",
        "target.layer=logits",
    )


def measure(case: Case, solver: str, overrides: Sequence[str]) -> Row:
    """Run fvis with one solver on a network's units, and read what it left."""
    settings = [
        *case.settings,
        f"target.units={_list(case.truths)}",
        "method=texture_motion",
        f"method.solver={solver}",
        "output.mp4=false",
        *overrides,
    ]
    config = schema.parse(compose(settings))
    folder = FOLDER / case.network / solver
    with decomposition_timed() as spent:
        runner.run(config, folder)
    findings = [
        read(folder / "units" / f"{config.target.layer}-{unit:05d}" / "metadata.json", truth)
        for unit, truth in case.truths.items()
    ]
    return Row(case.network, solver, tuple(findings), sum(spent) / len(findings))


@contextlib.contextmanager
def decomposition_timed() -> Iterator[list[float]]:
    """A context that gives the CPU seconds of each batch's decomposition, as they come in."""
    spent: list[float] = []
    decompose = TextureMotion._decompose

    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.process_time()
        parts = decompose(*arguments, **named)
        spent.append(time.process_time() - started)
        return parts

    with mock.patch.object(TextureMotion, "_decompose", timed):
        yield spent


def read(metadata: Path, truth: Truth) -> Finding:
    """What a unit's metadata.json says, beside what is known."""
    content = json.loads(metadata.read_text())
    motion, activations = content["motion"], content["activations"]
    becomes = content.get("becomes")
    free = _number(activations.get("optimal"))
    return Finding(
        unit=content["unit"],
        truth=truth,
        kept=_number(activations["reconstruction"]) / free,
        reversed=_number(activations["reversed"]) / free,
        direction_deg=motion["direction_deg"],
        speed=math.hypot(*map(_number, motion["normal_velocity"])),
        own=becomes and becomes["reconstruction"] == (content.get("class") or content["unit"]),
    )


def markdown(rows: Iterable[Row]) -> str:
    """The table, one row per network and solver."""
    lines = [list(HEADS), ["---"] * 2 + ["---:"] * (len(HEADS) - 2)]
    lines += [row.cells() for row in rows]
    return "\n".join([CAPTION, "", *("| " + " | ".join(cells) + " |" for cells in lines)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, run, print; progress goes to stderr."""
    options = _parser().parse_intermixed_args(arguments)
    folders = [text for text in options.given if "=" not in text]
    overrides = [text for text in options.given if "=" in text]
    if len(folders) > 1:
        _parser().error(f"one folder is enough: {' '.join(folders)}")
    shared = Path(folders[0]).resolve() if folders else None
    cases = [case for case in all_cases(shared) if options.only in case.network]
    rows = [measure(case, solver, overrides) for case in cases for solver in options.solvers]
    if options.json is not None:
        content = {"overrides": overrides, "rows": [row.to_json() for row in rows]}
        write_json(options.json, content)
    sys.stdout.write(" ".join(["Settings:", *(overrides or ["the defaults"])]) + "\n\n")
    sys.stdout.write(markdown(rows) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.solvers", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("given", nargs="*", metavar="SHARED | OVERRIDE")
    parser.add_argument("--json", type=Path, help="also write what each unit gave to this file")
    parser.add_argument("--only", default="", help="networks whose name holds this text")
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=SOLVERS)
    return parser


def _planted_truth(unit: planted.EnergyUnit) -> Truth:
    # A still unit's direction is that across its crests: nothing moves there.
    return Truth(unit.direction_deg if unit.speed else None, unit.speed)


def _drift_truths() -> dict[int, Truth]:
    """The eight directions, whose speeds vary, and still."""
    truths = {index: Truth(45.0 * index) for index in range(len(drifts.DIRECTIONS))}
    return {**truths, drifts.CLASSES.index("still"): Truth(None, 0.0)}


def _known(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _number(value: float | None) -> float:
    """A number as it was before JSON, which knows no NaN."""
    return math.nan if value is None else float(value)


def _list(values: Iterable[object]) -> str:
    return f"[{','.join(map(str, values))}]"


if __name__ == "__main__":
    main()
