"""What suits a network where the config leaves it open (null).

Found by experiment: for images on DeiT-tiny and MobileNetV2, by whether the one recognises the
other's pictures (`python -m tests.benchmarks.recognition` measures it); for clips on the embedded
networks and a network of gestures, by what their pictures show.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from fvis.models.base import Model
from fvis.schema import Config, FourierConfig, TransformsConfig

T = TypeVar("T", bound=TransformsConfig | FourierConfig)


@dataclass(frozen=True)
class ArchitectureDefaults:
    """Defaults that differ between architectures; the config's comments say what each is."""

    decay: float
    blur: float
    gain: float
    offset: float
    crop: list[float]
    rotate: float
    settle: float
    settle_noise: float


# Convolutional networks follow any colour and contrast unless these vary from view to view; less
# noise in the last steps makes their own classes sure, none at all what no other network sees.
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
# Transformers have rougher gradients, which leave speckle unless the finest frequencies are held
# back; their colours are natural of themselves, and stray when colour varies.
ATTENTION = dataclasses.replace(
    CONVOLUTIONAL, decay=1.2, blur=0.5, gain=0.0, offset=0.0, settle_noise=1.0
)
# What changes the scale of a clip changes its speed, so crops stay near the whole frame. At clips'
# coarser sampling fine grain flickers and hides what moves.
CLIPS: dict[str, Any] = {
    "decay": 1.3,
    "blur": 1.0,
    "crop": [0.75, 1.0],
    "rotate": 5.0,
    "settle": 0.3,
}


def with_architecture_defaults(config: Config, model: Model) -> Config:
    """`config` with every setting that a defaults knows and the config leaves open filled in."""
    defaults = ATTENTION if model.attends else CONVOLUTIONAL
    if model.preprocessing.frames is not None:
        defaults = dataclasses.replace(defaults, **CLIPS)
    transforms = _filled(config.transforms, defaults)
    parametrization = config.parametrization
    if isinstance(parametrization, FourierConfig):
        parametrization = _filled(parametrization, defaults)
    return dataclasses.replace(config, transforms=transforms, parametrization=parametrization)


def _filled(section: T, defaults: ArchitectureDefaults) -> T:
    known: dict[str, Any] = dataclasses.asdict(defaults)
    open_ = {key: value for key, value in known.items() if getattr(section, key, 0) is None}
    return dataclasses.replace(section, **open_)
