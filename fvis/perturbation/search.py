"""The search for the smallest, smoothest change that makes a network choose a given target.

Projected gradient steps with momentum (Madry et al. 2018; Dong et al. 2018). Steps are low-passed,
with a cutoff that rises until the first success. A penalty on total variation and size gains weight
while the picture is taken for its target, and loses weight while it is not.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fvis.optimization import Optimization, cosine
from fvis.perturbation.ball import in_8_bits, projected
from fvis.perturbation.measures import LEVELS, total_variation
from fvis.schema import AdversarialConfig, EngineConfig

SURE = 3.0  # no gradient once the lead is this much
HEAVIEST = 1e6  # upper limit of the penalty's weight
GROW, YIELD = 1.4, 0.7  # factors on the penalty's weight per step: while successful, while not
SHARPEN = 1.3  # factor on a row's cutoff frequency per step, until its first success
WIDEN, NARROW = 1.15, 0.8  # factors on a row's stride per step: before its first success, after it
MOMENTUM = 0.5
LAST = 0.1  # length of the last step relative to that of the first
NYQUIST = 0.5  # cycles per pixel
SOFT = 2.0  # pixels take a full step where the smoothed gradient is this many times its mean

Values = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Found:
    """The best perturbed pictures (B, 3, H, W), in whole 8-bit levels.

    `first` (B,) is the number of steps before the first success, -1 where there was none.
    """

    pictures: Tensor
    first: Tensor


def margin(values: Tensor, targets: Tensor) -> Tensor:
    """By how much (B,) each row's target value exceeds the greatest of its other values (B, C)."""
    own = values.gather(1, targets[:, None])
    others = values.scatter(1, targets[:, None], -torch.inf)
    return own[:, 0] - others.amax(1)


def lead(values: Tensor, targets: Tensor, confidence: float, probability: float) -> Tensor:
    """By how much (B,) each row's target is ahead of what is asked for, in values (B, C).

    Its margin is to reach `confidence`, and its probability among all values `probability`, here in
    logits: the lesser of both leads counts. Below zero, one of them is not reached.
    """
    ahead = margin(values, targets) - confidence
    if probability <= 0:
        return ahead
    own = values.gather(1, targets[:, None])[:, 0]
    rest = values.scatter(1, targets[:, None], -torch.inf).logsumexp(1)
    return torch.minimum(ahead, own - rest - math.log(probability / (1 - probability)))


OBJECTIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "margin": margin,
    "logit": lambda values, targets: values.gather(1, targets[:, None])[:, 0],
    "cross_entropy": lambda values, targets: values.log_softmax(1).gather(1, targets[:, None])[
        :, 0
    ],
}


