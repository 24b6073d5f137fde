"""The search for the smallest, smoothest change that makes a network take a picture for another.

Projected gradient steps with momentum (Madry et al. 2018; Dong et al. 2018), low-passed as far as
each picture allows, under a penalty that grows for as long as the picture is taken for its target.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fvis.ascent import Trace, cosine
from fvis.perturbation.ball import in_8_bits, projected
from fvis.perturbation.measures import LEVELS, total_variation
from fvis.schema import AdversarialConfig, EngineConfig

SURE = 3.0  # margin beyond the asked one at which a row's objective rests
HEAVIEST = 1e6
GROW, YIELD = 1.4, 0.7  # the penalty's weight from step to step, while successful and while not
SHARPEN = 1.3  # a row's cutoff from step to step, until its first success
WIDEN, NARROW = 1.15, 0.8  # its stride before and after it, where no linf ball says how far to go
MOMENTUM = 0.5
LAST = 0.1  # share of the first step's length that is left at the last
NYQUIST = 0.5  # cycles per pixel
SOFT = 2.0  # mean strengths at which a step reaches its full length

Values = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Found:
    """The best perturbed pictures (B, 3, H, W), of whole levels; `margins` (B,) are theirs.

    `first` (B,) is how many steps the first success took, -1 where there was none.
    """

    pictures: Tensor
    margins: Tensor
    first: Tensor
    trace: Trace


def margin(values: Tensor, targets: Tensor) -> Tensor:
    """By how much each row's target (B,) exceeds the greatest of its other values (B, C)."""
    own = values.gather(1, targets[:, None])
    others = values.scatter(1, targets[:, None], -torch.inf)
    return own[:, 0] - others.amax(1)


OBJECTIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "margin": margin,
    "logit": lambda values, targets: values.gather(1, targets[:, None])[:, 0],
    "cross_entropy": lambda values, targets: values.log_softmax(1).gather(1, targets[:, None])[
        :, 0
    ],
}


def search(
    values: Values,
    clean: Tensor,
    targets: Tensor,
    settings: AdversarialConfig,
    epsilon: float,
    engine: EngineConfig,
    on_step: Callable[[int, Trace], None] = lambda step, trace: None,
) -> Found:
    """Perturb `clean` (B, 3, H, W), of whole levels, till `values` (B, C) peak at `targets` (B,).

    Every step costs one gradient. The network sees each picture as its 8-bit file will hold it.
    Kept is the perturbation with the least penalty of those whose margin is `confidence` or more,
    or, where there is none, the one with the greatest margin.
    """
    delta, speed = torch.zeros_like(clean), torch.zeros_like(clean)
    strides = torch.full((len(clean), 1, 1, 1), settings.step / LEVELS, device=clean.device)
    cutoffs = torch.full_like(strides, settings.cutoff or torch.inf)
    weights = torch.full_like(strides, settings.tv)
    widest = settings.step / LEVELS if settings.norm == "linf" else 1.0
    best, trace = _Best(clean, settings.confidence), Trace()

    def penalty(change: Tensor) -> Tensor:
        return total_variation(change) + settings.size * LEVELS * change.abs().flatten(1).mean(1)

    for step in range(engine.steps):
        file = in_8_bits(clean, delta, settings.norm, epsilon).requires_grad_(True)
        found = values(file)
        margins = margin(found, targets).detach()
        objective = OBJECTIVES[settings.objective](found, targets)
        wanted = torch.where(margins < settings.confidence + SURE, objective, 0)
        (uphill,) = torch.autograd.grad(wanted.sum(), file)
        with torch.no_grad():
            success = best.see(step, file, margins, penalty(file - clean))
            changes = torch.where(success, GROW, YIELD).view(-1, 1, 1, 1)
            weights = (changes * weights).clamp_max(HEAVIEST)
            tries = (best.first < 0).view(-1, 1, 1, 1)
            cutoffs = torch.where(tries, SHARPEN * cutoffs, cutoffs)
            strides = torch.where(tries, (WIDEN * strides).clamp_max(widest), strides * NARROW)
            strides = strides.clamp_min(settings.step / LEVELS)
        change = delta.requires_grad_(True)
        (rough,) = torch.autograd.grad(penalty(change).sum(), change)
        with torch.no_grad():
            speed = MOMENTUM * speed + _even(uphill) - weights * _even(rough)
            lengths = strides * cosine(step, engine.steps, LAST)
            moved = delta + lengths * _direction(speed, cutoffs)
            delta = projected(clean, moved, settings.norm, epsilon)
        if step % engine.log_every == 0 or step == engine.steps - 1:
            trace.steps.append(step)
            trace.scores.append(OBJECTIVES["logit"](found, targets).detach())
        on_step(step, trace)
    with torch.no_grad():
        file = in_8_bits(clean, delta, settings.norm, epsilon)
        best.see(engine.steps, file, margin(values(file), targets), penalty(file - clean))
    return Found(best.pictures, best.margins, best.first, trace)


class _Best:
    """The best of all pictures seen, row by row."""

    def __init__(self, clean: Tensor, confidence: float) -> None:
        count, device = len(clean), clean.device
        self._confidence = confidence
        self._penalties = torch.full((count,), torch.inf, device=device)
        self.pictures = clean.clone()
        self.margins = torch.full((count,), -torch.inf, device=device)
        self.first = torch.full((count,), -1, device=device)

    def see(self, step: int, rgb: Tensor, margins: Tensor, penalties: Tensor) -> Tensor:
        """Take what is better; returns which rows (B,) are successful now."""
        success = margins >= self._confidence
        surer = self._penalties.isinf() & ~success & (margins > self.margins)
        better = surer | (success & (penalties < self._penalties))
        self.pictures = torch.where(better.view(-1, 1, 1, 1), rgb.detach(), self.pictures)
        self.margins = torch.where(better, margins, self.margins)
        self._penalties = torch.where(better & success, penalties, self._penalties)
        self.first = torch.where((self.first < 0) & success, step, self.first)
        return success


def _even(gradient: Tensor) -> Tensor:
    """Each row's gradient (B, 3, H, W) at a mean strength of 1."""
    strength = gradient.abs().flatten(1).mean(1).clamp_min(1e-30)
    return gradient / strength.view(-1, 1, 1, 1)


def _direction(speed: Tensor, cutoffs: Tensor) -> Tensor:
    """Where pixels go, at most 1 each: smoothly below the rows' cutoffs, cycles per pixel.

    A filter halves what has the cutoff's frequency and falls as 1/f^2 beyond. Steps of a row that
    is past all frequencies are signs alone, which reach farthest in a small ball.
    """
    h, w = speed.shape[-2:]
    rows = torch.fft.fftfreq(h, device=speed.device)[:, None]
    columns = torch.fft.rfftfreq(w, device=speed.device)[None, :]
    gain = 1 / (1 + (rows.square() + columns.square()) / cutoffs.square())
    smooth = _even(torch.fft.irfft2(torch.fft.rfft2(speed) * gain, s=(h, w))) / SOFT
    return torch.where(cutoffs > NYQUIST, speed.sign(), smooth.clamp(-1, 1))
