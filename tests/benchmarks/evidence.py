"""What evidence says of the pictures of runs, whether cheap kinds predict the observer, and costs.

    python -m tests.benchmarks.evidence RUN... [--cost] [--swapped]

Reads the records of runs that were made with grounding.images and evidence.embedding. With
`--cost`, the evidence for the pictures of the first run is gathered again, with an empty cache, and
its CPU seconds are compared with those of the ascents, and passes through networks are counted.
With `--swapped`, it is gathered for units with each other's pictures.
"""

import argparse
import dataclasses
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap, spearmanr

from fvis.evidence.record import SeedsRecord
from fvis.evidence.verdict import judged
from fvis.record.unit import DEAD, UnitRecord
from fvis.run_folder import read_run

from .evidence_again import cost_table, swapped_table

RESAMPLES = 2000  # of the units, for the intervals of correlations


def _path(record: UnitRecord) -> float | None:
    return record.evidence.path.kept if record.evidence and record.evidence.path else None


def _natural(record: UnitRecord) -> float | None:
    observer = record.evidence and record.evidence.observer
    return observer.natural.accuracy if observer else None


def _seeds(record: UnitRecord) -> SeedsRecord:
    found = record.evidence.seeds if record.evidence else None
    return found or SeedsRecord()


def _certainty(record: UnitRecord) -> float | None:
    """The greatest probability that a stranger gives to a class, of several strangers the mean."""
    strangers = (record.evidence and record.evidence.strangers) or {}
    tops = [stranger.top[0][1] or 0.0 for stranger in strangers.values() if stranger.top]
    return statistics.fmean(tops) if tops else None


# What is cheap to know of a picture, and how it is read of a record.
CHEAP: dict[str, Callable[[UnitRecord], float | None]] = {
    "path kept": _path,
    "photographs' accuracy": _natural,
    "seeds' agreement": lambda record: _seeds(record).agreement,
    "seeds' similarity": lambda record: _seeds(record).similarity,
    "strangers' certainty": _certainty,
    "below": lambda record: record.grounding and record.grounding.below,
    "times the strongest photograph": lambda r: r.grounding and r.grounding.times_strongest,
    "the same, best position": lambda r: r.grounding and r.grounding.best_position.times_strongest,
    "activation's rise": lambda r: (r.activation.final or 0) - (r.activation.initial or 0),
}


@dataclass(frozen=True)
class Row:
    """A unit of a run, and how the observer does with its picture."""

    group: str
    record: UnitRecord
    accuracy: float
    score: float


def rows(runs: list[Path]) -> Iterator[Row]:
    """The units of runs that an observer has judged."""
    for run in runs:
        for unit in read_run(run).units():
            evidence = unit.record.evidence
            if evidence is not None and evidence.observer is not None:
                synthetic, failed = evidence.observer.synthetic, unit.record.status == DEAD
                group = f"{unit.record.model} {unit.record.layer}"
                activation = unit.record.activation
                ends = activation.initial or 0.0, activation.final or 0.0
                now = judged(evidence, *ends, failed=failed)
                record = dataclasses.replace(unit.record, evidence=now)  # by the rule as it is now
                yield Row(group, record, synthetic.accuracy or 0.0, synthetic.score or 0.0)


def observer_table(found: list[Row]) -> str:
    """The observer's accuracy with photographs, with pictures and shuffled, by layer; the words."""
    lines = [
        "| network and layer | units | natural | synthetic | gap | shuffled | words |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for group in dict.fromkeys(row.group for row in found):
        own = [row.record.evidence for row in found if row.group == group]
        seen = [one.observer for one in own if one is not None and one.observer is not None]
        means = [
            statistics.fmean(values)
            for values in (
                [one.natural.accuracy or 0.0 for one in seen],
                [one.synthetic.accuracy or 0.0 for one in seen],
                [one.gap or 0.0 for one in seen],
                [one.synthetic.shuffled or 0.0 for one in seen],
            )
        ]
        counts = Counter(one.word for one in own if one is not None)
        words = ", ".join(f"{count} {word}" for word, count in counts.most_common())
        numbers = " | ".join(f"{mean:.3f}" for mean in means)
        lines.append(f"| {group} | {len(seen)} | {numbers} | {words} |")
    return "\n".join(lines)


def correlation_table(found: list[Row]) -> str:
    """Spearman's rank correlation of the observer with each cheap kind of evidence.

    Beside each is its 95 % interval, by bootstrap over units. `within` is the mean of the
    correlations with the score within the layers, which differences between networks cannot bring
    about.
    """
    lines = ["| cheap evidence | units | with accuracy | 95 % | with score | 95 % | within |"]
    lines.append("| --- | ---: | ---: | --- | ---: | --- | ---: |")
    for name, read in CHEAP.items():
        known = [(read(row.record), row.accuracy, row.score) for row in found]
        columns = list(zip(*(one for one in known if one[0] is not None), strict=True))
        if not columns or len({*columns[0]}) < 2:
            continue
        numbers = " | ".join(_with_interval(columns[0], column) for column in columns[1:])
        lines.append(f"| {name} | {len(columns[0])} | {numbers} | {_within(found, read):.2f} |")
    return "\n".join(lines)


def _with_interval(first: Sequence[float], second: Sequence[float]) -> str:
    """Spearman's rank correlation, and its interval by percentiles of the bootstrap."""
    generator = np.random.default_rng(0)
    drawn = bootstrap(
        (first, second),
        _correlation,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=generator,
    )
    lowest, highest = drawn.confidence_interval
    return f"{_correlation(first, second):.2f} | {lowest:.2f} to {highest:.2f}"


def _correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where either never varies, as in some resamples."""
    if len({*first}) < 2 or len({*second}) < 2:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _within(found: list[Row], read: Callable[[UnitRecord], float | None]) -> float:
    """The mean rank correlation with the score within layers, weighted by their units."""
    total = count = 0.0
    for group in {row.group for row in found}:
        own = [(read(row.record), row.score) for row in found if row.group == group]
        known = [one for one in own if one[0] is not None]
        if len(known) > 3 and len({one[0] for one in known}) > 1:
            columns = zip(*known, strict=True)
            total += len(known) * float(spearmanr(*columns).statistic)
            count += len(known)
    return total / count if count else float("nan")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--swapped", action="store_true")
    words = parser.parse_args()
    found = list(rows(words.runs))
    print(observer_table(found), correlation_table(found), sep="\n\n")
    if words.cost:
        print("", cost_table(words.runs[0]), sep="\n")
    if words.swapped:
        print("", swapped_table(words.runs), sep="\n")


if __name__ == "__main__":
    main()
