"""What networks say of an attack's files, and what is measured on them, as metadata.json has it."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fvis.models.layers import LOGITS
from fvis.perturbation import measures
from fvis.perturbation.classifier import Classifier, Verdict
from fvis.record.attack import AttackedRecord, MarginRecord, ProbabilityRecord, TransferRecord
from fvis.record.unit import ActivationRecord, Top


@dataclass(frozen=True)
class Judged:
    """What one network says of the clean and of the adversarial picture."""

    network: Classifier
    before: Verdict
    after: Verdict

    @property
    def is_finite(self) -> bool:
        """Whether the network gives a finite number for the adversarial picture."""
        return self.after.value is not None and math.isfinite(self.after.value)

    def record(self) -> AttackedRecord:
        """The record of a network that is attacked."""
        before, after = self.before, self.after
        has_probability = self.network.layer.path == LOGITS
        return AttackedRecord(
            success=after.success,
            probability=ProbabilityRecord(before.shown, after.shown) if has_probability else None,
            margin=MarginRecord(before.margin, after.margin),
            clean=self._top(before),
            adversarial=self._top(after),
        )

    def transfer_record(self) -> TransferRecord:
        """The record of a network of `method.transfer`."""
        return TransferRecord(self.after.success, self._top(self.before), self._top(self.after))

    def _top(self, verdict: Verdict) -> Top:
        return [(self.network.label(index), chance) for index, chance in verdict.top]


@dataclass(frozen=True)
class Outcome:
    """An attack's pictures (3, ...), as read back from their files, and what networks say of them.

    `attacked` and `transfer` have the networks attacked and the others, by name.
    """

    clean: Tensor
    adversarial: Tensor
    attacked: Mapping[str, Judged]
    transfer: Mapping[str, Judged]

    @property
    def success(self) -> bool:
        """Whether every network that is attacked takes the picture for its target."""
        return all(judged.after.success for judged in self.attacked.values())

    @property
    def _change(self) -> Tensor:
        """What was added (3, ...), in whole grey levels: in float32 some would pass their bound."""
        made, clean = (
            rgb.cpu().double() * measures.LEVELS for rgb in (self.adversarial, self.clean)
        )
        return (made.round() - clean.round()) / measures.LEVELS

    def activation(self, trace: list[tuple[int, float]]) -> ActivationRecord:
        """The target's values, averaged over the networks that are attacked."""
        pairs = [(one.before.value, one.after.value) for one in self.attacked.values()]
        initial, final = (
            statistics.fmean(n for n in side if n is not None) for side in zip(*pairs, strict=True)
        )
        return ActivationRecord(initial, final, [*trace])

    def measured(self) -> dict[str, Any]:
        """The size, smoothness and visibility of the perturbation, by field of the record."""
        delta = self._change[None]
        numbers = {
            "linf": measures.linf(delta),
            "l2": measures.l2(delta),
            "tv": measures.total_variation(delta),
            "spectral_centroid": measures.spectral_centroid(delta),
        }
        ssim = measures.ssim(self.clean, self.adversarial)
        return {**{name: number.item() for name, number in numbers.items()}, "ssim": ssim}
