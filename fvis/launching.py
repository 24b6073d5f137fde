"""Hydra launches jobs: the one that the command line asks for, or those of a sweep."""

import contextlib
import copy
import io
import itertools
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser  # the parser that hydra.main uses
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from fvis import artifacts, schema, whole_files
from fvis.compose import (
    VERSION_BASE,
    check_config_directory,
    config_directory,
    refusing,
    register_plugins,
)
from fvis.errors import JobError, RequestError, UnwritableError, exit_status
from fvis.record.run import SweepJobRecord, SweepRecord
from fvis.record.unit import SCHEMA
from fvis.run_folder import SWEEP_FILE, is_done, read_sweep, runs_below, write_sweep
from fvis.settings import own_environment

logger = logging.getLogger(__name__)

MULTIRUN_FILE = "multirun.yaml"  # Hydra's own


@dataclass(frozen=True)
class PlannedSweep:
    """The folders of a sweep's jobs, as far as they are known.

    `done` are the runs that were done in its folder before, and `before` is the sweep.json of then.
    """

    jobs: Sequence[str] = ()
    done: Set[Path] = frozenset()
    before: str | None = None


@dataclass(frozen=True)
class LaunchedJob:
    """One job that Hydra launches: its config, its output folder, and the texts to keep there.

    `texts` maps paths below the folder to what they hold. `sweep` is the sweep's folder.
    """

    config: DictConfig
    directory: Path
    texts: Mapping[str, str]
    sweep: Path | None = None


def options_first(arguments: Sequence[str]) -> list[str]:
    """The arguments, options before overrides: Hydra's parser takes no options in between."""
    known = get_args_parser()._option_string_actions
    options: list[str] = []
    overrides: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            overrides.append(word)
            continue
        options.append(word)
        action = known.get(word)
        if action is not None and action.nargs is None:  # it takes one value
            options += itertools.islice(words, 1)
    return options + overrides


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise `RequestError` where Hydra's own parser does not take the arguments."""

    def refuse(message: str) -> NoReturn:
        raise RequestError(f"{message}; see `fvis run --help`")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]  # one line, not argparse's usage
    given = parser.parse_args(arguments)
    if given.experimental_rerun is not None:
        raise RequestError("--experimental-rerun is not supported: `fvis resume` finishes a run")
    for word in given.overrides:
        section, _, choice = word.partition("=")
        if section.lstrip("+~") == "hydra.output_subdir":
            raise RequestError(f"{word}: a run's folder always has Hydra's record in .hydra")
        if choice == "null" and section in (*schema.SECTIONS, *schema.CHOICES):
            raise RequestError(f"{word}: there is no config without {section}; name a choice")
    if given.config_dir is not None:
        check_config_directory(Path(given.config_dir))


def launch(arguments: Sequence[str], work: Callable[[LaunchedJob], None]) -> None:
    """Call `work` for the job that the arguments ask for, or with -m for each job of the sweep.

    Whatever Hydra itself raises becomes a `RequestError`. Where `work` has raised a `JobError`, one
    that names all failed jobs is raised after the last job, wherever a launcher has run them. Its
    status is theirs where all have failed alike, else 1. The folder of a job that has written
    nothing is removed, and so is what a sweep has written whose jobs were all refused.
    """
    base, process, failed = Path.cwd(), os.getpid(), dict[str, int]()
    launched = False
    HydraCallback.folders.clear()  # of an earlier call in this process
    HydraCallback.sweeps.clear()

    def task(composed: DictConfig) -> None:
        nonlocal launched
        launched = True
        settings = HydraConfig.get()
        single = settings.mode is RunMode.RUN
        directory = Path(settings.runtime.output_dir)
        sweep = None if single else Path(settings.sweep.dir)
        try:
            work(LaunchedJob(composed, directory, job_texts(composed), sweep))
        except JobError as error:
            name = directory.name if sweep is None else os.path.relpath(directory, sweep)
            if os.getpid() != process:  # only Hydra can tell the process that launched the jobs
                raise JobError(error.status, [name]) from None
            failed[name] = error.status  # Hydra would add a line of its own
        finally:
            if not single:
                whole_files.remove_if_empty(directory, base)

    register_plugins()
    sys.argv = [sys.argv[0], *arguments]
    decorate = hydra.main(
        version_base=VERSION_BASE, config_path=str(config_directory()), config_name="config"
    )
    asked = get_args_parser().parse_args(arguments)
    said = io.StringIO() if asked.cfg and asked.package else sys.stderr
    try:
        with refusing(), contextlib.redirect_stderr(said):
            decorate(task)()
    except JobError as error:  # the first that has failed in another process
        failed |= dict.fromkeys(error.jobs, error.status)
    except RequestError:
        if not launched:
            _forget_sweeps(base)
        raise
    except SystemExit as ended:
        if ended.code and said is not sys.stderr:
            raise RequestError(f"--package: the config has no {asked.package!r}") from None
        raise
    finally:
        for folder in HydraCallback.folders:  # Hydra may have failed after it had made one
            whole_files.remove_if_empty(folder, base)
    try:
        _raise_for(failed)
    except JobError as error:
        if error.status == exit_status(RequestError()):
            _forget_sweeps(base)
        raise


