"""Settings of what the pictures are held against: photographs, and evidence."""

from dataclasses import dataclass, field
from typing import Any

from fvis.settings import setting


@dataclass
class GroundingConfig:
    """Photographs and videos that pictures are compared with (`grounding.py`)."""

    images: Any = None
    clips: Any = None
    patches: int = setting(9, at_least=1, at_most=100)
    drifts: int = setting(16, at_least=1)
    cache: str | None = None


@dataclass
class EvidenceConfig:
    """What says how far to believe each picture (`evidence`)."""

    path: bool = True
    embedding: Any = None
    tasks: int = setting(11, at_least=1, at_most=1000)
    references: int = setting(9, at_least=1, at_most=100)
    seeds: int = setting(0, at_least=0, at_most=100)
    minimising: int = setting(0, at_least=0, at_most=100)
    strangers: list[Any] = field(default_factory=list)
