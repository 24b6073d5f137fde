"""Settings of what is looked at: the network, its input, and the target."""

from dataclasses import dataclass, field
from typing import Any

from fvis.settings import setting


@dataclass
class InputConfig:
    """The network's input; `None` means the value that the library declares for the model."""

    mean: list[float] | None = setting(None, at_least=0, at_most=1)
    std: list[float] | None = setting(None, above=0)
    height: int | None = setting(None, at_least=1, at_most=16_384)
    width: int | None = setting(None, at_least=1, at_most=16_384)
    frames: int | None = setting(None, at_least=1, at_most=4096)


@dataclass
class ModelConfig:
    """Which network, with which weights."""

    source: str = "zoo"
    name: str | None = "glyph_cnn"
    pretrained: bool = True
    checkpoint: str | None = None
    factory: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    classes: Any = None
    attends: bool | None = None
    input: InputConfig = field(default_factory=InputConfig)


@dataclass
class TargetConfig:
    """Which units of which layers, and the position at which they are read (`objectives`)."""

    layer: Any = "logits"
    units: Any = "all"
    sign: int = setting(1, one_of=(1, -1))
    position: Any = "mean"
    direction: str | None = None
    dictionary: str | None = None
    read: str = setting("pre", one_of=("pre", "post", "decoder"))
    score: str = setting("value", one_of=("value", "log_odds"))
    joint: Any = None
    grid: list[Any] | None = None
    grid_steps: int = setting(5, at_least=2, at_most=101)
    ensemble: list[Any] = field(default_factory=list)
    repeats: int = setting(1, at_least=1, at_most=1000)
    diversity: float = setting(0.2, at_least=0, at_most=1e6)
    output: Any = None
    channel_dim: int | None = None
    prefix_tokens: int | None = setting(None, at_least=0)

    @property
    def names_classes(self) -> bool:
        """Whether its units are classes, by themselves."""
        others = (self.direction, self.dictionary, self.joint, self.grid)
        return self.layer == "logits" and all(given is None for given in others)

    @property
    def is_joint(self) -> bool:
        """Whether it asks for weighted sums of units."""
        return self.joint is not None or self.grid is not None