def _forget_sweeps(base: Path) -> None:
    """Remove what is written about sweeps that hold no job; an earlier sweep.json is put back."""
    for sweep, planned in HydraCallback.sweeps.items():
        if planned.before is not None:
            artifacts.write_text(sweep / SWEEP_FILE, planned.before)
        elif sweep.is_dir() and not any(place.is_dir() for place in sweep.iterdir()):
            for name in (SWEEP_FILE, MULTIRUN_FILE):
                (sweep / name).unlink(missing_ok=True)
            whole_files.remove_if_empty(sweep, base)


def _raise_for(failed: dict[str, int]) -> None:
    """Raise a `JobError` for the jobs that failed, by name, and those of sweeps that are not done.

    Of the jobs that other processes have run, Hydra tells the first failure only.
    """
    done = {
        job: is_done(sweep / job)
        for sweep, planned in HydraCallback.sweeps.items()
        for job in planned.jobs
    }
    failed = dict.fromkeys((name for name in done if not done[name]), 1) | failed
    if failed:
        all_alike = len(failed) >= len(done) and len({*failed.values()}) == 1
        status = next(iter(failed.values())) if all_alike else 1
        raise JobError(status, sorted(failed, key=[*done, *failed].index) if done else ())


def job_texts(composed: DictConfig) -> dict[str, str]:
    """What a job keeps in `.hydra`: its config, Hydra's settings, its overrides."""
    settings = HydraConfig.get()
    return {
        ".hydra/config.yaml": OmegaConf.to_yaml(composed),
        ".hydra/hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})),
        ".hydra/overrides.yaml": OmegaConf.to_yaml(settings.overrides.task),
    }


class HydraCallback(Callback):
    """What Hydra calls before it starts a run or a sweep."""

    folders: ClassVar[list[Path]] = []  # that Hydra makes for runs and sweeps
    sweeps: ClassVar[dict[Path, PlannedSweep]] = {}  # those of sweeps

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the folder of a run."""
        self.folders.append(Path(str(OmegaConf.select(config, "hydra.run.dir"))).absolute())

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Write sweep.json: all jobs of a sweep, so that each can be resumed.

        Only Hydra's own sweeper knows its jobs beforehand; another one's are found by their
        folders. What an earlier sweep in the same folder has left to do, and this one does not ask
        for anew, stays in the file.
        """
        folder = Path(str(config.hydra.sweep.dir)).absolute()
        self.folders.append(folder)
        done = frozenset(filter(is_done, runs_below(folder) if folder.is_dir() else ()))
        self.sweeps[folder] = PlannedSweep(done=done)
        sweeper = config.hydra.sweeper
        if not str(sweeper.get("_target_")).endswith(".BasicSweeper"):
            return
        try:
            jobs = _jobs_of(config)
        except Exception:  # Hydra itself comes to it next, and says it better
            return
        names, file = [job.folder for job in jobs], folder / SWEEP_FILE
        before = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
        self.sweeps[folder] = PlannedSweep(names, done, before)
        try:
            jobs += _left_of_earlier(folder, names)
            write_sweep(folder, SweepRecord(SCHEMA, str(Path.cwd()), jobs))
        except UnwritableError as error:
            logger.warning("%s; a job that never begins cannot be resumed", error)


def _jobs_of(config: DictConfig) -> list[SweepJobRecord]:
    """The jobs of a sweep, as Hydra's own sweeper will make them."""
    loader = GlobalHydra.instance().config_loader()
    params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    words = [*params, *config.hydra.overrides.task]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(words)
    choices = BasicSweeper.split_arguments(parsed, None)[0]
    return [
        _recorded_job(loader.load_sweep_config(config, choice), number)
        for number, choice in enumerate(choices)
    ]


def _left_of_earlier(folder: Path, names: Sequence[str]) -> list[SweepJobRecord]:
    """What an earlier sweep has left to do in a folder, but for the jobs called `names`.

    Their paths start where it was asked for. So there are none where that was elsewhere.
    """
    with contextlib.suppress(RequestError):  # for one that is damaged
        earlier = read_sweep(folder)
        if earlier and earlier.directory == str(Path.cwd()):
            others = [job for job in earlier.jobs if job.folder not in names]
            return [job for job in others if not is_done(folder / job.folder)]
    return []


def _recorded_job(composed: DictConfig, number: int) -> SweepJobRecord:
    """A job as Hydra's launcher will run it: numbered, with its folder known."""
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    current = HydraConfig.instance()
    before = current.cfg
    current.set_config(composed)
    try:
        folder = str(OmegaConf.select(composed, "hydra.sweep.subdir"))
        directory = Path(str(OmegaConf.select(composed, "hydra.sweep.dir"))) / folder
        with read_write(composed.hydra.runtime), open_dict(composed.hydra.runtime):
            composed.hydra.runtime.output_dir = str(directory.absolute())
        current.set_config(composed)
        task = copy.deepcopy(composed)
        with read_write(task), open_dict(task):
            del task["hydra"]
        config = _container(task)
        return SweepJobRecord(folder, {str(k): v for k, v in config.items()}, job_texts(task))
    finally:
        current.cfg = before


def _container(task: DictConfig) -> dict[Any, Any]:
    """A job's config, resolved; unresolved where that cannot be: the job itself will say why."""
    try:
        with own_environment():
            resolved = OmegaConf.to_container(task, resolve=True)
    except OmegaConfBaseException:
        resolved = OmegaConf.to_container(task, resolve=False)
    assert isinstance(resolved, dict)
    return resolved
