"""Networks: their sources, weights, preprocessing and layers."""

from fvis.models.base import Model, Preprocessing
from fvis.models.loading import load, wrap

__all__ = ["Model", "Preprocessing", "load", "wrap"]
