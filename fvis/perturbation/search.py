"""The search for the smallest, smoothest change that makes networks choose a given target.

Projected gradient steps with momentum (Madry et al. 2018; Dong et al. 2018). Steps are low-passed,
with a cutoff that rises until the first success. A penalty on total variation and size gains weight
while the picture is taken for its target, and loses weight while it is not.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fvis.optimization import Optimization, cosine
from fvis.perturbation.aims import Aims
from fvis.perturbation.ball import in_8_bits, per_row, projected
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
    """The best perturbed pictures (B, 3, ...), in whole 8-bit levels.

    `first` (B,) is the number of steps before the first success, -1 where there was none.
    """

    pictures: Tensor
    first: Tensor


class Search(Optimization):
    """Perturbs pictures until networks take each for its target, then makes the change smaller.

    Every step costs one gradient of each network. They see each picture as its 8-bit file will hold
    it. Their objectives are averaged; a network gives no more gradient once it is sure. Among the
    perturbations by which the target leads in every network as `settings.confidence` and
    `.probability` ask (see `Aims.lead`), the one with the least penalty (total variation plus size)
    is kept; where there is none, the one whose least lead is the greatest.

    Args:
        networks: functions from pictures (B, 3, H, W) or clips (B, 3, T, H, W) to values (B, C).
        aims: what each of them shall take the pictures for.
        clean: pictures or clips in [0, 1], whole multiples of 1/255.
        settings: norm, objective, weights and strides.
        epsilon: the radius of the norm's ball, for RGB in [0, 1]; infinite for no norm.
        engine: how many steps, and how often values are logged.
    """

    def __init__(
        self,
        networks: Sequence[Values],
        aims: Sequence[Aims],
        clean: Tensor,
        settings: AdversarialConfig,
        epsilon: float,
        engine: EngineConfig,
    ) -> None:
        super().__init__(engine.steps, engine.log_every)
        self._networks, self._aims, self._clean = networks, aims, clean
        self._settings, self._epsilon = settings, epsilon
        self._shortest = self._longest = settings.step / LEVELS
        if settings.norm != "linf":
            # No longer than half the ball's radius, where there is one.
            self._longest = min(1.0, epsilon / clean[0].numel() ** 0.5 / 2)
            self._shortest = min(self._shortest, self._longest)
        strides = torch.full((len(clean),), self._shortest, device=clean.device)
        strides = per_row(strides, clean)
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
        leads = self._leads([network(file) for network in self._networks])
        best.see(self.done, file, leads.amin(0), self._penalty(file - self._clean))
        return Found(best.pictures, best.first)

    def _advance(self) -> Tensor:
        now, settings = self._now, self._settings
        file = self._file(now["delta"]).requires_grad_(True)
        values = [network(file) for network in self._networks]
        leads = self._leads(values).detach()
        (uphill,) = torch.autograd.grad(self._wanted(values, leads).sum(), file)
        with torch.no_grad():
            penalties = self._penalty(file - self._clean)
            success = self._best.see(self.done, file, leads.amin(0), penalties)
            self._adapt(success)
        change = now["delta"].requires_grad_(True)
        (rough,) = torch.autograd.grad(self._penalty(change).sum(), change)
        with torch.no_grad():
            speed = MOMENTUM * now["speed"] + _even(uphill) - now["weights"] * _even(rough)
            lengths = now["strides"] * cosine(self.done, self.steps, LAST)
            moved = now["delta"] + lengths * _direction(speed, now["cutoffs"], settings.norm)
            delta = projected(self._clean, moved, settings.norm, self._epsilon)
        now |= {"speed": speed, "delta": delta}
        own = [aims.own(some) for aims, some in zip(self._aims, values, strict=True)]
        return torch.stack(own).mean(0)

    def _wanted(self, values: Sequence[Tensor], leads: Tensor) -> Tensor:
        """The mean (B,) of the networks' objectives; that of a network that is sure counts as 0."""
        name, pairs = self._settings.objective, zip(self._aims, values, strict=True)
        objectives = torch.stack([aims.objective(name, some) for aims, some in pairs])
        return torch.where(leads < SURE, objectives, 0).mean(0)

    def _adapt(self, success: Tensor) -> None:
        """Change each row's penalty weight, cutoff frequency and stride, by how it is doing."""
        now = self._now
        changes = per_row(torch.where(success, GROW, YIELD), self._clean)
        now["weights"] = (changes * now["weights"]).clamp_max(HEAVIEST)
        tries = per_row(self._best.first < 0, self._clean)
        now["cutoffs"] = torch.where(tries, SHARPEN * now["cutoffs"], now["cutoffs"])
        wider = (WIDEN * now["strides"]).clamp_max(self._longest)
        strides = torch.where(tries, wider, now["strides"] * NARROW)
        now["strides"] = strides.clamp_min(self._shortest)

    def _leads(self, values: Sequence[Tensor]) -> Tensor:
        """By how much each network's rows lead, (K, B)."""
        asked = (self._settings.confidence, self._settings.probability)
        pairs = zip(self._aims, values, strict=True)
        return torch.stack([aims.lead(some, *asked) for aims, some in pairs])

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
        self.pictures = torch.where(per_row(better, rgb), rgb.detach(), self.pictures)
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
    """Each row's gradient (B, 3, ...), scaled to a mean absolute value of 1."""
    strength = gradient.abs().flatten(1).mean(1).clamp_min(1e-30)
    return gradient / per_row(strength, gradient)


def _direction(speed: Tensor, cutoffs: Tensor, norm: str) -> Tensor:
    """The direction of a step (B, 3, ...): each pixel within [-1, 1], or their mean square is 1.

    `speed` is low-passed: the filter halves amplitudes at the row's cutoff (cycles per pixel; along
    time, cycles per frame) and falls as 1/f^2 beyond it. A row whose cutoff is above `NYQUIST`
    moves by the signs of its `speed`, or, for norm l2, along it: so each reaches farthest in its
    small ball.
    """
    size = speed.shape[2:]
    axes = tuple(range(2, speed.dim()))
    squares = torch.zeros((), device=speed.device)
    for count in size[:-1]:
        along = torch.fft.fftfreq(count, device=speed.device)
        squares = squares[..., None] + along.square()
    squares = squares[..., None] + torch.fft.rfftfreq(size[-1], device=speed.device).square()
    gain = 1 / (1 + squares / cutoffs.square())
    smooth = torch.fft.irfftn(torch.fft.rfftn(speed, dim=axes) * gain, s=size, dim=axes)
    sharp = speed.sign()
    if norm == "l2":
        root = speed.square().flatten(1).mean(1).sqrt()
        sharp = speed / per_row(root.clamp_min(1e-30), speed)
    return torch.where(cutoffs > NYQUIST, sharp, (_even(smooth) / SOFT).clamp(-1, 1))