class Search(Optimization):
    """Perturbs pictures until the network takes each for its target, then makes the change smaller.

    Every step costs one gradient. The network sees each picture as its 8-bit file will hold it.
    Among the perturbations by which the target leads as `settings.confidence` and `.probability`
    ask (see `lead`), the one with the least penalty (total variation plus size) is kept; where
    there is none, the one with the greatest lead.

    Args:
        values: the network as a function from pictures (B, 3, H, W) to values (B, C).
        clean: pictures (B, 3, H, W) in [0, 1], whole multiples of 1/255.
        targets: the class or unit (B,) that each picture shall be taken for.
        settings: norm, objective, weights and strides.
        epsilon: the radius of the norm's ball, for RGB in [0, 1]; infinite for no norm.
        engine: how many steps, and how often values are logged.
    """

    def __init__(
        self,
        values: Values,
        clean: Tensor,
        targets: Tensor,
        settings: AdversarialConfig,
        epsilon: float,
        engine: EngineConfig,
    ) -> None:
        super().__init__(engine.steps, engine.log_every)
        self._values, self._clean, self._targets = values, clean, targets
        self._settings, self._epsilon = settings, epsilon
        stride = settings.step / LEVELS
        self._widest = stride if settings.norm == "linf" else 1.0
        strides = torch.full((len(clean), 1, 1, 1), stride, device=clean.device)
        self._best = _Best(clean)
        self._now = {
            "delta": torch.zeros_like(clean),
            "speed": torch.zeros_like(clean),
            "strides": strides,
            "cutoffs": torch.full_like(strides, settings.cutoff or torch.inf),
            "weights": torch.full_like(strides, settings.tv),
        }

    @torch.no_grad()
    def found(self) -> Found:
        """The best pictures so far, including those that the last step made."""
        file = self._file(self._now["delta"])
        best = self._best.copy()
        best.see(self.done, file, self._lead(self._values(file)), self._penalty(file - self._clean))
        return Found(best.pictures, best.first)

    def _advance(self) -> Tensor:
        now, settings = self._now, self._settings
        file = self._file(now["delta"]).requires_grad_(True)
        values = self._values(file)
        leads = self._lead(values).detach()
        objective = OBJECTIVES[settings.objective](values, self._targets)
        wanted = torch.where(leads < SURE, objective, 0)
        (uphill,) = torch.autograd.grad(wanted.sum(), file)
        with torch.no_grad():
            penalties = self._penalty(file - self._clean)
            success = self._best.see(self.done, file, leads, penalties)
            self._adapt(success)
        change = now["delta"].requires_grad_(True)
        (rough,) = torch.autograd.grad(self._penalty(change).sum(), change)
        with torch.no_grad():
            speed = MOMENTUM * now["speed"] + _even(uphill) - now["weights"] * _even(rough)
            lengths = now["strides"] * cosine(self.done, self.steps, LAST)
            moved = now["delta"] + lengths * _direction(speed, now["cutoffs"])
            delta = projected(self._clean, moved, settings.norm, self._epsilon)
        now |= {"speed": speed, "delta": delta}
        return OBJECTIVES["logit"](values, self._targets)

    def _adapt(self, success: Tensor) -> None:
        """Change each row's penalty weight, cutoff frequency and stride, by how it is doing."""
        now = self._now
        changes = torch.where(success, GROW, YIELD).view(-1, 1, 1, 1)
        now["weights"] = (changes * now["weights"]).clamp_max(HEAVIEST)
        tries = (self._best.first < 0).view(-1, 1, 1, 1)
        now["cutoffs"] = torch.where(tries, SHARPEN * now["cutoffs"], now["cutoffs"])
        wider = (WIDEN * now["strides"]).clamp_max(self._widest)
        strides = torch.where(tries, wider, now["strides"] * NARROW)
        now["strides"] = strides.clamp_min(self._settings.step / LEVELS)

    def _lead(self, values: Tensor) -> Tensor:
        settings = self._settings
        return lead(values, self._targets, settings.confidence, settings.probability)

    def _file(self, delta: Tensor) -> Tensor:
        return in_8_bits(self._clean, delta, self._settings.norm, self._epsilon)

    def _penalty(self, change: Tensor) -> Tensor:
        size = self._settings.size * LEVELS * change.abs().flatten(1).mean(1)
        return total_variation(change) + size

    def _state(self) -> dict[str, Any]:
        now = {name: tensor.detach() for name, tensor in self._now.items()}
        return {"now": now, "best": self._best.state_dict()}

    def _load(self, state: Mapping[str, Any]) -> None:
        self._now = {name: tensor.to(self._device) for name, tensor in state["now"].items()}
        self._best.load_state_dict(state["best"])

    @property
    def _device(self) -> torch.device:
        return self._clean.device


class _Best:
    """The best of all pictures seen so far, row by row."""

    def __init__(self, clean: Tensor) -> None:
        count, device = len(clean), clean.device
        self.penalties = torch.full((count,), torch.inf, device=device)
        self.pictures = clean.clone()
        self.leads = torch.full((count,), -torch.inf, device=device)
        self.first = torch.full((count,), -1, device=device)

    def see(self, step: int, rgb: Tensor, leads: Tensor, penalties: Tensor) -> Tensor:
        """Keep the pictures that are better; returns which rows (B,) are successful now."""
        success = leads >= 0
        surer = self.penalties.isinf() & ~success & (leads > self.leads)
        better = surer | (success & (penalties < self.penalties))
        self.pictures = torch.where(better.view(-1, 1, 1, 1), rgb.detach(), self.pictures)
        self.leads = torch.where(better, leads, self.leads)
        self.penalties = torch.where(better & success, penalties, self.penalties)
        self.first = torch.where((self.first < 0) & success, step, self.first)
        return success

    def copy(self) -> "_Best":
        """A shallow copy, which is enough: `see` replaces tensors and changes none in place."""
        return copy.copy(self)

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors by name."""
        names = ("pictures", "leads", "penalties", "first")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name, tensor in state.items():
            setattr(self, name, tensor.to(self.pictures.device))


def _even(gradient: Tensor) -> Tensor:
    """Each row's gradient (B, 3, H, W), scaled to a mean absolute value of 1."""
    strength = gradient.abs().flatten(1).mean(1).clamp_min(1e-30)
    return gradient / strength.view(-1, 1, 1, 1)


def _direction(speed: Tensor, cutoffs: Tensor) -> Tensor:
    """The direction of a step (B, 3, H, W), each pixel within [-1, 1].

    `speed` is low-passed: the filter halves amplitudes at the row's cutoff (cycles per pixel) and
    falls as 1/f^2 beyond it. A row whose cutoff exceeds all frequencies moves by the signs of its
    `speed`, which reach farthest in a small ball.
    """
    h, w = speed.shape[-2:]
    rows = torch.fft.fftfreq(h, device=speed.device)[:, None]
    columns = torch.fft.rfftfreq(w, device=speed.device)[None, :]
    gain = 1 / (1 + (rows.square() + columns.square()) / cutoffs.square())
    smooth = _even(torch.fft.irfft2(torch.fft.rfft2(speed) * gain, s=(h, w))) / SOFT
    return torch.where(cutoffs > NYQUIST, speed.sign(), smooth.clamp(-1, 1))
