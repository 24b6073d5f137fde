"""One config to one output folder, begun or resumed: the only module that knows all others."""

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from fvis import layout, memory, models, provenance, schema, workspace
from fvis.architecture_defaults import with_architecture_defaults
from fvis.batch_state import BatchState
from fvis.batching import auto_size, in_batches
from fvis.context import Context
from fvis.errors import FailedRunError, InterruptedRunError, RequestError, UnwritableError
from fvis.gallery.page import write_index
from fvis.interruption import DeferredInterruption
from fvis.methods import Method, Result
from fvis.models import Model
from fvis.optimization import Optimization
from fvis.pacing import Pace
from fvis.plan import Plan, plan
from fvis.progress import Progress, log_file
from fvis.record import DEAD, DONE, RunRecord, UnitRecord
from fvis.recorder import Recorder, finished_units
from fvis.run_folder import RUN_FILE, UNITS, read_run, write_unit
from fvis.schema import Config
from fvis.workspace import BATCH_FILE, INDEX

PAGE_EVERY = 20  # seconds between two pages of a run that is at work

logger = logging.getLogger(__name__)


def run(
    config: Config,
    directory: Path,
    texts: Mapping[str, str] | None = None,
    *,
    force: bool = False,
) -> Path:
    """Carry out `config`, leaving its pictures and numbers in `directory`.

    `texts` are further files to write, by path. Nothing is written before the request has proved
    right: model built, weights loaded, targets found; till then, and where the folder already
    holds another config's run or an unfinished one, `RequestError` is raised. With `force` such a
    run is replaced. From then on every unit's directory is whole or absent, and `run.json` says
    running, done or interrupted.
    """
    workspace.check_place(directory)
    context = prepare(config)
    planned = plan(context)
    record = _describe(context, planned)
    old = read_run(directory).record if (directory / RUN_FILE).is_file() else None
    if old is not None and not force:
        workspace.refuse_to_replace(directory, old, record)
    with workspace.locked(directory):
        workspace.clear_leftovers(directory)
        if old is not None:
            workspace.clear(directory)
        _carry_out(directory, Recorder(directory, record), context, planned, texts)
    return directory


def resume(directory: Path, *, force: bool = False) -> bool:
    """Finish the run in `directory`; returns whether there was anything left to do.

    Units that are whole are left as they are, and the batch that was at work goes on from its last
    saved state. Raises `RequestError` where anything that the pictures depend on has changed since;
    with `force` the run goes on all the same, and run.json says so. Code of the user's is named
    before it is run, and is not run where it has changed.
    """
    directory = directory.resolve()
    old = read_run(directory).record
    if old.config_sha256 is None:
        raise RequestError(f"{directory} is a run of an older fvis, which cannot be resumed")
    finished = finished_units(directory, old)
    if old.status == DONE and len(finished) == len(old.jobs):
        workspace.clear_done(directory)
        if old.units != list(finished):  # run.json has been changed
            Recorder(directory, old, finished).end(lambda done: workspace.show(directory, done))
            return True
        if (directory / INDEX).is_file():
            return False
        write_index([directory], directory / INDEX)
        return True
    workspace.check_place(directory)
    with workspace.locked(directory), workspace.working_directory(old.directory):
        workspace.clear_leftovers(directory)
        config = _config_of(old)
        _refuse_changes(directory, old, provenance.announce_code(config, old.inputs), force)
        context = prepare(config)
        planned = plan(context)
        now = _describe(context, planned)
        changes = _refuse_changes(directory, old, provenance.changes(old, now), force)
        record = dataclasses.replace(old, jobs=now.jobs, forced=[*old.forced, *changes])
        recorder = Recorder(directory, record, finished_units(directory, record))
        _carry_out(directory, recorder, context, planned)
    return True


def _refuse_changes(
    directory: Path, old: RunRecord, found: Sequence[str], force: bool
) -> list[str]:
    """The changes that were not forced before; raises `RequestError` for them without `force`."""
    changes = [change for change in found if change not in old.forced]
    if changes and not force:
        raise RequestError(
            f"{directory} cannot be resumed as it was begun; changed since: "
            f"{', '.join(changes)} (--force goes on all the same)"
        )
    return changes


def prepare(config: Config, model: Model | None = None) -> Context:
    """The model a config asks for on its device, and the config with what the model settles.

    With a `model` given, that one; the config's is not looked at. Raises `RequestError` where the
    run cannot fit into memory.
    """
    device = find_device(config.engine.device)
    if config.engine.threads is not None:
        torch.set_num_threads(config.engine.threads)
    model = model or models.load(config.model, config.engine.seed)
    model.module.to(device)
    config = with_architecture_defaults(config, model)
    memory.check(config, model.preprocessing.shape, device)
    layout.arrange(model, config.engine.channels_last, device)
    return Context(config, model, device)


def find_device(name: str) -> torch.device:
    """The device called `name`; `auto` is cuda, then mps, then cpu."""
    if name == "auto":
        name = "cpu"
        if torch.backends.mps.is_available():
            name = "mps"
        if torch.cuda.is_available():
            name = "cuda"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except Exception as error:  # each kind of device that torch lacks fails in its own way
        reason = str(error).splitlines()[0]
        raise RequestError(f"engine.device={name} cannot be used: {reason}") from None
    return device


