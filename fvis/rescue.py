"""Units that the ascent cannot wake: how they are recognised, and the second attempt's gradients.

A unit behind an activation function may give no gradient where the ascent starts (a dead ReLU), or
one that leads the wrong way (left of the dip of GELU and SiLU, further from what the unit responds
to).
"""

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fvis.capture import Network
from fvis.models.architecture import timm_layers
from fvis.objectives.base import LinearObjective
from fvis.optimization import Trace
from fvis.parametrizations.fourier import spectrum_scale
from fvis.randomness import normal, random_generator

logger = logging.getLogger(__name__)

# Activation functions that go to zero as their input falls, and grow without limit as it rises.
RESTING_AT_ZERO: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish,
)  # fmt: skip
OF_TIMM = ("GELU", "GELUTanh", "HardMish", "HardSwish", "Mish", "QuickGELU", "Swish")  # likewise
RECTIFIERS: tuple[type[nn.Module], ...] = (
    *RESTING_AT_ZERO, nn.Hardtanh, nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.Threshold,
)  # fmt: skip

# In units of the spread of the layer's values. A healthy unit rises by many spreads, or at least
# goes on moving. One on the flat side of GELU creeps up from -0.1 to 0 and stays there: the ascent
# found an input that suppresses the unit.
LEAST_RISE = 1.0
LEAST_MOVEMENT = 0.01
LEAST_SPAN = 24  # steps; in fewer a unit that still rises may look as if it stood still

# That spread is too wide a measure for a unit whose values are bounded or small beside the others',
# or whose neighbours have large biases. Such units are measured by their own answers to noise.
NOISES = 16  # pictures
CLEAR = 2.0  # standard deviations above the mean of the unit's own values for noise
CONTRAST = 0.2  # standard deviation of the noise's values; photographs have about that
ROUNDING = 1e-5  # of a score: a smaller rise may be a rounding error


def spread(objective: LinearObjective, outputs: Sequence[Tensor]) -> Tensor:
    """How far each row's score (B,) may be expected to vary.

    It is the standard deviation of the values of all units in that row, times the length of the
    row's weights. Units without a finite value, such as masked classes, do not count.
    """
    pairs = zip(objective.values(outputs), objective.norms, strict=True)
    return torch.stack([_deviation(values) * norm for values, norm in pairs]).sum(0)


def _deviation(values: Tensor) -> Tensor:
    """The standard deviation (B,) of the finite ones among values (B, C)."""
    finite = values.isfinite()
    count = finite.sum(1, keepdim=True).clamp_min(1)
    mean = values.masked_fill(~finite, 0).sum(1, keepdim=True) / count
    return ((values - mean).masked_fill(~finite, 0).square().sum(1) / count[:, 0]).sqrt()


