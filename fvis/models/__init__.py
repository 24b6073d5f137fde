"""Networks: where they come from, what they are fed, which layers they have."""

from fvis.models.base import Model, Preprocessing
from fvis.models.loading import load, wrap

__all__ = ["Model", "Preprocessing", "load", "wrap"]