def solve(planned: Plan, config: Config, device: torch.device) -> Iterator[Result]:
    """All results, batch by batch; nothing is written."""
    sizes = [_batch_size(planned, config, device)]
    with Progress(planned.steps) as progress:

        def run_stage(stage: str, optimization: Optimization) -> None:
            optimization.run(progress.on_step)

        for method in planned.methods:

            def work(batch: list[Any], method: Method = method) -> list[Result]:
                progress.batch = len(batch)
                started = time.monotonic()
                results = method.solve(batch, run_stage)
                seconds = round((time.monotonic() - started) / len(batch), 3)
                return [result.with_fields(seconds=seconds) for result in results]

            for results in in_batches(method.groups, sizes[-1], work, on_resize=sizes.append):
                yield from results


def _describe(context: Context, planned: Plan) -> RunRecord:
    record = provenance.describe(context, planned.inputs, planned.names)
    size = _batch_size(planned, context.config, context.device)
    return dataclasses.replace(
        record, layers=dict(planned.depths), refused=planned.refused, batch_size=size
    )


def _batch_size(planned: Plan, config: Config, device: torch.device) -> int:
    size = config.engine.batch_size
    return auto_size(device, planned.share) if size == "auto" else int(size)


def _config_of(record: RunRecord) -> Config:
    """The config of a run as it was resolved, with the number of threads that it had."""
    config = schema.parse(OmegaConf.create(record.config))
    if config.engine.threads is None and record.threads is not None:
        torch.set_num_threads(record.threads)
    return config


def _carry_out(
    directory: Path,
    recorder: Recorder,
    context: Context,
    planned: Plan,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Solve what is not done, and write it; whatever ends the run, its record and page say so."""
    try:
        workspace.begin(directory, recorder, texts or {})
        with log_file(directory / workspace.LOG):
            _solve_batches(directory, recorder, context, planned)
        with DeferredInterruption():
            recorder.end(lambda done: workspace.show(directory, done))
    except BaseException as error:
        with DeferredInterruption():
            workspace.leave(directory, recorder, texts or {})
        _raise_with_remedy(error, directory)
        raise
    if recorder.all_failed:
        raise FailedRunError(
            f"the network gives no finite number for any of the {len(recorder.finished)} units "
            f"(see {directory})"
        )
    if set(recorder.record.statuses) == {DEAD}:
        logger.warning("every unit is dead: no picture excites it; see %s", directory)


def _raise_with_remedy(error: BaseException, directory: Path) -> None:
    """Raise what ended a run that has begun as an error that says how to finish it."""
    if not workspace.has_begun(directory):
        return
    if isinstance(error, KeyboardInterrupt):
        raise InterruptedRunError(directory) from error
    if isinstance(error, UnwritableError):
        remedy = f"{error.remedy or 'see to that'}; then `fvis resume {directory}` finishes the run"
        raise UnwritableError(error.path, error.reason, remedy) from error


def _solve_batches(directory: Path, recorder: Recorder, context: Context, planned: Plan) -> None:
    """Solve and write the batches that lack units, composed as they were at the start.

    A batch belongs to one layer.
    """
    path, every = directory / BATCH_FILE, context.config.engine.checkpoint_every
    pace = Pace(PAGE_EVERY)

    def show() -> None:
        with pace.timed():
            recorder.begin()
            workspace.show(directory, recorder.record)

    show()
    with Progress(planned.steps) as progress:
        for method in planned.methods:
            missing = _missing_groups(method, recorder.finished)

            def work(
                batch: list[Any], method: Method = method, missing: set[str] = missing
            ) -> tuple[int, list[Result]]:
                names = [job.name for job in batch]
                progress.batch = len(batch)
                if not missing.intersection(names):
                    progress.skip(method.steps)
                    return len(batch), []
                with BatchState(path, names, every, progress) as state:
                    results = method.solve(batch, state.run)
                seconds = round(state.seconds / len(batch), 3)
                fields = {"seconds": seconds, "config_sha256": recorder.record.config_sha256}
                return len(batch), [r.with_fields(**fields) for r in results if r.name in missing]

            size, sizes = recorder.record.batch_size or 1, recorder.coming
            resize = recorder.set_batch_size
            for jobs, results in in_batches(
                method.groups, size, work, sizes=sizes, on_resize=resize
            ):
                for result in results:
                    recorder.add(result.name, _write(directory, result))
                recorder.batch_done(jobs)
                if results:  # the state on disk is this batch's, not that of one still to come
                    path.unlink(missing_ok=True)
                if pace.is_due:
                    show()
    path.unlink(missing_ok=True)  # of a process that was killed when all units were written


def _write(directory: Path, result: Result) -> UnitRecord:
    return write_unit(directory / UNITS, result.name, result.record, result.files)


def _missing_groups(method: Method, finished: set[str]) -> set[str]:
    """The names of all jobs in groups that are not finished as a whole."""
    return {
        job.name
        for group in method.groups
        if not finished.issuperset(job.name for job in group)
        for job in group
    }
