"""The figures of clips: layers by kernels, each as its optimal clip, its texture and its motion."""

import io
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
from fvis.motion.colours import (
    SMALLEST_SCALE,
    SPEED_PERCENTILE,
    colour_wheel,
    flow_colours,
)
from fvis.motion.decomposition import Decomposition
from fvis.report.figure_runs import Run, Unit
from fvis.report.figure_sheet import (
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
    number,
    pixels,
    wrapped,
)
from fvis.report.figure_words import about, by_model, unit_name

MOST_COLUMNS, COLUMNS = 4, 3  # kernels in a row: as many as a layer has up to the first, else
GUTTER = 0.2  # inches for a layer's upright label
BETWEEN = 0.14  # inches between kernels
WHEEL = 0.62  # inches
FRAME_DPI, FPS = 120, 8  # of the animation
ONE_WAY = 0.3  # of the mean speed, left when all directions are averaged
TURNING = 0.03  # 1/frame; less divergence or curl is not told
MOVED = 0.1  # motion index; a unit that loses less when its clip stands prefers no direction
UNDER = line_height(SMALL)
ABOVE = 3 * UNDER + 0.03  # a kernel's three lines
SHARES = {"kept": "reconstruction", "still": "static", "reversed": "reversed"}

STILL = (
    "Each kernel: above, its optimal clip (first, middle and last frame); below, texture, motion "
    "(mean velocity; brightest from the speed stated, in px/frame) and reconstruction, the moving "
    "texture (middle frame)."
)
MOVING = (
    "Each kernel: above, its optimal clip and the reconstruction, which is the moving texture; "
    "below, texture and motion (brightest from the speed stated, in px/frame)."
)
LETTERS = (
    "a: the activation of the optimal clip; kept: the share of it that the reconstruction has, and "
    "what is left of it standing still and reversed; direction (0° right, 90° up) and speed along "
    "the clip's gradients where it moves one way and the unit answers to that, else mean speed; "
    "per frame, div: growth, curl: turn, above 0 clockwise."
)


@dataclass(frozen=True)
class Clip:
    """One kernel, read from flow.npz: RGB (3, ...) in [0, 1], velocity in px/frame."""

    unit: Unit
    optimal: Rgb  # (3, T, H, W)
    reconstruction: Rgb  # (3, T, H, W)
    texture: Rgb  # (3, H', W')
    motion: Rgb  # (3, T-1, H, W): the velocity in colours
    mean_motion: Rgb  # (3, H, W)
    scale: float  # px/frame of the full colour


def write_motion(stem: Path, runs: Sequence[Run]) -> list[Path]:
    """The grid as PDF and PNG, and animated as GIF."""
    rows = [(run, [read_clip(unit) for unit in run.units]) for run in runs]
    written = grid(rows)[0].write(stem)
    path = stem.with_name(stem.name + ".gif")
    write_gif(path, animated(rows), FPS)
    return [*written, path]


def read_clip(unit: Unit) -> Clip:
    """A unit's flow.npz, its moving texture rendered; raises `RequestError` where it is missing."""
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
    """The speed, in px/frame and two digits, of the full colour: hardly any is above it."""
    speeds = velocity.norm(dim=0).numpy()
    return max(SMALLEST_SCALE, float(f"{np.percentile(speeds, SPEED_PERCENTILE):.2g}"))


def grid(
    rows: Sequence[tuple[Run, Sequence[Clip]]], *, moving: bool = False
) -> tuple[Sheet, list[tuple[AxesImage, Rgb]]]:
    """The page, and of a `moving` one the pictures that change with their clips (3, T, H, W)."""
    most = max(len(clips) for _, clips in rows)
    columns = most if most <= MOST_COLUMNS else COLUMNS
    across = 2 if moving else 3
    wide = (WIDTH - 2 * MARGIN - GUTTER + BETWEEN) / columns - BETWEEN
    side = min((wide + GAP) / across - GAP, 1.0)
    step = ABOVE + 2 * (side + UNDER + 0.05) + 0.08
    lines = [-(-len(clips) // columns) for _, clips in rows]
    runs = [run for run, _ in rows]
    room = WIDTH - 3 * MARGIN - WHEEL - 0.45
    caption = wrapped(" ".join([MOVING if moving else STILL, LETTERS, about(runs)]), room)
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
    """The animation (3, T, H, W) of the grid; shorter clips hold their last frame."""
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
    """One kernel's block: three lines of text over two rows of pictures, each with its label."""
    title = f"{unit_name(clip.unit)}: a {number(clip.unit.metadata['activation']['final'])}"
    sheet.text(x, y, title, TEXT, within=wide)
    for line, words in enumerate(_numbers(clip.unit), start=1):
        sheet.text(x, y + line * UNDER + 0.01, words, colour=PALE, within=wide)
    optimal, moved = clip.optimal, clip.reconstruction
    t = optimal.shape[1]
    scale = f"≤ {clip.scale:g} px/fr"
    if moving:
        above = {"optimal clip": optimal[:, 0], "reconstruction": moved[:, 0]}
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
    clips = {"optimal clip": optimal, "reconstruction": moved, scale: clip.motion}
    return [(shown[label], frames) for label, frames in clips.items()]


def _numbers(unit: Unit) -> list[str]:
    """The shares of the activation kept; how it moves: one way, or growing or turning."""
    told = unit.metadata
    # JSON's null becomes NaN, which is neither above nor below anything
    motion = {name: np.array(value, float) for name, value in told["motion"].items()}
    shares = told["activations"]
    kept = ", ".join(f"{word} {_share(shares[name])}" for word, name in SHARES.items())
    speed, mean_speed = float(np.linalg.norm(motion["normal_velocity"])), float(motion["speed"])
    one_way = speed >= max(SMALLEST_SCALE, ONE_WAY * mean_speed)
    one_way &= (told["motion_index"] or 0) >= MOVED
    if one_way and np.isfinite(motion["direction_deg"]):
        moves = [f"{round(float(motion['direction_deg'])) % 360}°", f"{speed:.2f} px/fr"]
    else:
        moves = [f"{mean_speed:.2f} px/fr" if np.isfinite(mean_speed) else "speed n/a"]
    moves += [
        f"{short} {number(round(float(motion[name]), 2))}"
        for short, name in (("div", "divergence"), ("curl", "curl"))
        if abs(motion[name]) >= TURNING
    ]
    return [kept, ", ".join(moves)]


def _share(value: float | None) -> str:
    return number(value if value is None else round(value, 2))


def _legend(sheet: Sheet, y: float) -> None:
    """The wheel: at each place the colour of the velocity towards it."""
    left = WIDTH - MARGIN - WHEEL - 0.25
    sheet.text(left + WHEEL / 2, y, "up", SMALL, centred=True)
    wheel = colour_wheel(256, 1.0).numpy()
    image = sheet.picture(left, y + UNDER, WHEEL, wheel)
    image.axes.spines[:].set_visible(False)
    sheet.text(left + WHEEL + 0.03, y + UNDER + WHEEL / 2 - UNDER / 2, "right", SMALL)
    sheet.text(left + WHEEL / 2, y + UNDER + WHEEL + 0.01, "down", SMALL, centred=True)
