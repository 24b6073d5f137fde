"""A loop of optimization steps whose state can be saved: schedule, trace and callback in one place.

What a step does is left to the subclasses: the ascent of a picture, the search for an adversarial
example, the fit of a texture and its displacement.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

LOG_EVERY = 8  # steps between points of a trace, where the config does not say


@dataclass
class Trace:
    """The scores (B,) at each logged step; they stay on their device until `rows` reads them."""

    steps: list[int] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)

    def rows(self) -> list[list[tuple[int, float]]]:
        """For each batch row, its (step, score) pairs."""
        if not self.scores:
            return []
        columns = torch.stack(self.scores).T.tolist()
        return [list(zip(self.steps, column, strict=True)) for column in columns]


class Optimization(ABC):
    """`steps` steps, of which `done` have been made, and the trace of the scores on the way.

    `quantity` is what the scores measure, in a word.
    """

    quantity = "activation"

    def __init__(self, steps: int, log_every: int = LOG_EVERY) -> None:
        self.steps = steps
        self.done = 0
        self.trace = Trace()
        self._log_every = log_every

    def run(self, on_step: "Callback | None" = None) -> Trace:
        """Make the steps that are left, and call `on_step(self)` after each."""
        while self.done < self.steps:
            self.step()
            if on_step is not None:
                on_step(self)
        return self.trace

    def step(self) -> None:
        """Make one step, and log its scores if their turn has come."""
        scores = self._advance()
        if self.done % self._log_every == 0 or self.done == self.steps - 1:
            self.trace.steps.append(self.done)
            self.trace.scores.append(scores.detach())
        self.done += 1

    @property
    def logged(self) -> bool:
        """Whether the last step's scores are in the trace."""
        return self.done > 0 and self.trace.steps[-1:] == [self.done - 1]

    def state_dict(self) -> dict[str, Any]:
        """All that the steps to come depend on: tensors, numbers, lists and dicts of them.

        The tensors are the very ones that the next step changes; save them before it.
        """
        trace = {"steps": self.trace.steps, "scores": self.trace.scores}
        return {"done": self.done, "trace": trace, **self._state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of an optimization that was built with the same arguments.

        On a CPU with the same number of threads, the steps to come are the same to the bit as if it
        had never been interrupted; on a GPU, which adds in no fixed order, they are so up to
        rounding.
        """
        device = self._device
        scores = [row.to(device) for row in state["trace"]["scores"]]
        self.trace = Trace(list(state["trace"]["steps"]), scores)
        self.done = state["done"]
        self._load(state)

    @abstractmethod
    def _advance(self) -> Tensor:
        """Make step number `done`; returns the scores (B,) before it."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What the subclass has to save."""

    @abstractmethod
    def _load(self, state: Mapping[str, Any]) -> None:
        """Take over what `_state` returned."""

    @property
    @abstractmethod
    def _device(self) -> torch.device: ...


Callback = Callable[[Optimization], None]
RunStage = Callable[[str, Optimization], None]  # runs a named stage of a batch to its end


def run_stage(name: str, optimization: Optimization) -> None:
    """The simplest `RunStage`: nothing is shown, nothing is saved."""
    optimization.run()


def cosine(step: int, steps: int, final: float) -> float:
    """The factor on a learning rate at `step` of `steps`: 1 at first, `final` at the last step.

    It falls along half a cosine.

    >>> [round(cosine(step, 3, 0.2), 3) for step in range(3)]
    [1.0, 0.6, 0.2]
    """
    progress = step / max(1, steps - 1)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


class Resumable(Protocol):
    """What moves parameters and has a state: an optimizer of ours (`adam.py`) or of torch's."""

    def state_dict(self) -> dict[str, Any]:
        """What the steps to come depend on, besides the parameters."""
        ...

    def load_state_dict(self, state: Any) -> None:
        """Go on from such a state."""
        ...


class AdamOptimization(Optimization):
    """An optimization whose state is a set of parameters and of optimizers on them."""

    def __init__(
        self,
        parameters: list[Tensor],
        optimizers: Sequence[Resumable],
        steps: int,
        log_every: int = LOG_EVERY,
    ) -> None:
        super().__init__(steps, log_every)
        self._parameters = parameters
        self._optimizers = optimizers

    def _state(self) -> dict[str, Any]:
        running = self.done < self.steps  # a finished stage needs its optimizers no more
        return {
            "parameters": [parameter.detach() for parameter in self._parameters],
            "optimizers": [o.state_dict() for o in self._optimizers] if running else [],
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for parameter, saved in zip(self._parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=False):
            optimizer.load_state_dict(saved)

    @property
    def _device(self) -> torch.device:
        return self._parameters[0].device
