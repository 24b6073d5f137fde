"""Lists the embedded networks and where their weights lie; loading them is left to `models`.

Importing this is cheap: timm is imported only when a network is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from fvis.zoo import glyphs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn


@dataclass(frozen=True)
class ZooNetwork:
    """One embedded network: how it is built and what it takes.

    Attributes:
        name: what `model.name` calls it; also the stem of its weights' file.
        build: returns the architecture with random weights, in float32.
        height: input height, pixels.
        width: input width, pixels.
        frames: input frames of a clip; None for a network of images.
        mean: per RGB channel, subtracted from input in [0, 1].
        std: per RGB channel, divides what is left.
        classes: names in the order of the logits.
    """

    name: str
    build: Callable[[], nn.Module]
    height: int
    width: int
    frames: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classes: tuple[str, ...]

    @property
    def weights(self) -> Path:
        """The float16 `.safetensors` inside the package, its training record in the metadata."""
        return Path(__file__).parent / "weights" / f"{self.name}.safetensors"


def _build_glyph_cnn() -> nn.Module:
    from fvis.zoo import networks

    return networks.glyph_cnn()


def _build_glyph_vit() -> nn.Module:
    from fvis.zoo import networks

    return networks.glyph_vit()


def _of_glyphs(name: str, build: Callable[[], nn.Module]) -> ZooNetwork:
    return ZooNetwork(
        name=name,
        build=build,
        height=glyphs.SIZE,
        width=glyphs.SIZE,
        frames=None,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        classes=glyphs.CLASSES,
    )


NETWORKS: Mapping[str, ZooNetwork] = MappingProxyType(
    {
        "glyph_cnn": _of_glyphs("glyph_cnn", _build_glyph_cnn),
        "glyph_vit": _of_glyphs("glyph_vit", _build_glyph_vit),
    }
)
"""Every embedded network by its name."""
