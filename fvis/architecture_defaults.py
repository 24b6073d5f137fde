"""Defaults that depend on the architecture, for settings that the config leaves open (null).

They were chosen by experiment. For images: by whether DeiT-tiny and MobileNetV2 recognise each
other's pictures, which `python -m tests.benchmarks.recognition` measures. For clips: by eye, on the
embedded networks and a network for hand gestures.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from fvis.models.base import Model
from fvis.objectives.positions import reads_one_position
from fvis.schema import Config, FourierConfig, TransformsConfig

T = TypeVar("T", bound=TransformsConfig | FourierConfig)


@dataclass(frozen=True)
class ArchitectureDefaults:
    """Defaults that differ between architectures; the comments in `configs` explain each."""

    decay: float
    blur: float
    gain: float
    offset: float
    crop: list[float]
    rotate: float
    settle: float
    settle_noise: float


# On convolutional networks, colours and contrasts become extreme unless they vary between views.
# With less noise in the last steps, the network recognises its own pictures more surely. Without
# any noise there, other networks no longer recognise them.
CONVOLUTIONAL = ArchitectureDefaults(
    decay=1.0,
    blur=0.0,
    gain=0.1,
    offset=0.05,
    crop=[0.2, 1.0],
    rotate=10.0,
    settle=0.1,
    settle_noise=0.5,
)
# Transformers have rougher gradients, which leave speckle unless the finest frequencies are damped.
# Their colours are natural without any variation from view to view, and drift with it.
ATTENTION = dataclasses.replace(
    CONVOLUTIONAL, decay=1.2, blur=0.5, gain=0.0, offset=0.0, settle_noise=1.0
)
# A crop changes a clip's scale and thereby its speed, so crops stay near the whole frame. At the
# lower resolution of clips, fine grain flickers and hides the motion.
CLIPS: dict[str, Any] = {
    "decay": 1.3,
    "blur": 1.0,
    "crop": [0.75, 1.0],
    "rotate": 5.0,
    "settle": 0.3,
}
# A unit that is read at one position looks at one place. Crops down to a fifth would move what is
# there from under it.
AT_A_POSITION: dict[str, Any] = {"crop": [0.85, 1.0], "rotate": 5.0}


def with_architecture_defaults(config: Config, model: Model) -> Config:
    """`config` with its open settings (None) set to the defaults for the model's architecture."""
    defaults = ATTENTION if model.attends else CONVOLUTIONAL
    if model.preprocessing.frames is not None:
        defaults = dataclasses.replace(defaults, **CLIPS)
    elif reads_one_position(config.target.position):
        defaults = dataclasses.replace(defaults, **AT_A_POSITION)
    transforms = _filled(config.transforms, defaults)
    parametrization = config.parametrization
    if isinstance(parametrization, FourierConfig):
        parametrization = _filled(parametrization, defaults)
    return dataclasses.replace(config, transforms=transforms, parametrization=parametrization)


def _filled(section: T, defaults: ArchitectureDefaults) -> T:
    known: dict[str, Any] = dataclasses.asdict(defaults)
    open_ = {key: value for key, value in known.items() if getattr(section, key, 0) is None}
    return dataclasses.replace(section, **open_)
