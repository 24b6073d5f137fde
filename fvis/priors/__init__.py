"""What holds pictures natural besides the score: one module per `prior`."""

from fvis.priors.base import PRIORS, Prior, load

__all__ = ["PRIORS", "Prior", "load"]
