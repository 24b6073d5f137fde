"""What a run works with: its config, and its model on its device."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fvis.models.base import Model
from fvis.models.layers import Layer
from fvis.schema import Config


@dataclass(frozen=True)
class Context:
    """The run's config, its model on its device, the device, and the model's layers if known."""

    config: Config
    model: Model
    device: torch.device
    layers: Mapping[str, Layer] | None = None

    @property
    def autocast(self) -> torch.dtype | None:
        """The type in which the network computes, where that is not float32."""
        return torch.bfloat16 if self.config.engine.precision == "bf16" else None