def stuck_rows(initial: Tensor, final: Tensor, trace: Trace, spread: Tensor) -> Tensor:
    """Which rows (B,) have a final score that is not finite, or have hardly risen and stand still.

    `initial`, `final` and `spread` are (B,). A row stands still when its scores in the second half
    of the trace differ by less than `LEAST_MOVEMENT` spreads. Where that half spans fewer than
    `LEAST_SPAN` steps, a rise by `LEAST_MOVEMENT` spreads is enough, otherwise by `LEAST_RISE`.
    A row whose score has fallen after `LEAST_SPAN` steps in all is stuck, however it moves.
    """
    half = max(2, len(trace.scores) // 2)
    late = torch.stack(trace.scores[-half:])
    whole, span = (trace.steps[-1] - step for step in (trace.steps[0], trace.steps[-half:][0]))
    moving = late.amax(0) - late.amin(0) > LEAST_MOVEMENT * spread
    least = LEAST_RISE if span >= LEAST_SPAN else LEAST_MOVEMENT
    risen = final - initial > least * spread
    fallen = (final < initial) & (whole >= LEAST_SPAN)
    return ~(final.isfinite() & (moving | risen) & ~fallen)


def resting_rows(objective: LinearObjective, final: Tensor, spread: Tensor) -> Tensor:
    """Which rows (B,) are still at the resting value zero of their activation function."""
    return objective.excites & (final <= LEAST_MOVEMENT * spread)


def noise_pictures(shape: tuple[int, ...]) -> Iterator[Tensor]:
    """`NOISES` pictures or clips (1, *shape) of noise with the spectrum of photographs, 1/f."""
    scale = spectrum_scale(shape[1:], decay=1.0, temporal_decay=1.0)
    axes = tuple(range(-len(shape) + 1, 0))
    for number in range(NOISES):
        spectrum = normal([random_generator("noise", number)], 3, *scale.shape, 2)
        signal = torch.fft.irfftn(torch.view_as_complex(spectrum) * scale, s=shape[1:], dim=axes)
        yield (0.5 + CONTRAST * signal / signal.std()).clamp(0, 1)


def above_noise(initial: Tensor, final: Tensor, noise: Tensor, *, rests_at_zero: bool) -> bool:
    """Whether an ascent has excited a unit, by the unit's scores (K,) for pictures of noise.

    Its score must have risen by `LEAST_RISE` of their standard deviations, to above all of them and
    to `CLEAR` deviations above their mean. A unit that `rests_at_zero` must be above zero, too: one
    that noise drives below zero is silenced there, not excited.
    """
    deviation = noise.std().item()
    clear = max(noise.amax().item(), noise.mean().item() + CLEAR * deviation)
    if rests_at_zero:
        clear = max(clear, LEAST_MOVEMENT * deviation)
    least = max(LEAST_RISE * deviation, ROUNDING * abs(final.item()))
    return bool(final.isfinite() & (final - initial > least) & (final > clear))


@dataclass(frozen=True)
class NearestActivation:
    """The last activation function that runs before the layer is read.

    A forward pass runs it `calls` times. `is_read` says whether its own output is what is read.
    """

    module: nn.Module
    calls: int
    is_read: bool

    @property
    def rests_at_zero(self) -> bool:
        """Whether what is read is the output of ReLU, GELU, SiLU or one of their kind.

        Such a unit is silent at and below zero. Where the function dips below zero, its gradient
        points away from what the unit responds to.
        """
        return self.is_read and isinstance(self.module, (*RESTING_AT_ZERO, *timm_layers(*OF_TIMM)))

    @property
    def is_never_negative(self) -> bool:
        """Whether what is read is the output of a ReLU."""
        return self.is_read and isinstance(self.module, nn.ReLU | nn.ReLU6)

    @contextlib.contextmanager
    def leaking(self) -> Iterator[None]:
        """A context in which the activation function leaks gradient where it is silent.

        Its output stays the same. Where the output is zero or below, its gradient with respect to
        the input x becomes 1 / (2 + 2|x|), so that the ascent can leave a flat or falling part. In
        a mean over positions, the positions that are nearest to waking wake first. Only this one
        function leaks: through many at once, the sum of the leaked gradients leads nowhere.
        """
        module: Any = self.module
        in_place = getattr(module, "inplace", False)
        handle = module.register_forward_hook(_leak(self.calls), prepend=True)
        try:
            if in_place:
                module.inplace = False  # the hook needs the input as it was
            yield
        finally:
            if in_place:
                module.inplace = True
            handle.remove()


def nearest_activation(network: Network) -> NearestActivation | None:
    """The last activation function that a forward pass of an entered network runs, if any."""
    ran: list[nn.Module] = []
    last: list[Tensor] = []

    def note(module: nn.Module, args: Any, value: Tensor) -> None:
        ran.append(module)
        last[:] = [value.detach().clone()]  # a later module may change it in place

    model = network.model
    kinds = (*RECTIFIERS, *timm_layers(*OF_TIMM))
    active = [module for module in model.module.modules() if isinstance(module, kinds)]
    # Prepended: these hooks must run before the one that stops the pass at the layer that is read.
    handles = [module.register_forward_hook(note, prepend=True) for module in active]
    noise = torch.rand(1, *model.preprocessing.shape, generator=random_generator("nearest"))
    try:
        with torch.no_grad():
            *_, read = network(noise.to(model.device))
    finally:
        for handle in handles:
            handle.remove()
    if not last:
        return None
    alike = last[0].numel() == read.numel()  # not the shape, where groups are folded into the batch
    is_read = alike and torch.equal(last[0].float().reshape(read.shape), read) and bool(read.any())
    return NearestActivation(ran[-1], ran.count(ran[-1]), is_read)


def unwoken_rows(
    objective: LinearObjective,
    start: Sequence[Tensor],
    final: Tensor,
    trace: Trace,
    nearest: NearestActivation | None,
) -> Tensor:
    """Which rows (B,) an ascent did not wake: they are stuck, or rest at zero.

    A unit that is to be silenced and fell to zero behind a ReLU is not among them: it cannot fall
    further. `start` are the layers' outputs for the first pictures, `final` the scores (B,) of the
    last ones, and `nearest` is the activation function that runs last before the layer is read.
    """
    initial, varies = objective.scores(start), spread(objective, start)
    unwoken = stuck_rows(initial, final, trace, varies)
    if nearest and nearest.rests_at_zero and len(objective.layers) == 1:
        unwoken |= resting_rows(objective, final, varies)
    if nearest and nearest.is_never_negative:
        unwoken &= ~(objective.silences & (initial < 0) & (final == 0))
    return unwoken


def warn_of_lost(
    names: Sequence[str], unmoved: Tensor, rgb: Tensor, score: Callable[[Tensor], Tensor]
) -> None:
    """Warn of pictures that an ascent has not moved because their gradient is not finite.

    `unmoved` (B,) says which of the pictures `rgb` (B, 3, ...), called by `names`, it has not
    moved. `score` maps them to scores (N,), each from one picture alone.
    """
    if not unmoved.any():
        return
    leaf = rgb.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(leaf).sum(), leaf)
    lost = (unmoved & ~gradient.flatten(1).isfinite().all(1)).tolist()
    if any(lost):
        told = ", ".join(name for name, is_lost in zip(names, lost, strict=True) if is_lost)
        logger.warning("the gradient is not finite, so that no step can be made: %s", told)


def _leak(calls: int) -> Any:
    """A forward hook that leaks at every `calls`-th call: the last one of each pass."""
    call = itertools.count(1)

    def leak(module: nn.Module, args: tuple[Any, ...], value: Tensor) -> Tensor | None:
        if next(call) % calls:
            return None
        source: Tensor = args[0]
        still = source.detach()
        leaked = value.detach() + (source - still) / (2 + 2 * still.abs())
        return torch.where(value > 0, value, leaked)

    return leak
