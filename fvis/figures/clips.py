"""Figures of clips: for each layer a few kernels, as free clip, texture and motion."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from torch import Tensor

from fvis.artifacts import write_gif
from fvis.figures.runs import Run
from fvis.figures.sheet import (
    GAP,
    MARGIN,
    PALE,
    SMALL,
    TEXT,
    TITLE,
    WIDTH,
    Rgb,
    Sheet,
    line_height,
    pixels,
    three_digits,
    wrapped,
)
from fvis.figures.words import about, by_model, unit_name
from fvis.motion.colours import (
    SMALLEST_SCALE,
    SPEED_PERCENTILE,
    colour_wheel,
    flow_colours,
)
from fvis.motion.decomposition import Decomposition
from fvis.motion.kinds import NOTES
from fvis.record.motion import TextureMotionRecord
from fvis.run_folder import SavedUnit
from fvis.typed_json import Number

# Kernels per row: all kernels of a layer if there are at most MOST_COLUMNS, else COLUMNS.
MOST_COLUMNS, COLUMNS = 4, 3
GUTTER = 0.2  # inches, for a layer's vertical label
BETWEEN = 0.14  # inches between kernels
WHEEL = 0.62  # inches, the side of the colour wheel
FRAME_DPI, FPS = 120, 8  # of the animation
TURNING = 0.03  # 1/frame; smaller divergence and curl are not shown
UNDER = line_height(SMALL)
ABOVE = 3 * UNDER + 0.03  # the three lines above a kernel's pictures
SHARES = {"kept": "reconstruction", "still": "static", "reversed": "reversed"}

PRINTED = (
    "Each kernel, above: free clip (first, middle and last frame); below: texture, motion (mean "
    "velocity, at full brightness from the stated speed in px/frame) and reconstruction, that is, "
    "the moving texture (middle frame)."
)
ANIMATED = (
    "Each kernel, above: free clip and reconstruction, that is, the moving texture; below: "
    "texture and motion (at full brightness from the stated speed in px/frame)."
)
LETTERS = (
    "a: activation of the free clip. kept, still, reversed: how far that of the reconstruction, "
    "of its middle frame standing still, and of its frames in reverse rises above that of a grey "
    "clip, as fractions of how far the free clip's does. Then direction (0° right, 90° up) and "
    "speed, if the unit needs motion in one direction; otherwise mean speed, behind a word if the "
    "unit needs no motion (still, flicker, appears), if no one direction is sure (undirected), or "
    "if no moving texture explains it. div, curl: expansion and clockwise rotation per frame."
)


@dataclass(frozen=True)
class Clip:
    """The pictures of one kernel, from its flow.npz: RGB in [0, 1]."""

    unit: SavedUnit
    optimal: Rgb  # (3, T, H, W)
    reconstruction: Rgb  # (3, T, H, W)
    texture: Rgb  # (3, H', W')
    motion: Rgb  # (3, T-1, H, W): the velocity in colours
    mean_motion: Rgb  # (3, H, W)
    scale: float  # px/frame at full brightness


def write_motion(stem: Path, runs: Sequence[Run]) -> list[Path]:
    """Write the page as PDF and PNG, and animated as GIF; returns the files' paths."""
    rows = [(run, [read_clip(unit) for unit in run.units]) for run in runs]
    written = grid(rows)[0].write(stem)
    path = stem.with_name(stem.name + ".gif")
    write_gif(path, animated(rows), FPS)
    return [*written, path]


def read_clip(unit: SavedUnit) -> Clip:
    """Read a unit's flow.npz, render its moving texture; raises `RequestError` if it is missing."""
    with np.load(io.BytesIO(unit.file("flow.npz").read_bytes())) as arrays:
        flow = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    parts = (flow[name][None] for name in ("texture", "offset", "displacement"))
    velocity = flow["velocity"]
    scale = brightest(velocity)
    return Clip(
        unit=unit,
        optimal=flow["optimal"].numpy(),
        reconstruction=Decomposition(*parts).render()[0].numpy(),
        texture=flow["texture"].numpy(),
        motion=flow_colours(velocity, scale).numpy(),
        mean_motion=flow_colours(velocity.mean(1), scale).numpy(),
        scale=scale,
    )


def brightest(velocity: Tensor) -> float:
    """The speed of full brightness, px/frame: a high percentile of the speeds, in two digits."""
    speeds = velocity.norm(dim=0).numpy()
    return max(SMALLEST_SCALE, float(f"{np.percentile(speeds, SPEED_PERCENTILE):.2g}"))


