"""The runs that figures are made of: carried out as `fvis run` would, and read back."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf

from fvis import schema
from fvis.artifacts import safe_name
from fvis.cli import HYDRA_BASE, config_directory
from fvis.errors import RequestError

PROGRAM = "from fvis.cli import main; main()"


@dataclass(frozen=True)
class Unit:
    """One unit's folder, and its metadata.json."""

    folder: Path
    metadata: Mapping[str, Any]

    def file(self, name: str) -> Path:
        """The path of one of the unit's files; raises `RequestError` where it is missing."""
        path = self.folder / name
        if not path.is_file():
            raise RequestError(f"{self.folder} has no {name}")
        return path


@dataclass(frozen=True)
class Run:
    """One finished run: its run.json, and its units in the order in which they were asked for."""

    folder: Path
    record: Mapping[str, Any]
    units: Sequence[Unit]

    @property
    def model(self) -> str:
        """The network's name."""
        return str(self.record["model"]["name"])

    @property
    def layer(self) -> str:
        """The layer that was looked at."""
        return str(self.record["config"]["target"]["layer"])


@dataclass(frozen=True)
class Job:
    """What one `fvis run` is asked: an experiment, and where it sweeps, its choice."""

    experiment: str
    choice: Sequence[str]
    config: schema.Config

    @property
    def name(self) -> str:
        """The folder of its run, below that of all runs: `experiment[/choice]`."""
        chosen = (safe_name(word.partition("=")[2]) for word in self.choice)
        return "/".join([self.experiment, *filter(None, ["-".join(chosen)])])


def read_run(folder: Path) -> Run:
    """A run with all its units; raises `RequestError` for one that is not done or lacks a unit."""
    record = _record(folder)
    if record is None:
        raise RequestError(f"{folder} is no run: it has no run.json")
    if record["status"] != "done":
        raise RequestError(f"the run in {folder} is {record['status']}, not done")
    units = []
    for name in record["units"]:
        unit = Unit(folder / "units" / name, {})
        content = json.loads(unit.file("metadata.json").read_text(encoding="utf-8"))
        units.append(Unit(unit.folder, content))
    if not units:
        raise RequestError(f"the run in {folder} has no units")
    return Run(folder, record, units)


def jobs_of(experiment: str) -> list[Job]:
    """The runs of an experiment: one, or where it sweeps, one for each choice."""
    with hydra.initialize_config_dir(str(config_directory()), version_base=HYDRA_BASE):
        asked = [f"experiment={experiment}"]
        whole = hydra.compose("config", asked, return_hydra_config=True)
        swept = OmegaConf.select(whole, "hydra.sweeper.params") or {}
        axes = [[f"{key}={value}" for value in str(swept[key]).split(",")] for key in swept]
        return [
            Job(experiment, choice, schema.parse(hydra.compose("config", [*asked, *choice])))
            for choice in itertools.product(*axes)
        ]


def carry_out(job: Job, runs: Path) -> Run:
    """The job's run, in its folder below `runs`: the one that is there if it is whole and the same.

    Raises `RequestError` where `fvis run` fails; it has said why.
    """
    folder = runs / job.name
    if not _is_done(job, folder):
        asked = [f"experiment={job.experiment}", *job.choice]
        place = ["hydra.mode=RUN", f"hydra.run.dir={folder}"]
        command = [sys.executable, "-c", PROGRAM, "run", *asked, *place]
        ran = subprocess.run(command, stdout=subprocess.DEVNULL, env=os.environ, check=False)
        if ran.returncode:
            raise RequestError(f"experiment {' '.join([job.experiment, *job.choice])} failed")
    return read_run(folder)


def missing_files(job: Job) -> list[str]:
    """The files of weights and code that the job's model names and that are not there."""
    model = job.config.model
    named = [model.checkpoint, model.kwargs.get("checkpoint")]
    if model.factory and ".py:" in model.factory:
        named.append(model.factory.rpartition(":")[0])
    return [str(name) for name in named if name and not Path(name).expanduser().is_file()]


def _record(folder: Path) -> dict[str, Any] | None:
    path = folder / "run.json"
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def _is_done(job: Job, folder: Path) -> bool:
    record = _record(folder)
    if record is None or record["status"] != "done":
        return False
    return _agrees(json.loads(json.dumps(asdict(job.config))), record["config"])


def _agrees(asked: Any, done: Any) -> bool:
    """Whether a run was made with these settings; what was left open is settled by the run."""
    if isinstance(asked, dict) and isinstance(done, dict):
        return all(_agrees(value, done.get(key)) for key, value in asked.items())
    return asked is None or bool(asked == done)
