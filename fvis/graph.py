"""Steps replayed as a CUDA graph: the host launches all kernels of a step at once, without waiting.

What the host does during the capture is frozen in the graph, Python's numbers too. So whatever
differs between steps has to be looked up on the device, by a counter there. Nothing here knows of
pictures; a graph is only ever captured on CUDA.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fvis.batching import is_out_of_memory
from fvis.errors import RequestError, described

WARM_UP = 3  # steps that are made first: kernels, plans and caches exist by then
CHECKED = 2  # steps after each capture that are made plainly, too
SAME = 1e-2  # of a tensor's length: by how much what a replay gives may differ, at most

logger = logging.getLogger(__name__)


class Graphs(Protocol):
    """Captures work, to do it again."""

    def aside(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the work is done, and captured."""
        ...

    def capture(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """What does the work again, and gives the tensor that `work` returned, with new values."""
        ...


class CudaGraphs:
    """Captures on a stream of its own, since the default one cannot be captured."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """A context in which work goes to the stream; work before and after keeps its order."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            current.wait_stream(self._stream)

    def capture(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Capture `work`; what other threads do meanwhile, such as writing files, is no part."""
        graph = torch.cuda.CUDAGraph()
        mode = "thread_local"
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode=mode):
            given = work()

        def replay() -> Tensor:
            graph.replay()
            return given

        return replay


def graphs_of(setting: Any, device: torch.device) -> Graphs | None:
    """What captures steps on a device, as `engine.graph` asks for it; None for steps as they are.

    Raises `RequestError` where the device cannot do what is asked for.
    """
    if setting is True and device.type != "cuda":
        raise RequestError(
            f"engine.graph=true needs CUDA, and the device is {device.type}; auto does without"
        )
    return CudaGraphs(device) if setting is not False and device.type == "cuda" else None


class Replay:
    """Makes steps by their numbers, all but the first `WARM_UP` by replaying a captured one.

    The first `CHECKED` steps after each capture are made both ways, and count as they were made
    plainly: the first shows whether a replay does the same, the second whether a number was frozen.
    Where the step cannot be captured, or the two ways differ, the steps are made plainly from then
    on, and the log says so.

    Args:
        make: makes a step, whose number `counter` holds, and returns its scores. Steps of a phase
            must differ only in what is looked up by the counter.
        phase: the phase of a step. Each is captured when it begins.
        state: the tensors that a step changes in place.
        counter: (1,), whole, on the device.
        graphs: what captures steps.
        required: whether `RequestError` is raised where steps cannot be replayed.
    """

    def __init__(
        self,
        make: Callable[[int], Tensor],
        phase: Callable[[int], int],
        state: Sequence[Tensor],
        counter: Tensor,
        graphs: Graphs,
        *,
        required: bool = False,
    ) -> None:
        self._make, self._phase, self._state = make, phase, state
        self._counter, self._graphs, self._required = counter, graphs, required
        self._steps_made, self._works, self._to_check = 0, True, 0
        self._captured: tuple[int, Callable[[], Tensor]] | None = None

    def __call__(self, step: int) -> Tensor:
        """Make a step; returns its scores."""
        with self._graphs.aside():
            self._counter.fill_(step)
            if self._steps_made < WARM_UP or not self._works:
                self._steps_made += 1
                return self._make(step)
            if self._captured is None or self._captured[0] != self._phase(step):
                self._capture(step)
            if self._captured is None:
                return self._make(step)
            return self._compared(step) if self._to_check else self._captured[1]().clone()

    def _capture(self, step: int) -> None:
        self._captured, self._to_check = None, CHECKED  # hands back its memory
        try:
            self._captured = (self._phase(step), self._graphs.capture(lambda: self._make(step)))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._give_up(described(error))

    def _compared(self, step: int) -> Tensor:
        """Make a step both ways."""
        assert self._captured is not None
        before = [tensor.detach().clone() for tensor in self._state]
        scores = self._captured[1]().clone()
        replayed = [tensor.detach().clone() for tensor in (scores, *self._state)]
        with torch.no_grad():
            for tensor, earlier in zip(self._state, before, strict=True):
                tensor.copy_(earlier)
        scores, self._to_check = self._make(step), self._to_check - 1
        made = [tensor.detach() for tensor in (scores, *self._state)]
        if not all(map(_same, replayed, made)):
            self._give_up("replayed, it gives something else")
        return scores

    def _give_up(self, reason: str) -> None:
        self._works, self._captured = False, None
        if self._required:
            raise RequestError(f"engine.graph=true: a step cannot be replayed: {reason}")
        logger.warning("steps are made without a CUDA graph: %s", reason)


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors differ by no more than `SAME` of their length, and are finite alike."""
    if not torch.equal(one.isfinite(), other.isfinite()):
        return False
    one, other = (tensor.nan_to_num(0, 0, 0) for tensor in (one, other))
    return bool((one - other).norm() <= SAME * other.norm())
