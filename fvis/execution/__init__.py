"""Where batches are solved: one module per `execution`."""

from fvis.execution.base import EXECUTIONS, Execution, Work

__all__ = ["EXECUTIONS", "Execution", "Work"]
