"""Settings of the methods."""

from dataclasses import dataclass, field
from typing import Any

from fvis.schema.engine import (
    MOST_STEPS,
)
from fvis.settings import setting


@dataclass
class RegularizersConfig:
    """Weights relative to the activation's own gradient (see `regularizers.py`)."""

    total_variation: float = setting(0.0, at_least=0, at_most=1e6)
    l2: float = setting(0.0, at_least=0, at_most=1e6)


@dataclass
class MethodConfig:
    """The setting of every method: `name`, under which it is registered."""

    name: str = ""


@dataclass
class AscentConfig(MethodConfig):
    """Settings of all methods whose pictures climb a score (`ascent.py`)."""

    regularizers: RegularizersConfig = field(default_factory=RegularizersConfig)


@dataclass
class SynthesisConfig(AscentConfig):
    """Settings of all methods that synthesise optimal pictures (`synthesis.py`)."""

    rescue: bool = True


@dataclass
class ActivationMaximizationConfig(SynthesisConfig):
    """`methods/activation_maximization.py`."""

    name: str = "activation_maximization"


@dataclass
class VelocityConfig:
    """The velocity's cosine series (`motion/factored.py`)."""

    terms: int = setting(6, at_least=1)
    scale: float = setting(1.6, above=0, at_most=100)
    decay: float = setting(2.0, at_least=0, at_most=10)
    weight_decay: float = setting(0.04, at_least=0, at_most=10)


@dataclass
class FitConfig:
    """The fit of a texture and its displacement to a clip (`motion/decomposition.py`)."""

    frame_steps: int = setting(100, at_least=1, at_most=MOST_STEPS)
    refine_steps: int = setting(200, at_least=1, at_most=MOST_STEPS)
    smoothness: float = setting(1e-3, at_least=0)
    joint_steps: int = setting(600, at_least=1, at_most=MOST_STEPS)
    joint_smoothness: float = setting(1.0, at_least=0)
    texture_smoothness: float = setting(1.0, at_least=0)
    anchor: float = setting(1.0, at_least=0)


@dataclass
class TextureMotionConfig(SynthesisConfig):
    """`methods/texture_motion.py`."""

    name: str = "texture_motion"
    solver: str = setting("factored", one_of=("factored", "tracking", "joint"))
    steps: int = setting(200, at_least=1, at_most=MOST_STEPS)
    pilot_steps: int = setting(24, at_least=0, at_most=MOST_STEPS)
    finalists: int = setting(3, at_least=1, at_most=11)
    mirror_steps: int = setting(0, at_least=0, at_most=MOST_STEPS)
    lr_scale: float = setting(2.5, above=0, at_most=1000)
    decay: float | None = setting(1.0, at_least=0, at_most=10)
    margin: float = setting(0.5, at_least=0, at_most=2)
    velocity: VelocityConfig = field(default_factory=VelocityConfig)
    fit: FitConfig = field(default_factory=FitConfig)


@dataclass
class AdversarialConfig(MethodConfig):
    """`methods/adversarial.py`."""

    name: str = "adversarial"
    images: Any = None
    clips: Any = None
    models: list[Any] = field(default_factory=list)
    target: Any = "random"
    norm: str = setting("linf", one_of=("linf", "l2", "none"))
    epsilon: Any = None
    objective: str = setting("margin", one_of=("margin", "logit", "cross_entropy"))
    confidence: float = setting(0.1, at_least=0)
    probability: float = setting(0.5, at_least=0, at_most=0.999)
    tv: float = setting(1.0, at_least=0)
    size: float = setting(0.3, at_least=0)
    cutoff: float | None = setting(0.1, above=0)
    step: float = setting(1.5, above=0)
    transfer: list[Any] = field(default_factory=list)


@dataclass
class AccentuationConfig(AscentConfig):
    """`methods/accentuation.py`."""

    name: str = "accentuation"
    strongest: int = setting(3, at_least=1, at_most=100)
    layer: str | None = None
    weight: float = setting(0.5, at_least=0, at_most=1e6)
    norm: str = setting("none", one_of=("linf", "l2", "none"))
    epsilon: Any = None


@dataclass
class InversionConfig(AscentConfig):
    """`methods/inversion.py`."""

    name: str = "inversion"
    images: Any = None
    objective: str = setting("distance", one_of=("distance", "caricature"))
    power: float = setting(2.0, at_least=0, at_most=100)
    regularizers: RegularizersConfig = field(
        default_factory=lambda: RegularizersConfig(total_variation=0.2)
    )


@dataclass
class CaricatureConfig(InversionConfig):
    """`methods/inversion.py`, with another objective."""

    name: str = "caricature"
    objective: str = setting("caricature", one_of=("distance", "caricature"))
    regularizers: RegularizersConfig = field(default_factory=RegularizersConfig)
