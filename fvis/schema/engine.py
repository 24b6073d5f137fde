"""Settings of how a run computes, and of what it writes."""

from dataclasses import dataclass
from typing import Any

from fvis.settings import setting

MOST_STEPS = 10_000_000


@dataclass
class EngineConfig:
    """How the ascent is run."""

    device: str = "auto"
    precision: str = setting("fp32", one_of=("fp32", "bf16"))
    batch_size: Any = "auto"
    canvas: Any = "auto"
    steps: int = setting(160, at_least=1, at_most=MOST_STEPS)
    lr: float = setting(0.07, above=0, at_most=1000)
    lr_final: float = setting(0.2, at_least=0, at_most=1)
    betas: list[float] = setting([0.5, 0.99], at_least=0, at_most=0.9999)
    seed: int = setting(0, at_least=0, at_most=2**63 - 1)
    log_every: int = setting(8, at_least=1, at_most=MOST_STEPS)
    fold: str = setting("auto", one_of=("auto", "never"))
    channels_last: Any = "auto"
    graph: Any = "auto"
    checkpoint_every: int = setting(60, at_least=0, at_most=1_000_000)
    threads: int | None = setting(None, at_least=1, at_most=1024)


@dataclass
class OutputConfig:
    """The files of clips: frames per second, and whether each is also written as MP4."""

    fps: int = setting(8, at_least=1, at_most=60)
    mp4: bool = True


@dataclass
class ExecutionConfig:
    """The setting of every execution: `name`, under which it is registered."""

    name: str = ""


@dataclass
class HereConfig(ExecutionConfig):
    """`execution/here.py`."""

    name: str = "here"
    writers: int | None = setting(None, at_least=0, at_most=64)


@dataclass
class RayConfig(ExecutionConfig):
    """`execution/ray.py`."""

    name: str = "ray"
    workers: int | None = setting(None, at_least=1, at_most=10_000)
    address: str | None = None
