"""The output files of one adversarial example."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from fvis.artifacts import (
    Writer,
    to_bytes,
    write_bytes,
    write_figure,
    write_gif,
    write_npz,
    write_png,
)
from fvis.perturbation.files import SUFFIXES

WIDTH, HEIGHT, DPI = 7.2, 2.85, 200  # inches (the width of a two-column page), dots per inch
TEXT = 8  # font size in points
LETTERS = 34  # longer class names are shortened to so many characters


@dataclass(frozen=True)
class Example:
    """The data of one example's files.

    Attributes:
        clean: the photograph or clip as the network sees it, (3, H, W) or (3, T, H, W) in [0, 1].
        adversarial: the same with the perturbation.
        files: the contents of the lossless files of `clean` and `adversarial`.
        amplification: factor by which the perturbation is amplified when it is shown.
        captions: captions of `clean`, `perturbation` and `adversarial` in the strip.
        fps: frames per second of the GIFs of a clip.
    """

    clean: Tensor
    adversarial: Tensor
    files: tuple[bytes, bytes]
    amplification: float
    captions: Mapping[str, str]
    fps: int = 8


def amplified(delta: Tensor, factor: float) -> Tensor:
    """Show a change (3, ...) as a picture in [0, 1]: mid-grey plus `factor` times the change."""
    return (0.5 + factor * delta).clamp(0, 1)


def writers(example: Example) -> dict[str, Writer]:
    """Writers by file name: both pictures, the amplified perturbation, the strip and delta.npz.

    A clip's pictures are GIFs, and animated PNG files hold `clean` and `adversarial` as they were
    judged; its strip shows the frame in the middle.
    """
    delta = example.adversarial - example.clean
    perturbation = amplified(delta, example.amplification)
    pictures = {
        "clean": example.clean,
        "perturbation": perturbation,
        "adversarial": example.adversarial,
    }
    clip = delta.dim() == 4
    middle = delta.shape[1] // 2
    strip = {name: rgb[:, middle] for name, rgb in pictures.items()} if clip else pictures
    lossless = zip(("clean", "adversarial"), example.files, strict=True)
    found: dict[str, Writer] = {
        f"{name}.{SUFFIXES[delta.dim()]}": functools.partial(write_bytes, content=content)
        for name, content in lossless
    }
    if clip:
        for name, rgb in pictures.items():
            found[f"{name}.gif"] = functools.partial(write_gif, rgb=rgb, fps=example.fps)
    else:
        found["perturbation.png"] = functools.partial(write_png, rgb=perturbation)
    return found | {
        "strip.png": functools.partial(write_strip, pictures=strip, captions=example.captions),
        "delta.npz": functools.partial(write_npz, arrays={"delta": delta.numpy()}),
    }


def write_strip(path: Path, pictures: Mapping[str, Tensor], captions: Mapping[str, str]) -> None:
    """Write pictures (3, H, W) side by side, each with its name above and its caption below."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, rgb) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        axes.imshow(to_bytes(rgb))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(name, fontsize=TEXT, fontweight="bold")
        axes.set_xlabel(captions[name], fontsize=TEXT, parse_math=False)
    write_figure(path, figure, DPI)


def caption(label: object, value: float, *, of_class: bool = True) -> str:
    """A class and its probability (from 0 to 1) in percent, or a unit and its value: two lines.

    >>> print(caption("goldfish", 0.931))
    goldfish
    93.1 %
    >>> print(caption(49, 0.784, of_class=False))
    unit 49
    0.784
    """
    if not of_class:
        return f"unit {label}\n{value:.3g}"
    return f"{shorten(str(label), LETTERS, placeholder='...')}\n{100 * value:.1f} %"
