"""Counts how many pictures run through networks, whichever networks these are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)


@dataclass
class Passes:
    """`pictures` that ran forward, each counted as often as it did."""

    pictures: int = 0
    depth: int = 0  # of modules that are running; 0 outside a network


@contextmanager
def counted() -> Iterator[Passes]:
    """Count the pictures that are given to networks meanwhile, also those that stop early."""
    passes = Passes()

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        if passes.depth == 0:
            passes.pictures += len(args[0])
        passes.depth += 1

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        passes.depth -= 1

    handles = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave, always_call=True),
    ]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()
