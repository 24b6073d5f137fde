"""A page on which pictures and text are placed, in inches from its upper left corner."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from fvis.whole_files import whole_file

WIDTH, DPI = 7.2, 300  # inches, for two columns of a paper; resolution of the PNG
SMALL, TEXT, TITLE = 6.0, 7.0, 8.0  # points
LINE = 1.25  # distance between lines, in font sizes
MARGIN, GAP = 0.06, 0.06  # inches
INK, PALE = "black", "#555555"
POINTS = 72  # per inch

Rgb = NDArray[np.float32]  # (3, H, W) in [0, 1]


class Sheet:
    """A figure 7.2 inches wide with pictures and lines of text at given places, in inches."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height), dpi=DPI)
        FigureCanvasAgg(self.figure)

    def picture(self, x: float, y: float, side: float, rgb: Rgb) -> AxesImage:
        """Draw a picture (3, H, W) as large as fits into a square, and centred in it."""
        _, h, w = rgb.shape
        width, height = side * w / max(h, w), side * h / max(h, w)
        left, top = x + (side - width) / 2, y + (side - height) / 2
        place = (left / WIDTH, 1 - (top + height) / self.height)
        axes = self.figure.add_axes((*place, width / WIDTH, height / self.height))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(linewidth=0.3, color=PALE)
        return axes.imshow(pixels(rgb), interpolation="antialiased", aspect="auto")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = SMALL,
        *,
        within: float | None = None,
        bold: bool = False,
        colour: str = INK,
        centred: bool = False,
        upright: bool = False,
    ) -> None:
        """Draw a line of text with its upper left corner at (x, y).

        If `centred`, (x, y) is the middle of its upper edge. If `upright`, the line reads upwards
        and (x, y) is its centre. `size` is in points. Text that is longer than `within` inches, or
        by default than the page's width, is cut.
        """
        shown = shortened(text, within or WIDTH - 2 * MARGIN, size, bold=bold)
        self.figure.text(
            x / WIDTH, 1 - y / self.height, shown,
            fontsize=size, fontweight="bold" if bold else "normal", color=colour,
            ha="center" if centred or upright else "left", va="center" if upright else "top",
            rotation=90 if upright else 0, parse_math=False,
        )  # fmt: skip

    def lines(self, x: float, y: float, lines: Sequence[str], width: float) -> None:
        """Draw lines of text, the first one dark, centred in `width` inches and cut to fit."""
        for i, line in enumerate(lines):
            colour = PALE if i else INK
            place = y + i * line_height(SMALL)
            self.text(x + width / 2, place, line, within=width, colour=colour, centred=True)

    def caption(self, y: float, lines: Sequence[str]) -> None:
        """Draw lines of text at the left margin."""
        for i, line in enumerate(lines):
            self.text(MARGIN, y + i * line_height(TEXT), line, TEXT)

    def write(self, stem: Path) -> list[Path]:
        """Write the page as PDF, with its text as text, and as PNG; returns the files' paths.

        The same page always gives the same bytes.
        """
        written = []
        for suffix, metadata in ((".pdf", {"CreationDate": None}), (".png", {"Software": None})):
            path = stem.with_name(stem.name + suffix)
            with whole_file(path) as place, matplotlib.rc_context({"pdf.fonttype": 42}):
                self.figure.savefig(place, format=suffix[1:], dpi=DPI, metadata=metadata)
            written.append(path)
        return written


def pixels(rgb: Rgb) -> NDArray[np.uint8]:
    """RGB (3, H, W) in [0, 1] as uint8 (H, W, 3); NaN becomes 0."""
    rounded = np.clip(np.nan_to_num(rgb), 0, 1) * 255 + 0.5
    return np.ascontiguousarray(np.moveaxis(rounded.astype(np.uint8), 0, -1))


def line_height(size: float) -> float:
    """The distance in inches between lines of text of `size` points."""
    return size * LINE / POINTS


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width in inches of a line of text of `size` points."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / POINTS


def shortened(text: str, width: float, size: float = SMALL, *, bold: bool = False) -> str:
    """The line; if it is wider than `width` inches, it is cut and ends with …."""
    shown = text
    while shown and text_width(shown + "…" * (shown != text), size, bold=bold) > width:
        shown = shown[:-1].rstrip()
    return shown if shown == text else shown + "…"


def wrapped(text: str, width: float, size: float = TEXT) -> list[str]:
    """The text, broken between words into lines of at most `width` inches where possible."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def three_digits(value: float | None) -> str:
    """A number with three significant digits and a typographic minus; n/a if it is not finite.

    Zero has no minus.

    >>> three_digits(12.345), three_digits(None), three_digits(-0.0)
    ('12.3', 'n/a', '0')
    """
    if value is None or not np.isfinite(value):
        return "n/a"
    return f"{value + 0.0:.3g}".replace("-", "\N{MINUS SIGN}")
