"""What is looked for: one module per `method`."""

from fvis.context import Context
from fvis.methods.base import METHODS, Method, Result, solve_timed

__all__ = ["METHODS", "Context", "Method", "Result", "solve_timed"]
