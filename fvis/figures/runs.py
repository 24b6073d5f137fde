"""The runs that figures are made from: carried out by `fvis run`, and read back."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fvis import models, provenance, schema
from fvis.architecture_defaults import ArchitectureDefaults
from fvis.artifacts import safe_name
from fvis.compose import compose, swept
from fvis.errors import RequestError
from fvis.models.checkpoints import sha256_of_file
from fvis.paths import expand
from fvis.record.run import DONE, INTERRUPTED, ModelRecord, RunRecord
from fvis.run_folder import RUN_FILE, UNIT_FILE, UNITS, SavedUnit, read_run, read_unit

PROGRAM = "from fvis.cli import main; main()"
HUBS = ("timm", "torchvision", "pytorchvideo")  # sources that fetch weights
FILED = (*HUBS, "papers")  # sources whose weights a folder may hold, under the model's name
SUFFIXES = (".safetensors", ".pth", ".pyth", ".pickle", ".pkl", ".ckpt")
SETTLED = {
    entry.name for entry in fields(ArchitectureDefaults)
}  # settings that a run fills in where the config has null
OPEN = ("transforms", "parametrization")  # the sections that these are in


@dataclass(frozen=True)
class Run:
    """One finished run, and its units in the order in which they were asked for."""

    folder: Path
    record: RunRecord
    units: Sequence[SavedUnit]

    @property
    def model(self) -> str:
        """The network's name."""
        return str(self.record.model.name)

    @property
    def layer(self) -> str:
        """The layer, or the layers, whose units were visualized."""
        asked = self.record.setting("target", "layer")
        return ", ".join(map(str, asked)) if isinstance(asked, list) else str(asked)


@dataclass(frozen=True)
class PlannedRun:
    """The arguments of one `fvis run`, and the config that they give.

    `choice` has the overrides that the experiment's sweep makes for this run, and `weights` those
    that read the network's weights from a folder.
    """

    experiment: str
    choice: Sequence[str]
    weights: Sequence[str]
    config: schema.Config

    @property
    def name(self) -> str:
        """The run's folder, relative to the folder of all runs: `experiment[/choice]`."""
        chosen = (safe_name(word.partition("=")[2]) for word in self.choice)
        return "/".join([self.experiment, *filter(None, ["-".join(chosen)])])


class MissingFileError(RequestError):
    """A file of weights or code that an experiment's model names is missing."""


def finished_run(folder: Path) -> Run:
    """Read a run with all its units; raises `RequestError` if it is not done or lacks a unit."""
    run = read_run(folder)
    if run.status != DONE:
        raise RequestError(f"the run in {folder} is {run.status}, not done")
    places = [folder / UNITS / name for name in run.record.units or ()]
    units = [read_unit(place) for place in places]
    for unit in units:
        unit.file(UNIT_FILE)
    if not units:
        raise RequestError(f"the run in {folder} has no units")
    return Run(folder, run.record, units)


def planned_runs(experiment: str, weights: Path | None = None) -> list[PlannedRun]:
    """The runs of an experiment: one, or if it is a sweep, one for each choice.

    If a folder `weights` is given, libraries' and papers' models are read from it. Raises
    `MissingFileError` if a file of weights or code that the model needs is missing.
    """
    asked = [f"experiment={experiment}"]
    local = _local_weights(compose(asked).model, weights) if weights else []
    jobs = []
    for choice in swept(asked):
        config = schema.parse(compose([*asked, *choice, *local]))
        jobs.append(PlannedRun(experiment, choice, local, config))
    _require_files(jobs[0].config.model)
    return jobs


def carry_out(planned: PlannedRun, runs: Path) -> Run:
    """Carry out a planned run in its folder below `runs`, and read it back.

    A run of the same config and weights is used again if it is done, and resumed if it was
    interrupted. Raises `RequestError` if `fvis` fails, which has then printed the reason.
    """
    folder = runs / planned.name
    status = _status_of_same(planned, folder)
    if status == DONE:
        return finished_run(folder)
    asked = [f"experiment={planned.experiment}", *planned.choice, *planned.weights]
    words, place = ["run", *asked], ["hydra.mode=RUN", f"hydra.run.dir={folder}", "--force"]
    if status == INTERRUPTED:
        words, place = ["resume", str(folder)], []
    if status_of([sys.executable, "-c", PROGRAM, *words, *place]):
        raise RequestError(f"fvis {' '.join(words)} failed")
    return finished_run(folder)


def status_of(command: Sequence[str]) -> int:
    """The exit status of a command; interrupted, it is told to end, and waited for."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()  # what it has done is kept
            process.wait()
            raise


def _local_weights(model: DictConfig, weights: Path) -> list[str]:
    """Overrides that read a library's or a paper's model from a folder; none for other models."""
    if model.source not in FILED or model.checkpoint:
        return []
    files = [weights / f"{model.name}{suffix}" for suffix in SUFFIXES]
    file = next((file for file in files if file.is_file()), files[0])
    return ["model.pretrained=false", f"model.checkpoint={file}"]


def _require_files(model: schema.ModelConfig) -> None:
    named = [model.checkpoint, model.kwargs.get("checkpoint")]
    if model.factory and ".py:" in model.factory:
        named.append(model.factory.rpartition(":")[0])
    for name in filter(None, named):
        if not expand(name).is_file():
            raise MissingFileError(f"no file {name}")


def _status_of_same(planned: PlannedRun, folder: Path) -> str | None:
    """The status of the run in the folder if it has the planned config and weights; else None."""
    if not (folder / RUN_FILE).is_file():
        return None
    run = read_run(folder)
    asked = provenance.plain(planned.config)
    same = _agrees(asked, run.record.config) and _has_its_weights(planned.config, run.record.model)
    return run.status if same else None


def _agrees(asked: Mapping[str, Any], done: Mapping[str, Any]) -> bool:
    """Whether a run's settings are those asked for, wherever it was solved.

    A null among `SETTLED` agrees with any value.
    """
    for section in (asked.keys() | done.keys()) - {"execution"}:
        wanted, used = dict(asked.get(section) or {}), dict(done.get(section) or {})
        if section in OPEN:
            wanted = {
                key: used.get(key) if key in SETTLED and value is None else value
                for key, value in wanted.items()
            }
        if wanted != used:
            return False
    return True


def _has_its_weights(config: schema.Config, used: ModelRecord) -> bool:
    """Whether a run used the weights that the config gives now; a hub's never change."""
    model = config.model
    if model.checkpoint:
        present = sha256_of_file(expand(model.checkpoint))
    elif model.source in HUBS:
        return True
    else:
        present = models.load(model, config.engine.seed).sha256
    return bool(used.weights.sha256 == present)
