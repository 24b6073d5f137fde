"""The files that show one adversarial example."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from fvis.artifacts import Writer, to_bytes, whole_file, write_bytes, write_npz, write_png

WIDTH, HEIGHT, DPI = 7.2, 2.85, 200  # inches; the width of a page's two columns
TEXT = 8  # points
LETTERS = 34  # of a class's name, at most


@dataclass(frozen=True)
class Example:
    """What is shown: two pictures (3, H, W) and their PNG files, the captions of all three."""

    clean: Tensor
    adversarial: Tensor
    files: tuple[bytes, bytes]
    amplification: float
    captions: Mapping[str, str]


def amplified(delta: Tensor, factor: float) -> Tensor:
    """A change (3, H, W) as a picture: `factor` times itself about mid-grey."""
    return (0.5 + factor * delta).clamp(0, 1)


def writers(example: Example) -> dict[str, Writer]:
    """Both pictures, the amplified perturbation, the three in a strip, and delta.npz."""
    delta = example.adversarial - example.clean
    perturbation = amplified(delta, example.amplification)
    strip = {
        "clean": example.clean,
        "perturbation": perturbation,
        "adversarial": example.adversarial,
    }
    clean, adversarial = example.files
    return {
        "clean.png": functools.partial(write_bytes, content=clean),
        "adversarial.png": functools.partial(write_bytes, content=adversarial),
        "perturbation.png": functools.partial(write_png, rgb=perturbation),
        "strip.png": functools.partial(write_strip, pictures=strip, captions=example.captions),
        "delta.npz": functools.partial(write_npz, arrays={"delta": delta.numpy()}),
    }


def write_strip(path: Path, pictures: Mapping[str, Tensor], captions: Mapping[str, str]) -> None:
    """Pictures (3, H, W) beside one another, each under its name and over its caption's lines."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, rgb) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        axes.imshow(to_bytes(rgb))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(name, fontsize=TEXT, fontweight="bold")
        axes.set_xlabel(captions[name], fontsize=TEXT, parse_math=False)
    with whole_file(path) as place:
        figure.savefig(place, format="png", dpi=DPI, metadata={"Software": None})


def caption(label: object, probability: float) -> str:
    """`<class> 93.1 %`, on one line of the strip."""
    return f"{shorten(str(label), LETTERS, placeholder='...')}\n{100 * probability:.1f} %"
