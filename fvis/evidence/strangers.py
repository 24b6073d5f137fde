"""What other networks, which had no part in making a picture, take it for."""

from collections.abc import Sequence

from fvis.context import Context
from fvis.evidence.others import stacked
from fvis.evidence.record import StrangerRecord
from fvis.models.base import Model
from fvis.models.layers import LOGITS
from fvis.objectives import Target
from fvis.perturbation.aims import Aim
from fvis.perturbation.classifier import Classifier, load_classifiers
from fvis.record.unit import Top
from fvis.schema import TargetConfig, parse_models
from fvis.synthesis import Optimum

SETTING = "evidence.strangers"


class Strangers:
    """The networks of `evidence.strangers`, as classifiers."""

    def __init__(self, context: Context) -> None:
        target, engine = context.config.target, context.config.engine
        asked = context.config.evidence.strangers

        def load() -> dict[str, Classifier]:
            configs = parse_models(asked, SETTING)
            return load_classifiers(configs, engine.seed, context.device, context.autocast)

        self._strangers = context.once(f"{SETTING}={asked}", load)
        self._own: Classifier | None = None  # where the units are classes
        if self._strangers and target.layer == LOGITS and target.dictionary is None:
            self._own = Classifier(context.model, TargetConfig(), context.autocast)

    @property
    def models(self) -> list[Model]:
        """The networks themselves."""
        return [stranger.model for stranger in self._strangers.values()]

    def see(
        self, jobs: Sequence[Target], optima: Sequence[Optimum]
    ) -> list[dict[str, StrangerRecord]]:
        """What each network, by its name, takes each picture for."""
        found: list[dict[str, StrangerRecord]] = [{} for _ in jobs]
        pictures = stacked(optima)
        for name, stranger in self._strangers.items():
            aims = [self._aim(job, stranger) for job in jobs]
            verdicts = stranger.judge(pictures, aims)
            for row, verdict in zip(found, verdicts, strict=True):
                top: Top = [(stranger.label(index), chance) for index, chance in verdict.top]
                row[name] = StrangerRecord(top, verdict.rank, stranger.count)
        return found

    def _aim(self, job: Target, stranger: Classifier) -> Aim | None:
        """The job's class, by the stranger's index; None where either has no such class."""
        if self._own is None or not isinstance(job.unit, int):
            return None
        index = stranger.counterpart(job.unit, self._own)
        return None if index is None else Aim(index)
