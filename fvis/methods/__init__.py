"""What is looked for: one module per `method`."""

from fvis.methods.base import METHODS, Context, Method, Result

__all__ = ["METHODS", "Context", "Method", "Result"]
