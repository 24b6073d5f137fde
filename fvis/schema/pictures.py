"""Settings of pictures: how they are described, viewed, and held natural."""

from dataclasses import dataclass, field
from typing import Any

from fvis.settings import setting


@dataclass
class ParametrizationConfig:
    """The setting of every parametrization: `name`, under which it is registered."""

    name: str = ""


@dataclass
class PictureConfig(ParametrizationConfig):
    """What fvis's own parametrizations share: the photograph that an image may start as."""

    start: str | None = None


@dataclass
class PixelConfig(PictureConfig):
    """`parametrizations/pixel.py`."""

    name: str = "pixel"
    init_std: float = setting(0.5, at_least=0)


@dataclass
class FourierConfig(PictureConfig):
    """`parametrizations/fourier.py`."""

    name: str = "fourier"
    init_std: float = setting(0.01, above=0)
    decay: float | None = setting(None, at_least=0)
    temporal_decay: float = setting(1.0, at_least=0)
    blur: float | None = setting(None, at_least=0)
    decorrelate: bool = True
    weight_decay: float = setting(0.0, at_least=0, at_most=10)


@dataclass
class PhaseConfig(PictureConfig):
    """`parametrizations/phase.py`."""

    name: str = "phase"
    contrast: float = setting(1.0, above=0)
    temporal_decay: float = setting(1.0, at_least=0)


@dataclass
class PyramidConfig(PictureConfig):
    """`parametrizations/pyramid.py`."""

    name: str = "pyramid"
    init_std: float = setting(0.1, above=0)
    coarsest: int = setting(4, at_least=1)
    decorrelate: bool = True


@dataclass
class PriorConfig:
    """The setting of every prior: `name`, under which it is registered."""

    name: str = ""


@dataclass
class NoPriorConfig(PriorConfig):
    """No prior: what a picture is held by is its parametrization, views and regularizers."""

    name: str = "none"


@dataclass
class ComparedPriorConfig(PriorConfig):
    """What all priors share: whether pictures are also made without, to tell its effect."""

    compare: bool = True


@dataclass
class FactoryPriorConfig(ComparedPriorConfig):
    """A prior that a function of the user's builds, called with `kwargs`."""

    factory: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class GeneratorConfig(FactoryPriorConfig):
    """`priors/generator.py`."""

    name: str = "generator"
    latent: list[int] = setting([128], at_least=1, at_most=16_777_216)
    range: list[float] = setting([-1.0, 1.0])
    init_std: float = setting(1.0, at_least=0)
    decay: float = setting(0.5, at_least=0)


@dataclass
class DenoiserConfig(FactoryPriorConfig):
    """`priors/denoiser.py`."""

    name: str = "denoiser"
    weight: float = setting(0.5, above=0, at_most=1e6)
    sigma: list[float] = setting([0.16, 0.04], above=0, at_most=1)


@dataclass
class StatisticsConfig(ComparedPriorConfig):
    """`priors/statistics.py`."""

    name: str = "statistics"
    images: Any = None
    weight: float = setting(0.2, above=0, at_most=1e6)
    every: int = setting(4, at_least=1)


@dataclass
class DiffusionConfig(ComparedPriorConfig):
    """`priors/diffusion.py`."""

    name: str = "diffusion"
    model: str | None = None
    strength: float = setting(0.3, at_least=0, at_most=100)
    prompt: str = ""
    negative: str = ""
    label: int | None = setting(None, at_least=0)
    guidance: float = setting(1.0, at_least=0, at_most=100)


@dataclass
class TransformsConfig:
    """The random views of `transforms.py`."""

    views: int = setting(1, at_least=1, at_most=1024)
    crop: list[float] | None = setting([1.0, 1.0], above=0, at_most=1)
    shift: float = setting(0.0, at_least=0, at_most=1)
    rotate: float | None = setting(0.0, at_least=0, at_most=180)
    flip: bool = False
    noise: float = setting(0.0, at_least=0, at_most=10)
    gain: float | None = setting(0.0, at_least=0, at_most=5)
    offset: float | None = setting(0.0, at_least=0, at_most=1)
    coarse: float = setting(1.0, above=0, at_most=1)
    coarse_steps: float = setting(0.75, at_least=0, at_most=1)
    settle: float | None = setting(0.0, at_least=0, at_most=1)
    settle_noise: float | None = setting(0.0, at_least=0, at_most=1)
    time_shift: float = setting(0.0, at_least=0, at_most=4096)
    time_scale: float = setting(0.0, at_least=0, at_most=0.9)
