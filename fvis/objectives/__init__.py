"""What is asked of a network: which units, read where, and the scores that the ascent maximises."""

from fvis.objectives.base import Objective
from fvis.objectives.targets import Target, TargetSet, resolve

__all__ = ["Objective", "Target", "TargetSet", "resolve"]
