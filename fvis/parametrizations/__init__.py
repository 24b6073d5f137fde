"""How a picture is described to the ascent: one module per `parametrization`."""

from fvis.parametrizations.base import PARAMETRIZATIONS, Parametrization

__all__ = ["PARAMETRIZATIONS", "Parametrization"]
