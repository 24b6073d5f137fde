"""Lists the embedded networks and their weights files; loading them is left to `fvis.models`.

Importing this module is cheap: timm and torchvision are imported only when a network is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from fvis.zoo import drifts, glyphs, hard, planted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn


@dataclass(frozen=True)
class ZooNetwork:
    """One embedded network: how it is built and what its input is.

    Attributes:
        name: its `model.name`; also the stem of its weights file.
        build: returns the network in float32; a trained network has random weights until its
            weights file is loaded. Takes the network's own keyword arguments, if it has any.
        height: input height, pixels.
        width: input width, pixels.
        frames: frames of an input clip; None for image networks.
        mean: per RGB channel, for pixels in [0, 1].
        std: per RGB channel, for pixels in [0, 1].
        classes: names of the logits, in order, of the network built without arguments.
        trained: whether it has a weights file; a network whose weights are computed needs none.
    """

    name: str
    build: Callable[..., nn.Module]
    height: int
    width: int
    frames: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classes: tuple[str, ...]
    trained: bool = True

    @property
    def weights(self) -> Path:
        """The float16 `.safetensors` file; its metadata has the record of the training."""
        return Path(__file__).parent / "weights" / f"{self.name}.safetensors"


def _build_glyph_cnn() -> nn.Module:
    from fvis.zoo import networks

    return networks.glyph_cnn()


def _build_glyph_vit() -> nn.Module:
    from fvis.zoo import networks

    return networks.glyph_vit()


def _build_drift_r3d() -> nn.Module:
    from fvis.zoo import networks

    return networks.drift_r3d()


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


def _of_clips(
    name: str, build: Callable[..., nn.Module], classes: tuple[str, ...], trained: bool
) -> ZooNetwork:
    return ZooNetwork(
        name=name,
        build=build,
        height=drifts.SIZE,
        width=drifts.SIZE,
        frames=drifts.FRAMES,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        classes=classes,
        trained=trained,
    )


NETWORKS: Mapping[str, ZooNetwork] = MappingProxyType(
    {
        "glyph_cnn": _of_glyphs("glyph_cnn", _build_glyph_cnn),
        "glyph_vit": _of_glyphs("glyph_vit", _build_glyph_vit),
        "drift_r3d": _of_clips("drift_r3d", _build_drift_r3d, drifts.CLASSES, trained=True),
        "planted_motion": _of_clips(
            "planted_motion", planted.build, planted.answer_key().classes, trained=False
        ),
        "hard_motion": _of_clips(
            "hard_motion", hard.build, tuple(unit.name for unit in hard.bank()), trained=False
        ),
    }
)
"""All embedded networks by name."""

GLYPH_DIFFUSION = Path(__file__).parent / "weights" / "glyph_diffusion"
"""The diffusion model of glyph pictures: a folder as diffusers saves pipelines."""
