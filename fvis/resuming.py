"""What `fvis resume` finds to do in a folder: runs, and the jobs of sweeps that never began."""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from fvis import provenance, runner, schema, workspace
from fvis.errors import RequestError
from fvis.record.run import SweepJobRecord
from fvis.run_folder import RUN_FILE, SWEEP_FILE, read_sweep, subfolders


@dataclass(frozen=True)
class Unfinished:
    """A run to finish, or where `job` is given a job of a sweep that has left no run.

    `fault` is why the jobs of a sweep are not known, which is raised when their turn comes.
    """

    directory: Path
    job: SweepJobRecord | None = None
    asked_in: str | None = None
    fault: RequestError | None = None

    def __call__(self, *, force: bool) -> bool:
        """Do what is left to do; returns whether there was anything."""
        if self.fault is not None:
            raise self.fault
        if self.job is None:
            return runner.resume(self.directory, force=force)
        config = schema.parse(OmegaConf.create(self.job.config))
        with workspace.working_directory(self.asked_in):
            provenance.announce_code(config, {})
            runner.run(config, self.directory, self.job.texts, force=force)
        return True


def unfinished(folder: Path) -> Iterator[Unfinished]:
    """Every run in a folder and below it, and every job of a sweep that has left no run.

    Whether a run is finished, only the work itself finds out. Raises `RequestError` where the
    folder holds neither runs nor sweeps.
    """
    found = False
    for work in _search(folder.resolve()):
        found = True
        yield work
    if not found:
        raise RequestError(f"{folder} holds no run and no sweep: there is nothing to resume")


def _search(folder: Path, known: Set[Path] = frozenset()) -> Iterator[Unfinished]:
    """The work at and below a folder, but for that at the places that are `known` already."""
    if (folder / RUN_FILE).is_file():
        yield Unfinished(folder)
        return
    sweep, planned = None, set(known)
    try:
        sweep = read_sweep(folder)
    except RequestError as error:  # what has begun is finished all the same
        yield Unfinished(folder, fault=error)
    for job in sweep.jobs if sweep else ():
        place = _place(folder, job)
        planned.add(place)
        began = (place / RUN_FILE).is_file()
        yield (
            Unfinished(place)
            if began
            else Unfinished(place, job, sweep.directory if sweep else None)
        )
    if not folder.is_dir():
        return
    for place in subfolders(folder):
        if place not in planned:
            yield from _search(place, planned)


def _place(sweep: Path, job: SweepJobRecord) -> Path:
    """The folder of a sweep's job; raises `RequestError` where it would write anywhere else."""
    place = sweep / job.folder
    texts = [place / ".hydra" / Path(name).name for name in job.texts]
    inside = place.resolve().is_relative_to(sweep)
    if not inside or texts != [place / name for name in job.texts]:
        raise RequestError(f"{sweep / SWEEP_FILE} has a job that writes outside of its own folder")
    return place
