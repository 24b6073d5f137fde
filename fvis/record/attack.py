"""What `method=adversarial` adds to metadata.json."""

import math
from dataclasses import dataclass, field

from fvis.record.unit import Top, UnitRecord
from fvis.typed_json import Number, key


@dataclass(frozen=True)
class MarginRecord:
    """By how much the target exceeds every other class, before and after."""

    clean: Number = None
    adversarial: Number = None


@dataclass(frozen=True)
class ProbabilityRecord:
    """The target's probability, before and after: a success may be the likeliest class at 5 %."""

    clean: Number = None
    adversarial: Number = None


@dataclass(frozen=True)
class TransferRecord:
    """What another network says of both pictures; `success` is null where it has no such class."""

    success: bool | None = None
    clean: Top = field(default_factory=list)
    adversarial: Top = field(default_factory=list)


@dataclass(frozen=True)
class AttackedRecord:
    """What one of several networks that are attacked at once says of both pictures."""

    success: bool | None = None
    probability: ProbabilityRecord | None = None
    margin: MarginRecord = field(default_factory=MarginRecord)
    clean: Top = field(default_factory=list)
    adversarial: Top = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class AdversarialRecord(UnitRecord):
    """What `method=adversarial` adds; norms are of RGB in [0, 1], see `perturbation.measures`.

    `target` is a class or unit; for `any`, to be taken for any other class than before, `margin`
    and `probability` are of all other classes, and `activation` is of the class before. `start` is
    a clip's first frame in its video. Where several networks are attacked at once, `networks` has
    what each says, and `success` is that with all; `activation` is the mean over them, and
    `probability`, `margin`, `clean` and `adversarial` are those of `model`.
    """

    source: str | None = None
    image: str | None = None
    start: int | None = key(omitted=True)
    target: int | str | None = None
    class_name: str | int | None = key("class")
    probability: ProbabilityRecord | None = None
    success: bool | None = None
    steps_to_success: int | None = None
    margin: MarginRecord = field(default_factory=MarginRecord)
    clean: Top = field(default_factory=list)
    adversarial: Top = field(default_factory=list)
    networks: dict[str, AttackedRecord] | None = key(omitted=True)
    norm: str | None = None
    epsilon: Number = None
    linf: Number = None
    l2: Number = None
    tv: Number = None
    spectral_centroid: Number = None
    ssim: Number = None
    amplification: Number = None
    transfer: dict[str, TransferRecord] = field(default_factory=dict)

    def tally(self) -> dict[str, float]:
        """Success, steps, size and smoothness, and success with each network by itself.

        Nothing of a picture that is taken for its target as it is, however surely: there was
        nothing to attack.
        """
        each = self.networks or {}
        before = [one.margin.clean for one in each.values()] or [self.margin.clean]
        if all(clean is not None and clean > 0 for clean in before):
            return {}
        names = ("success", "steps_to_success", "linf", "l2", "tv", "ssim", "spectral_centroid")
        numbers = {name: getattr(self, name) for name in names}
        numbers |= {f"networks.{name}": one.success for name, one in each.items()}
        numbers |= {f"transfer.{name}": other.success for name, other in self.transfer.items()}
        known = {name: float(n) for name, n in numbers.items() if n is not None}
        return {name: n for name, n in known.items() if math.isfinite(n)}
