"""A report as one Markdown table, what a tool can't do in notes below."""

from collections.abc import Sequence

from .cases import BARE, Case, Measurement
from .driver import Report, ratio

HEADS = {
    "fvis": "fvis",
    BARE: "bare limit",
    "lucent": "Lucent",
    "horama": "Horama",
    "torch_dreams": "torch-dreams",
}
CAPTION = (
    "Unit-steps per second (peak memory in GiB): batch rows per median wall second of a step; "
    "x2 where the network was fed twice the pixels of a 224 px picture per unit-step. "
    "fvis / bare is the ratio of the median step times, measured in turns."
)


def markdown(report: Report, cases: Sequence[Case], tools: Sequence[str]) -> str:
    """The table, one row per case, with the environments above and the notes below."""
    columns = [name for name in HEADS if name in tools or (name == BARE and "fvis" in tools)]
    notes: dict[str, int] = {}
    heads = ["network", "layer", "batch", *(HEADS[name] for name in columns), "fvis / bare"]
    rows = [heads, ["---"] * 2 + ["---:"] * (len(heads) - 2)]
    for case in cases:
        cells = [_cell(report.find(name, case), notes) for name in columns]
        overhead = ratio(report, case)
        shown = "" if overhead is None else f"{overhead:.3f}"
        rows.append([case.network, case.layer, str(case.batch), *cells, shown])
    table = ["| " + " | ".join(row) + " |" for row in rows]
    below = [f"{number}. {note}" for note, number in notes.items()]
    return "\n".join([CAPTION, "", *_environments(report), "", *table, "", *below])


def _cell(measurement: Measurement | None, notes: dict[str, int]) -> str:
    if measurement is None:
        return ""
    mark = ""
    if measurement.note:
        mark = f" [{notes.setdefault(measurement.note, len(notes) + 1)}]"
    if measurement.rate is None:
        return f"can't{mark}"
    memory = "" if measurement.memory is None else f" ({measurement.memory / 2**10:.1f})"
    share = "" if abs(measurement.pixels - 1) < 0.005 else f" x{measurement.pixels:.2f}"
    return f"{measurement.rate:.3g}{memory}{share}{mark}"


def _environments(report: Report) -> list[str]:
    return [
        f"- {HEADS[tool]}: " + ", ".join(f"{key} {value}" for key, value in entries.items())
        for tool, entries in report.environments.items()
    ]
