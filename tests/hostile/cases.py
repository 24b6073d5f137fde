"""All kinds of hostile cases by name, and any case of a kind by its number."""

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence

from tests.hostile.case import Case, Make
from tests.hostile.kinds import (
    checkpoints,
    config_folders,
    faults,
    networks,
    outputs,
    overrides,
    pictures,
    run_folders,
)

KINDS: Mapping[str, Make] = {
    "overrides": overrides.make,
    "config_folders": config_folders.make,
    "checkpoints": checkpoints.make,
    "pictures": pictures.make,
    "networks": networks.make,
    "run_folders": run_folders.make,
    "outputs": outputs.make,
    "faults": faults.make,
}


def case(kind: str, number: int, seed: int) -> Case:
    """One case of a kind, the same for the same seed and number."""
    with warnings.catch_warnings(action="ignore"):  # of the odd tensors that some cases hold
        return Case(kind, number, KINDS[kind](random.Random(f"{seed}/{kind}/{number}")))


def cases(kinds: Sequence[str], count: int, seed: int) -> Iterator[Case]:
    """So many cases, of all the kinds in turn."""
    for index in range(count):
        yield case(kinds[index % len(kinds)], index // len(kinds), seed)
