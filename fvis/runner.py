"""Carries a config out in one output folder, begun or resumed."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from fvis import provenance, schema, workspace
from fvis.batching import auto_size, in_batches
from fvis.context import Context, own_threads, prepare
from fvis.errors import FailedRunError, InterruptedRunError, RequestError, UnwritableError
from fvis.execution import EXECUTIONS, Execution, Work
from fvis.gallery.page import write_index
from fvis.interruption import DeferredInterruption
from fvis.methods import Method, Result, solve_timed
from fvis.optimization import Optimization
from fvis.plan import Plan, plan
from fvis.progress import Progress, kept_messages, log_file
from fvis.record.run import DONE, RunRecord
from fvis.record.unit import DEAD
from fvis.recorder import Recorder, finished_units
from fvis.responsiveness import why_dead
from fvis.run_folder import RUN_FILE, read_run
from fvis.schema import Config, HereConfig
from fvis.workspace import INDEX

logger = logging.getLogger(__name__)


@own_threads()
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
    with kept_messages() as earlier:
        execution = _execution(config)
        context = prepare(config)
        planned = plan(context)
        record = _describe(context, planned)
    old = read_run(directory).record if (directory / RUN_FILE).is_file() else None
    if old is not None and not force:
        workspace.refuse_to_replace(directory, old, record)
    with execution, workspace.locked(directory):
        workspace.clear_leftovers(directory)
        if old is not None:
            workspace.clear(directory)
        work = Work(directory, Recorder(directory, record), context, planned)
        _carry_out(work, execution, texts or {}, earlier)
    return directory


@own_threads()
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
        raise RequestError(
            f"{directory / RUN_FILE} is damaged, or of an older fvis: the run cannot be resumed"
        )
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
        with kept_messages() as earlier:
            execution = _execution(config)
            context = prepare(config)
            planned = plan(context)
            now = _describe(context, planned)
        changes = _refuse_changes(directory, old, provenance.changes(old, now), force)
        record = dataclasses.replace(old, jobs=now.jobs, forced=[*old.forced, *changes])
        recorder = Recorder(directory, record, finished_units(directory, record))
        with execution:
            _carry_out(Work(directory, recorder, context, planned), execution, {}, earlier)
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


def solve(planned: Plan, config: Config, device: torch.device) -> Iterator[Result]:
    """All results, batch by batch; nothing is written."""
    sizes = [batch_size(planned, config, device)]
    with Progress(planned.steps) as progress:

        def run_stage(stage: str, optimization: Optimization) -> None:
            optimization.run(progress.on_step)

        for method in planned.methods:

            def work(batch: list[Any], method: Method = method) -> list[Result]:
                progress.batch = len(batch)
                return solve_timed(method, batch, run_stage)

            for results in in_batches(method.groups, sizes[-1], work, on_resize=sizes.append):
                yield from results


def _describe(context: Context, planned: Plan) -> RunRecord:
    record = provenance.describe(context, planned.inputs, planned.names)
    size = batch_size(planned, context.config, context.device)
    return dataclasses.replace(
        record, layers=dict(planned.depths), refused=planned.refused, batch_size=size
    )


def batch_size(planned: Plan, config: Config, device: torch.device) -> int:
    """How many rows of pictures a batch has: `engine.batch_size`, or what fits into memory."""
    size = config.engine.batch_size
    if size != "auto":
        return int(size)
    shared = device.type == "cuda" and config.execution.name != HereConfig.name
    row_bytes = 0 if shared else planned.row_bytes  # all workers are to have batches
    return auto_size(device, planned.share, row_bytes)


def _config_of(record: RunRecord) -> Config:
    """The config of a run as it was resolved, with the number of threads that it had."""
    config = schema.parse(OmegaConf.create(record.config))
    if config.engine.threads is None and record.threads is not None:
        torch.set_num_threads(record.threads)
    return config


def _execution(config: Config) -> Execution:
    """Where the batches will be solved; raises `RequestError` where that is not installed."""
    return EXECUTIONS[config.execution.name](config)


def _carry_out(
    work: Work,
    execution: Execution,
    texts: Mapping[str, str],
    earlier: Sequence[logging.LogRecord],
) -> None:
    """Solve what is not done, and write it; whatever ends the run, its record and page say so.

    `earlier` messages go into its log file, too.
    """
    directory, recorder = work.directory, work.recorder
    try:
        workspace.begin(directory, recorder, texts)
        with log_file(directory / workspace.LOG, earlier):
            execution.solve(work)
        with DeferredInterruption() as late:
            recorder.end(lambda done: workspace.show(directory, done))
    except BaseException as error:
        with DeferredInterruption():
            workspace.leave(directory, recorder, texts)
        _raise_with_remedy(error, directory)
        raise
    if late.requested:  # the run is done; what would come after it is not wanted
        raise KeyboardInterrupt
    if recorder.all_failed:
        raise FailedRunError(
            f"the network gives no finite number for any of the {len(recorder.finished)} units "
            f"(see {directory})"
        )
    if set(recorder.record.statuses) == {DEAD}:
        why = why_dead(work.context.model.module)
        logger.warning("every unit is dead: %s; see %s", why, directory)


def _raise_with_remedy(error: BaseException, directory: Path) -> None:
    """Raise what ended a run that has begun as an error that says how to finish it."""
    if not workspace.has_begun(directory):
        return
    if isinstance(error, KeyboardInterrupt):
        raise InterruptedRunError(directory) from error
    if isinstance(error, UnwritableError):
        remedy = f"{error.remedy or 'see to that'}; then `fvis resume {directory}` finishes the run"
        raise UnwritableError(error.path, error.reason, remedy) from error
