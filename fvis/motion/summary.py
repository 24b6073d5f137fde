"""The printable figure that summarises one unit's texture and motion."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecBase
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fvis.artifacts import to_bytes, write_figure
from fvis.motion.colours import SMALLEST_SCALE, flow_colours
from fvis.motion.tuning import peak
from fvis.record.motion import TuningRecord

WIDTH, HEIGHT, DPI = 7.2, 5.0, 200  # inches (the width of a two-column page), dots per inch
TEXT, SMALL = 8, 7  # font sizes in points
TITLE_COLUMNS, TITLE_LINES = 90, 3  # the title has at most so many characters a line, and lines
NOTE_COLUMNS = 22  # most characters in a line of the note
CELLS = 8  # arrows along the frame's longer side
BINS = 24  # of the direction histogram: 15 degrees each, the first centred on 0 (right)
SHOWN = (-1.0, 2.0)  # widest range of the activation axis; longer bars are cut off at its ends
STANDS = f"still (below {SMALLEST_SCALE:g} px/frame)"
BAR, GRID = "#4c72b0", "#bbbbbb"


@dataclass(frozen=True)
class Summary:
    """The data of one unit's figure; RGB in [0, 1], x right and y down."""

    title: str
    texture: Tensor  # (3, H', W')
    offset: Tensor  # (2,) px, [x, y]: where the frame's top left pixel lies in the texture
    velocity: Tensor  # (2, T-1, H, W) px/frame
    weight: Tensor  # (T-1, H, W), not negative: how much each pixel matters to the unit
    frames: Tensor  # (3, T, H, W): the reconstruction
    activations: Mapping[str, float]  # name -> share of the reference's activation
    tuning: TuningRecord = field(default_factory=TuningRecord)
    natural: TuningRecord = field(default_factory=TuningRecord)  # of drifting photographs
    direction_deg: float | None = None
    spread_deg: float = 0.0  # by how much the finalists' directions deviate
    note: str = ""  # stands in place of arrows and directions, if they would say what is not so


def write_summary(path: Path, unit: Summary) -> None:
    """Write the figure as a PNG, 7.2 inches wide at 200 dpi. The same unit gives the same bytes.

    Panels: (a) the texture with the frame's outline and the mean flow; (b) the histogram of
    directions, the spread of the answers and the network's tuning curve; (c) the activations; (d)
    the mean velocity over time; (e) the first, middle and last frame. Activations that are not
    finite are shown as "n/a".
    """
    velocity, weight = finite(unit.velocity), positive(unit.weight)
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    title = fill(unit.title, TITLE_COLUMNS, max_lines=TITLE_LINES, placeholder=" ...")
    figure.suptitle(title, fontsize=TEXT + 1, parse_math=False)
    rows = figure.add_gridspec(2, 1, height_ratios=(1.5, 1))
    above = rows[0].subgridspec(1, 3, width_ratios=(1.25, 1.1, 0.75))
    below = rows[1].subgridspec(1, 2, width_ratios=(1, 1.5))
    draw_texture(
        figure.add_subplot(above[0]), unit.texture, unit.offset, velocity, weight, unit.note
    )
    polar = figure.add_subplot(above[1], projection="polar")
    draw_directions(polar, velocity, weight, unit.note)
    draw_tuning(polar, unit.tuning, "line: response to the texture's drift")
    draw_tuning(polar, unit.natural, "dashed: to drifting photographs", "--")
    if unit.direction_deg is not None and not unit.note:
        draw_spread(polar, unit.direction_deg, unit.spread_deg)
    draw_activations(figure.add_subplot(above[2]), unit.activations)
    draw_speeds(figure.add_subplot(below[0]), velocity, weight)
    draw_frames(figure, below[1].subgridspec(1, 3), unit.frames)
    write_figure(path, figure, DPI)


