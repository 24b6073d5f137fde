"""The trials of a quiz: the machine observer's tasks, for people (Borowski et al. 2021).

In each trial a grid of pictures shows what excites a unit least, another one what excites it most,
and one of two photographs is to be chosen as the one that excites the unit more.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fvis.errors import RequestError
from fvis.evidence.record import TaskRecord
from fvis.randomness import random_generator
from fvis.run_folder import SavedRun, SavedUnit

NATURAL, SYNTHETIC, CATCH = "natural", "synthetic", "catch"
CATCH_EVERY = 10  # trials: so often the answer lies in the grid itself

Pictures = tuple[str | Path, ...]  # names of photographs, paths of files


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        run: the hash of the run's config.
        unit: the name of the unit's directory.
        condition: natural, synthetic or catch.
        task: the number of the task among the unit's, from 0.
        minimising, maximising: the pictures of the grids: names of photographs, or for synthetic
            ones the paths of files.
        queries: the names of the two photographs to choose from, in the order in which they are
            shown.
    """

    run: str
    unit: str
    condition: str
    task: int
    minimising: Pictures
    maximising: Pictures
    queries: tuple[str, str]


def choices(task: TaskRecord, condition: str) -> tuple[str, str]:
    """The names of the two photographs to choose from; the first is the right answer."""
    if condition == CATCH:
        return task.strong_references[0], task.weak_references[0]
    return task.strong, task.weak


def concealed(name: str) -> str:
    """A photograph's name in a quiz: a hash, since its own name may say what it shows.

    >>> concealed("zebra/003.jpg")
    'fae6bb5d75a6'
    """
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]


def make_trials(runs: Sequence[SavedRun], tasks: int, seed: int) -> list[Trial]:
    """Trials of all units of the runs that have tasks, in an order drawn from `seed`.

    Each unit has up to `tasks` trials with photographs and as many with optimal pictures. After
    five trials, and then after every ten, comes one whose answer is a picture of the grid, to catch
    people who do not look; of every run there is one at least. Raises `RequestError` where
    no unit has tasks.
    """
    units = [(run, unit) for run in runs for unit in run.units()]
    asked = [trial for run, unit in units for trial in _of_unit(run, unit, tasks, seed)]
    if not asked:
        raise RequestError(
            "no unit has tasks for people: run with grounding.images=PHOTOS and "
            "evidence.embedding=SOURCE/NAME, as timm/resnet50"
        )
    generator = random_generator("quiz", seed)
    ordinary = _shuffled([trial for trial in asked if trial.condition != CATCH], generator)
    mixed: list[Trial] = []
    catching = _catching(asked, generator)
    catch = itertools.cycle(catching)
    for number, trial in enumerate(ordinary, 1):
        mixed.append(trial)
        if number % CATCH_EVERY == CATCH_EVERY // 2:
            mixed.append(next(catch))
    caught = {trial.run for trial in mixed if trial.condition == CATCH}
    mixed += {trial.run: trial for trial in catching if trial.run not in caught}.values()
    return list(dict.fromkeys(mixed))


def _catching(asked: Sequence[Trial], generator: torch.Generator) -> list[Trial]:
    """The catch trials, of each run in turn: a run is scored by its own."""
    of_runs: dict[str, list[Trial]] = {}
    for trial in asked:
        if trial.condition == CATCH:
            of_runs.setdefault(trial.run, []).append(trial)
    shuffled = [_shuffled(trials, generator) for trials in of_runs.values()]
    rounds = itertools.zip_longest(*shuffled)
    return [trial for one in rounds for trial in one if trial is not None]


def _shuffled(trials: Sequence[Trial], generator: torch.Generator) -> list[Trial]:
    return [trials[place] for place in torch.randperm(len(trials), generator=generator).tolist()]


def _of_unit(run: SavedRun, unit: SavedUnit, tasks: int, seed: int) -> Iterator[Trial]:
    evidence = unit.record.evidence
    if evidence is None or evidence.observer is None or run.record.config_sha256 is None:
        return
    for number, task in enumerate(evidence.observer.tasks[:tasks]):
        sides: dict[str, tuple[Pictures, Pictures]] = {
            NATURAL: (tuple(task.weak_references), tuple(task.strong_references)),
            SYNTHETIC: (_files(unit, "minimising-*.png"), _maximising(unit)),
        }
        sides[CATCH] = sides[NATURAL]
        for condition, (minimising, maximising) in sides.items():
            pair = choices(task, condition)
            key = ("quiz", seed, unit.folder.name, condition, number)
            turned = bool(torch.randint(2, (1,), generator=random_generator(*key)))
            queries = (pair[1], pair[0]) if turned else pair
            yield Trial(
                run.record.config_sha256,
                unit.folder.name,
                condition,
                number,
                minimising,
                maximising,
                queries,
            )


def _maximising(unit: SavedUnit) -> Pictures:
    return (unit.picture, *_files(unit, "seed-*.png"))


def _files(unit: SavedUnit, pattern: str) -> Pictures:
    listed = set(unit.record.files or [])
    found = [file for file in unit.folder.glob(pattern) if file.name in listed]
    return tuple(sorted(found, key=lambda file: (len(file.name), file.name)))
