"""The figure of a study: what each optimum does to every unit, and the greatest synergies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from fvis import artifacts
from fvis.artifacts import read_png
from fvis.interactions.measures import NONE, Interaction
from fvis.interactions.study import Study

WIDTH, DPI = 7.2, 200  # inches (the width of a two-column page), dots per inch
MATRICES, ROW = 3.4, 1.15  # inches, height of the two matrices and of an interaction
TOLD = 6  # interactions with pictures
NUMBERED = 10  # units; responses of more are not written into their cells
SMALL = 6  # font size in points
PARTS = ("first\nalone", "second\nalone", "sum of\nits parts", "together")


def write_figure(path: Path, study: Study) -> None:
    """Write a study's figure as a PNG file."""
    told = [one for one in study.found if one.kind != NONE][:TOLD]
    height = MATRICES + ROW * len(told)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    ratios = [MATRICES, *[ROW] * len(told)]
    above, *below = figure.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
    left, right = above.subplots(1, 2)
    title = f"{study.layer}: response of a unit (column)\nto the optimum of another (row)"
    unit = "natural standard deviations"
    _matrix(left, study.alone, study.labels, title, unit, study.alone.abs().max().item())
    title = f"co-activation: correlation over\n{study.photographs} photographs"
    _matrix(right, study.natural.correlation, study.labels, title, "Pearson's r", 1.0)
    for place, one in zip(below, told, strict=True):
        _interaction(place, study, one)
    artifacts.write_figure(path, figure, DPI)


def _matrix(
    axes: Axes, values: Tensor, labels: Sequence[str], title: str, unit: str, reach: float
) -> None:
    """Draw a matrix (K, K), from blue (-reach) over white to red (reach)."""
    shown = axes.imshow(values.numpy(), cmap="RdBu_r", vmin=-reach, vmax=reach)
    places = range(len(labels))
    axes.set_xticks(places, labels, fontsize=SMALL, rotation=90 if max(map(len, labels)) > 4 else 0)
    axes.set_yticks(places, labels, fontsize=SMALL)
    axes.set_title(title, fontsize=SMALL + 1)
    bar = axes.figure.colorbar(shown, ax=axes, shrink=0.7)
    bar.set_label(unit, fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    if len(labels) <= NUMBERED:
        for row in places:
            for column in places:
                value = values[row, column].item()
                colour = "white" if abs(value) > 0.6 * reach else "black"
                text = f"{value:.1f}" if reach > 1 else f"{value:.2f}"
                axes.text(
                    column, row, text, ha="center", va="center", fontsize=SMALL - 1, color=colour
                )


def _interaction(place: SubFigure, study: Study, one: Interaction) -> None:
    """Draw an interaction: the optima of both units, their joint optimum, the unit's responses."""
    first, second, unit = (study.labels[index] for index in (one.first, one.second, one.unit))
    axes = place.subplots(1, 5, width_ratios=[1, 1, 1, 1, 3])
    shown: dict[str, int | tuple[int, int]] = {
        f"first: {first}": one.first,
        f"second: {second}": one.second,
        "together": (one.first, one.second),
        f"unit {unit}": one.unit,
    }
    for each, (title, key) in zip(axes, shown.items(), strict=False):
        each.imshow(np.moveaxis(read_png(study.picture(key)), 0, -1))
        each.set(xticks=[], yticks=[])
        each.set_title(title, fontsize=SMALL, parse_math=False)
    bars = axes[-1]
    bars.bar(range(4), [*one.alone, sum(one.parts), one.together], color=["C0", "C0", "0.7", "C3"])
    bars.axhline(0, color="black", linewidth=0.5)
    bars.set_xticks(range(4), PARTS, fontsize=SMALL - 1)
    bars.tick_params(axis="y", labelsize=SMALL)
    bars.spines[["top", "right"]].set_visible(False)
    by = "" if one.inhibitor is None else f" by {study.labels[one.inhibitor]}"
    title = f"unit {unit}, of {first} and {second}: {one.kind}{by} (synergy {one.synergy:+.1f})"
    bars.set_title(title, fontsize=SMALL + 1, parse_math=False)