def mean_flow(
    velocity: Tensor, weight: Tensor, cells: int = CELLS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions and velocities of the flow arrows: two arrays (N, 2), [x, y].

    The frame is divided into roughly square cells, `cells` along the longer side. Positions are
    the cells' centres in the frame's pixels. Velocities are weighted means in px/frame over each
    cell and all times of `velocity` (2, T-1, H, W), with positive weights (T-1, H, W).
    """
    _, _, h, w = velocity.shape
    longer = max(h, w)
    rows, columns = (min(side, max(1, round(cells * side / longer))) for side in (h, w))
    total = functional.adaptive_avg_pool2d((velocity * weight).sum(1), (rows, columns))
    share = functional.adaptive_avg_pool2d(weight.sum(0)[None], (rows, columns))
    y = (np.arange(rows) + 0.5) * h / rows - 0.5
    x = (np.arange(columns) + 0.5) * w / columns - 0.5
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    return places, (total / share).flatten(1).T.numpy()


def direction_shares(velocity: Tensor, weight: Tensor, bins: int = BINS) -> NDArray[np.float64]:
    """The histogram (bins,) of directions, weighted by weight times speed. It sums to 1.

    Bin i is centred on i * 360 / bins degrees: 0 right, 90 up. All zeros if nothing moves.
    """
    x, y = velocity
    index = (torch.atan2(-y, x) * bins / (2 * math.pi)).round().long() % bins
    mass = weight * velocity.norm(dim=0)
    total = torch.bincount(index.flatten(), mass.flatten(), bins)
    return (total / total.sum().clamp_min(1e-30)).numpy()


def speeds_over_time(velocity: Tensor, weight: Tensor) -> NDArray[np.float64]:
    """Weighted mean speed, rightward and upward velocity over time: (3, T-1) in px/frame."""
    x, y = velocity
    parts = torch.stack([velocity.norm(dim=0), x, -y])
    return ((parts * weight).sum((2, 3)) / weight.sum((1, 2))).numpy()


def finite(values: Tensor) -> Tensor:
    """`values` in double precision on the CPU, with 0 for those that are not finite."""
    return torch.nan_to_num(values.detach().cpu().double(), 0.0, 0.0, 0.0)


def positive(weight: Tensor) -> Tensor:
    """Weights of mean 1, plus a tiny constant: where all weights are 0 the plain mean results."""
    weight = finite(weight)
    return weight / weight.mean().clamp_min(1e-30) + 1e-6


def draw_texture(
    axes: Axes,
    texture: Tensor,
    offset: Tensor,
    velocity: Tensor,
    weight: Tensor,
    note: str = "",
) -> None:
    """Draw the texture, the frame's outline and arrows of the mean flow, the longest one cell long.

    If no arrow reaches 0.1 px/frame none is drawn, because they would show only noise; nor is one
    drawn if there is a note.
    """
    _, _, h, w = velocity.shape
    corner = finite(offset).numpy()
    _title(axes, "(a) texture and mean flow")
    _picture(axes, texture)
    outline = [withStroke(linewidth=2.2, foreground="black")]
    axes.add_patch(
        Rectangle(
            (corner[0] - 0.5, corner[1] - 0.5), w, h,
            fill=False, edgecolor="white", linewidth=1.0, path_effects=outline,
        )
    )  # fmt: skip
    places, arrows = mean_flow(velocity, weight)
    longest = np.linalg.norm(arrows, axis=1).max()
    moves = longest >= SMALLEST_SCALE and not note
    number = f"{longest:.2g}" if longest < 100 else f"{longest:.0f}"
    reason = "see (b)" if note else STANDS
    caption = f"longest arrow: {number} px/frame" if moves else f"no arrow: {reason}"
    axes.set_xlabel(caption, fontsize=SMALL, loc="left")
    if not moves:
        return
    scale = longest * CELLS / max(h, w)
    axes.quiver(
        *(places + corner).T, *arrows.T,
        angles="xy", scale_units="xy", scale=scale, pivot="mid", units="inches",
        width=0.022, headwidth=3.6, headlength=3.8, headaxislength=3.4, minlength=0.5,
        color="white", edgecolor="black", linewidth=0.5,
    )  # fmt: skip


def draw_directions(axes: Axes, velocity: Tensor, weight: Tensor, note: str = "") -> None:
    """Draw the polar histogram of directions, each bar in its direction's colour (`flow_colours`).

    If the mean speed is below 0.1 px/frame in every frame, or if there is a note, words take the
    place of the bars.
    """
    shares = direction_shares(velocity, weight)
    if note or speeds_over_time(velocity, weight)[0].max() < SMALLEST_SCALE:
        shares = np.zeros_like(shares)
    angles = np.arange(BINS) * 2 * math.pi / BINS
    flow = torch.from_numpy(np.stack([np.cos(angles), -np.sin(angles)]))
    colours = flow_colours(flow, 1.0).T.numpy()
    some = shares > 0
    axes.bar(
        angles[some], shares[some], width=2 * math.pi / BINS,
        color=colours[some], edgecolor="white", linewidth=0.4,
    )  # fmt: skip
    _title(axes, "(b) directions", x=-0.14, y=1.0)  # beside the label of 90 degrees
    axes.set_xticks(
        [i * math.pi / 2 for i in range(4)], ["0°\nright", "90° up", "180°\nleft", "270° down"]
    )
    axes.tick_params(labelsize=SMALL, pad=1)
    axes.grid(color=GRID, linewidth=0.4)
    axes.set(axisbelow=True, anchor="N")
    axes.spines["polar"].set(color=GRID, linewidth=0.8)
    axes.set_xlabel("share of weighted speed", fontsize=SMALL)
    _radii(axes, shares, note)


def draw_tuning(axes: Axes, tuning: TuningRecord, caption: str, line: str = "-") -> None:
    """Draw the responses to what drifts as a closed line, their peak at the rim.

    Responses too weak for a direction index are not drawn.
    """
    best, index = max(tuning.responses, key=peak, default=[]), tuning.direction_index
    rim = axes.get_ylim()[1]
    if index is None or math.isnan(index) or not peak(best) > 0:
        return
    values = [rim * max(0.0, value or 0.0) / peak(best) for value in best]
    angles = np.arange(len(values) + 1) * 2 * math.pi / len(values)
    closed = [*values, values[0]]
    axes.plot(angles, closed, line, color="black", linewidth=1.0, clip_on=False)
    axes.set_ylim(0, rim)
    axes.set_xlabel(f"{axes.get_xlabel()}\n{caption}", fontsize=SMALL)


def draw_spread(axes: Axes, direction_deg: float, spread_deg: float) -> None:
    """Draw the direction's standard deviation either way as a fan of grey."""
    width, rim = max(1.0, spread_deg), axes.get_ylim()[1]
    angles = np.radians(np.linspace(direction_deg - width, direction_deg + width, 40))
    axes.fill_between(angles, 0, rim, color="black", alpha=0.15, linewidth=0, zorder=3)


def _radii(axes: Axes, shares: NDArray[np.float64], note: str) -> None:
    """Draw a few labelled rings; the labels stand where the bars are lowest, between the angles."""
    axes.set_yticks([])
    if not shares.any():
        axes.text(
            0.5, 0.56, fill(note, NOTE_COLUMNS) or STANDS, transform=axes.transAxes,
            fontsize=SMALL, horizontalalignment="center", zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
        )  # fmt: skip
        return
    step = next(step for step in (0.02, 0.05, 0.1, 0.2, 0.25) if 4 * step >= shares.max() - 1e-6)
    rings = step * np.arange(1, max(2, math.ceil(shares.max() / step - 1e-6)) + 1)
    axes.set_ylim(0, rings[-1])
    axes.set_yticks(rings, [""] * len(rings))
    gaps = np.arange(22.5, 360, 45)
    nearby = [shares[[int(gap), int(gap) + 1]].sum() for gap in (gaps * BINS - 1) / 360]
    angle = math.radians(gaps[int(np.argmin(nearby))])
    for ring in rings:
        axes.text(
            angle, ring, f"{100 * ring:.0f} %", fontsize=SMALL - 1,
            horizontalalignment="center", verticalalignment="center",
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )  # fmt: skip


def draw_activations(axes: Axes, activations: Mapping[str, float]) -> None:
    """Draw a bar and a number for each activation; the dashed line at 1 is the reference."""
    values = np.array(list(activations.values()), dtype=float)
    known = np.where(np.isfinite(values), values, 0.0).clip(-10, 10)
    rows = np.arange(len(values))
    axes.barh(rows, known, height=0.6, color=BAR)
    for row, value in enumerate(values):
        axes.text(
            1.04, row, _number(value), fontsize=SMALL, verticalalignment="center",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.6)
    axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_yticks(rows, list(activations), fontsize=SMALL, parse_math=False)
    axes.set_ylim(max(len(values), 1) - 0.5, -0.5)
    low, high = known.min(initial=0.0) - 0.06, known.max(initial=1.0) + 0.06
    axes.set_xlim(max(low, SHOWN[0]), min(high, SHOWN[1]))
    axes.set_xlabel("above grey, relative\nto the strongest clip", fontsize=SMALL)
    _title(axes, "(c) activation")
    _bare(axes)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "n/a"
    # Adding 0.0 turns -0.0 into 0.0.
    text = f"{value:.3g}" if abs(value) >= 100 else f"{round(value, 2) + 0.0:.2f}"
    return text.replace("-", "\N{MINUS SIGN}")


def draw_speeds(axes: Axes, velocity: Tensor, weight: Tensor) -> None:
    """Draw the weighted mean speed and velocity between successive frames."""
    speeds = speeds_over_time(velocity, weight)
    time = np.arange(speeds.shape[1]) + 0.5  # each value lies between two frames
    right, up = flow_colours(torch.tensor([[1.0, 0.0], [0.0, -1.0]]), 1.0).T.tolist()
    labels = ("speed", "rightward", "upward")
    for values, colour, label in zip(speeds, ("black", right, up), labels, strict=True):
        axes.plot(time, values, ".-", color=colour, label=label, linewidth=1.2, markersize=3)
    axes.axhline(0, color=GRID, linewidth=0.6, zorder=0)
    low, high = min(0.0, speeds.min()), max(0.1, speeds.max())
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin, high + 5 * margin)  # room for the legend
    axes.set_xlim(0, speeds.shape[1])
    axes.locator_params(axis="x", integer=True, nbins=8)
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlabel("frame", fontsize=TEXT)
    axes.set_ylabel("px/frame", fontsize=TEXT)
    axes.legend(
        loc="upper center", ncols=3, fontsize=SMALL, frameon=False, borderaxespad=0.1,
        handlelength=1.0, handletextpad=0.4, columnspacing=1.0,
    )  # fmt: skip
    _title(axes, "(d) weighted mean velocity")
    _bare(axes)


def draw_frames(figure: Figure, places: GridSpecBase, frames: Tensor) -> None:
    """Draw the first, middle and last frame of the reconstruction in a row."""
    count = frames.shape[1]
    chosen = sorted({0, count // 2, count - 1})
    for i, frame in enumerate(chosen):
        axes = figure.add_subplot(places[i])
        _picture(axes, frames[:, frame])
        axes.set_xlabel(f"frame {frame}", fontsize=SMALL)
        if i == 0:
            _title(axes, "(e) reconstruction")


def _title(axes: Axes, text: str, x: float = 0.0, y: float | None = None) -> None:
    axes.set_title(text, loc="left", fontsize=TEXT, fontweight="bold", x=x, y=y)


def _picture(axes: Axes, rgb: Tensor) -> None:
    axes.imshow(to_bytes(torch.nan_to_num(rgb)))
    axes.set(xticks=[], yticks=[], anchor="NW")


def _bare(axes: Axes) -> None:
    """Remove the top and right spines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)