def grid(
    rows: Sequence[tuple[Run, Sequence[Clip]]], *, moving: bool = False
) -> tuple[Sheet, list[tuple[AxesImage, Rgb]]]:
    """The page, and if it is `moving`, its pictures of clips with those clips (3, T, H, W).

    Each of `rows` is a run, which has one layer, with the clips of its kernels.
    """
    most = max(len(clips) for _, clips in rows)
    columns = most if most <= MOST_COLUMNS else COLUMNS
    across = 2 if moving else 3
    wide = (WIDTH - 2 * MARGIN - GUTTER + BETWEEN) / columns - BETWEEN
    side = min((wide + GAP) / across - GAP, 1.0)
    step = ABOVE + 2 * (side + UNDER + 0.05) + 0.08
    lines = [-(-len(clips) // columns) for _, clips in rows]
    runs = [run for run, _ in rows]
    room = WIDTH - 3 * MARGIN - WHEEL - 0.45
    caption = wrapped(" ".join([ANIMATED if moving else PRINTED, LETTERS, about(runs)]), room)
    foot = max(len(caption) * line_height(TEXT), WHEEL + 2 * UNDER + 0.05) + MARGIN
    head = line_height(TITLE) + 0.04
    sheet = Sheet(MARGIN + head + step * sum(lines) + foot)
    sheet.text(MARGIN, MARGIN, ", ".join(by_model(runs)), TITLE, bold=True)
    y, clocks = MARGIN + head, []
    for (run, clips), count in zip(rows, lines, strict=True):
        band = step * count - 0.08
        left, middle = MARGIN + GUTTER / 2 - 0.03, y + band / 2
        sheet.text(left, middle, run.layer, TEXT, bold=True, upright=True, within=band)
        for i, clip in enumerate(clips):
            x = MARGIN + GUTTER + i % columns * (wide + BETWEEN)
            clocks += _kernel(sheet, x, y + i // columns * step, side, wide, clip, moving)
        y += step * count
    sheet.caption(y, caption)
    _legend(sheet, y)
    return sheet, clocks


def animated(rows: Sequence[tuple[Run, Sequence[Clip]]]) -> Tensor:
    """The page as an animation (3, T, H, W) in [0, 1]; shorter clips hold their last frame."""
    sheet, clocks = grid(rows, moving=True)
    sheet.figure.set_dpi(FRAME_DPI)
    canvas = sheet.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    frames = []
    for t in range(max(clip.shape[1] for _, clip in clocks)):
        for image, clip in clocks:
            image.set_data(pixels(clip[:, min(t, clip.shape[1] - 1)]))
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    stack: NDArray[np.uint8] = np.stack(frames)
    return torch.from_numpy(stack).movedim(-1, 0).float() / 255


def _kernel(
    sheet: Sheet, x: float, y: float, side: float, wide: float, clip: Clip, moving: bool
) -> list[tuple[AxesImage, Rgb]]:
    """Draw one kernel: three lines of text over two rows of labelled pictures.

    Returns the pictures that are animated, with their clips; none unless the page is `moving`.
    """
    title = f"{unit_name(clip.unit.record)}: a {three_digits(clip.unit.record.activation.final)}"
    sheet.text(x, y, title, TEXT, within=wide)
    for line, words in enumerate(_numbers(clip.unit), start=1):
        sheet.text(x, y + line * UNDER + 0.01, words, colour=PALE, within=wide)
    optimal, moved = clip.optimal, clip.reconstruction
    t = optimal.shape[1]
    scale = f"≤ {clip.scale:g} px/fr"
    if moving:
        above = {"free clip": optimal[:, 0], "reconstruction": moved[:, 0]}
        below = {"texture": clip.texture, scale: clip.motion[:, 0]}
    else:
        above = {f"frame {i + 1}": optimal[:, i] for i in (0, t // 2, t - 1)}
        below = {"texture": clip.texture, scale: clip.mean_motion}
        below["reconstr."] = moved[:, moved.shape[1] // 2]
    shown = {}
    for row, pictures in enumerate((above, below)):
        top = y + ABOVE + row * (side + UNDER + 0.05)
        for column, (label, rgb) in enumerate(pictures.items()):
            left = x + column * (side + GAP)
            shown[label] = sheet.picture(left, top, side, rgb)
            sheet.lines(left, top + side + 0.02, [label], side + GAP)
    if not moving:
        return []
    clips = {"free clip": optimal, "reconstruction": moved, scale: clip.motion}
    return [(shown[label], frames) for label, frames in clips.items()]


def _numbers(unit: SavedUnit) -> list[str]:
    """Two lines of text: the fractions of the activation, and the motion."""
    record = unit.record_of(TextureMotionRecord)
    free = record.activations.get("optimal") or 1.0
    kept = ", ".join(
        f"{word} {_share(record.activations.get(name), free)}" for word, name in SHARES.items()
    )
    motion, told = record.motion, record.motion.direction_deg
    # Along its own axis, a texture of one orientation moves at its normal velocity.
    drift = motion.velocity if motion.axis_deg is None else motion.normal_velocity
    speed = _length(drift)
    if told is not None and speed >= SMALLEST_SCALE:
        moves = [f"{round(told) % 360}°", f"{speed:.2f} px/fr"]
    else:
        kind = [motion.kind] if motion.kind in NOTES else []
        moves = [*kind, "speed n/a" if motion.speed is None else f"{motion.speed:.2f} px/fr"]
    moves += [
        f"{short} {three_digits(round(value, 2))}"
        for short, value in (("div", motion.divergence), ("curl", motion.curl))
        if value is not None and abs(value) >= TURNING
    ]
    return [kept, ", ".join(moves)]


def _length(velocity: tuple[Number, Number] | None) -> float:
    """The length of a velocity; 0 for one that is not known."""
    return math.hypot(*(value or 0.0 for value in velocity or ()))


def _share(value: float | None, whole: float) -> str:
    return three_digits(value if value is None else round(value / whole, 2))


def _legend(sheet: Sheet, y: float) -> None:
    """Draw the colour wheel: each point has the colour of the velocity from the centre to it."""
    left = WIDTH - MARGIN - WHEEL - 0.25
    sheet.text(left + WHEEL / 2, y, "up", SMALL, centred=True)
    wheel = colour_wheel(256, 1.0).numpy()
    image = sheet.picture(left, y + UNDER, WHEEL, wheel)
    image.axes.spines[:].set_visible(False)
    sheet.text(left + WHEEL + 0.03, y + UNDER + WHEEL / 2 - UNDER / 2, "right", SMALL)
    sheet.text(left + WHEEL / 2, y + UNDER + WHEEL + 0.01, "down", SMALL, centred=True)
