"""A report as one Markdown table, what a tool can't do in notes below."""

from collections.abc import Sequence

from .cases import BARE, FULL, FVIS, PEERS, PLAIN, Case, Measurement
from .driver import Report

HEADS = {
    PLAIN: "plain",
    FULL: "whole input",
    "lucent": "Lucent",
    "horama": "Horama",
    "torch_dreams": "torch-dreams",
}
CAPTION = (
    "fvis: unit-steps per second, batch rows per median wall second of a step (peak memory in "
    "GiB), on a canvas of that side. fvis / bare: the ratio of step times to the bare limit's, a "
    "pass of the same folded network on the same canvas to the layer and back. Then how many times "
    "as long as fvis a step takes: plain (whole input, nothing folded, usual memory layout), on "
    "the whole input alone, and with other tools; x2 where they feed the network twice the pixels "
    "of a 224 px picture. Empty where it would be the same, or is not measured."
)


def markdown(report: Report, cases: Sequence[Case]) -> str:
    """The table, one row per case, with the environments above and the notes below."""
    found = {measurement.tool for measurement in report.measurements}
    columns = [name for name in HEADS if name in found or name not in PEERS]
    notes: dict[str, int] = {}
    heads = ["network", "layer", "position", "batch", "canvas, px", "fvis", "fvis / bare"]
    rows = [[*heads, *(HEADS[name] for name in columns)]]
    rows.append(["---"] * 3 + ["---:"] * (len(rows[0]) - 3))
    for case in cases:
        ours = report.find(FVIS, case)
        side = "full" if ours is None or ours.side is None else str(ours.side)
        overhead = report.ratio(FVIS, BARE, case)
        rows.append([
            *(case.network, case.layer, case.position, str(case.batch), side),
            _own(ours, notes),
            "" if overhead is None else f"{overhead:.3f}",
            *(_times(report, name, case, notes) for name in columns),
        ])  # fmt: skip
    table = ["| " + " | ".join(row) + " |" for row in rows]
    below = [f"{number}. {note}" for note, number in notes.items()]
    return "\n".join([CAPTION, "", *_environments(report), "", *table, "", *below])


def _own(measurement: Measurement | None, notes: dict[str, int]) -> str:
    if measurement is None:
        return ""
    if measurement.rate is None:
        return f"can't{_mark(measurement, notes)}"
    memory = "" if measurement.memory is None else f" ({measurement.memory / 2**10:.1f})"
    return f"{measurement.rate:.3g}{memory}{_mark(measurement, notes)}"


def _times(report: Report, tool: str, case: Case, notes: dict[str, int]) -> str:
    measurement, times = report.find(tool, case), report.ratio(tool, FVIS, case)
    if measurement is None:
        return ""
    if times is None:
        return f"can't{_mark(measurement, notes)}" if measurement.seconds is None else ""
    pixels = "" if abs(measurement.pixels - 1) < 0.005 else f" x{measurement.pixels:.2f}"
    return f"{times:.2f}{pixels}{_mark(measurement, notes)}"


def _mark(measurement: Measurement, notes: dict[str, int]) -> str:
    note = measurement.note
    return f" [{notes.setdefault(note, len(notes) + 1)}]" if note else ""


def _environments(report: Report) -> list[str]:
    return [
        f"- {tool}: " + ", ".join(f"{key} {value}" for key, value in entries.items())
        for tool, entries in report.environments.items()
    ]
