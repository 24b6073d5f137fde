"""The runs that figures are made of: carried out as `fvis run` would, and read back."""

import itertools
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from fvis import models, schema
from fvis.artifacts import safe_name
from fvis.cli import HYDRA_BASE, config_directory
from fvis.errors import RequestError
from fvis.models.checkpoints import sha256_of_file
from fvis.recipe import Recipe

PROGRAM = "from fvis.cli import main; main()"
HUBS = ("timm", "torchvision")
SETTLED = {entry.name for entry in fields(Recipe)}  # settings that a run fills in where open


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
    """What one `fvis run` is asked: an experiment, its choice of a sweep, and whose weights."""

    experiment: str
    choice: Sequence[str]
    weights: Sequence[str]
    config: schema.Config

    @property
    def name(self) -> str:
        """The folder of its run, below that of all runs: `experiment[/choice]`."""
        chosen = (safe_name(word.partition("=")[2]) for word in self.choice)
        return "/".join([self.experiment, *filter(None, ["-".join(chosen)])])


class MissingFileError(RequestError):
    """A file of weights or code that an experiment's model names is not there."""


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


def jobs_of(experiment: str, weights: Path | None = None) -> list[Job]:
    """The runs of an experiment: one, or where it sweeps, one for each choice.

    With `weights`, a folder, models that would come from the hub are read from it. Raises
    `MissingFileError` where a file that the model is made from is not there.
    """
    with hydra.initialize_config_dir(str(config_directory()), version_base=HYDRA_BASE):
        asked = [f"experiment={experiment}"]
        whole = hydra.compose("config", asked, return_hydra_config=True)
        local = _local_weights(whole.model, weights) if weights else []
        swept = OmegaConf.select(whole, "hydra.sweeper.params") or {}
        axes = [[f"{key}={value}" for value in str(swept[key]).split(",")] for key in swept]
        jobs = []
        for choice in itertools.product(*axes):
            composed = hydra.compose("config", [*asked, *choice, *local])
            jobs.append(Job(experiment, choice, local, schema.parse(composed)))
    _require_files(jobs[0].config.model)
    return jobs


def carry_out(job: Job, runs: Path) -> Run:
    """The job's run, in its folder below `runs`: the one that is there if it is whole and the same.

    Raises `RequestError` where `fvis run` fails; it has said why.
    """
    folder = runs / job.name
    if not _is_done(job, folder):
        asked = [f"experiment={job.experiment}", *job.choice, *job.weights]
        place = ["hydra.mode=RUN", f"hydra.run.dir={folder}"]
        command = [sys.executable, "-c", PROGRAM, "run", *asked, *place]
        ran = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if ran.returncode:
            raise RequestError(f"fvis run {' '.join(asked)} failed")
    return read_run(folder)


def _local_weights(model: DictConfig, weights: Path) -> list[str]:
    """The settings that read a hub's model from a folder instead."""
    if model.source not in HUBS or model.checkpoint:
        return []
    files = [weights / f"{model.name}{suffix}" for suffix in (".safetensors", ".pth")]
    file = next((file for file in files if file.is_file()), files[0])
    return ["model.pretrained=false", f"model.checkpoint={file}"]


def _require_files(model: schema.ModelConfig) -> None:
    named = [model.checkpoint, model.kwargs.get("checkpoint")]
    if model.factory and ".py:" in model.factory:
        named.append(model.factory.rpartition(":")[0])
    for name in filter(None, named):
        if not Path(name).expanduser().is_file():
            raise MissingFileError(f"no file {name}")


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
    asked = json.loads(json.dumps(asdict(job.config)))
    return _agrees(asked, record["config"]) and _has_its_weights(job.config, record["model"])


def _agrees(asked: Any, done: Any) -> bool:
    """Whether a run was made with these settings; what a recipe knows may have been left open."""
    if not isinstance(asked, dict) or not isinstance(done, dict):
        return bool(asked == done)
    return all(
        (key in SETTLED and asked.get(key) is None) or _agrees(asked.get(key), done.get(key))
        for key in asked.keys() | done.keys()
    )


def _has_its_weights(config: schema.Config, used: Mapping[str, Any]) -> bool:
    """Whether the weights that a run used are those that are there now; a hub's stay the same."""
    model = config.model
    if model.checkpoint:
        present = sha256_of_file(Path(model.checkpoint).expanduser())
    elif model.source in HUBS:
        return True
    else:
        present = models.load(model, config.engine.seed).sha256
    return bool(used["weights"]["sha256"] == present)
