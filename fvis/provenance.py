"""What a run's pictures depend on, and what of it has changed since the run began."""

import dataclasses
import hashlib
import itertools
import json
import logging
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from fvis.context import Context
from fvis.models.checkpoints import sha256_of_file
from fvis.objectives.dictionaries import files_of
from fvis.objectives.directions import direction_file
from fvis.paths import expand
from fvis.record.run import ModelRecord, RunRecord
from fvis.record.unit import SCHEMA, WeightsRecord
from fvis.schema import (
    AdversarialConfig,
    Config,
    FactoryPriorConfig,
    networks_of,
    parse_models,
    start_of,
)

logger = logging.getLogger(__name__)

LIBRARIES = ("fvis", "torch", "torchvision", "timm", "hydra-core", "numpy")
LISTED = 1000  # so many input files are hashed one by one; more of them get one hash together


def describe(context: Context, inputs: Sequence[Path], jobs: Iterable[str]) -> RunRecord:
    """The record of a run before it starts."""
    config = plain(context.config)
    return RunRecord(
        schema=SCHEMA,
        config=config,
        config_sha256=sha256_of_config(config),
        versions=_versions(context),
        model=_describe_model(context),
        prior=context.prior.weights if context.prior else None,
        inputs=_hashes(context.config, inputs),
        device=_describe_device(context.device),
        threads=torch.get_num_threads() if context.device.type == "cpu" else None,
        directory=str(Path.cwd()),
        jobs=list(jobs),
    )


def changes(old: RunRecord, new: RunRecord) -> list[str]:
    """In words, what the pictures depend on and what is no longer as it was."""
    found = []
    if sha256_of_config(old.config) != old.config_sha256:
        found.append("the config in run.json")
    found += [
        f"{name} (was {old.versions.get(name)}, is {new.versions[name]})"
        for name in new.versions
        if name != "python" and old.versions.get(name) != new.versions[name]
    ]
    if old.model.weights.sha256 != new.model.weights.sha256:
        found.append(f"the weights ({new.model.weights.of})")
    if old.prior != new.prior:
        found.append("the weights of the prior")
    paths = sorted(old.inputs.keys() | new.inputs.keys())
    found += [path for path in paths if old.inputs.get(path) != new.inputs.get(path)]
    if old.device != new.device:
        found.append(f"the device (was {old.device}, is {new.device})")
    if old.jobs != new.jobs:
        found.append("the list of units")
    return found


def plain(config: Config) -> dict[str, Any]:
    """The config as JSON holds it."""
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return content


def sha256_of_config(config: Mapping[str, Any]) -> str:
    """The hexadecimal SHA-256 of what pictures depend on in a config as JSON holds it.

    The order of keys changes nothing, nor does `execution`.
    """
    asked = {key: value for key, value in config.items() if key != "execution"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _versions(context: Context) -> dict[str, str]:
    prior = context.prior
    used = [*LIBRARIES, *([prior.library] if prior and prior.library else [])]
    return {"python": platform.python_version(), **{name: version(name) for name in used}}


def _describe_model(context: Context) -> ModelRecord:
    model = context.model
    weights = WeightsRecord(model.sha256, model.hashed)
    return ModelRecord(model.name, weights, dataclasses.asdict(model.preprocessing))


def _describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device}: {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)


def _hashes(config: Config, inputs: Sequence[Path]) -> dict[str, str]:
    """The SHA-256 of each file that the config names and of the method's own, by path."""
    named = [*map(source_of, factories(config)), start_of(config)]
    if config.target.direction is not None:
        named.append(str(direction_file(config.target.direction)[0]))
    if config.target.dictionary is not None:
        named += map(str, files_of(expand(config.target.dictionary)))
    if isinstance(config.model.classes, str):
        named.append(config.model.classes)
    named += _files_of_units(config.target.units)
    files = [expand(name) for name in named if name]
    hashes = {str(path): sha256_of_file(path) for path in files if path.is_file()}
    own = {str(path): sha256_of_file(path) for path in inputs}
    if len(own) > LISTED:
        together = hashlib.sha256("".join(own.values()).encode()).hexdigest()
        own = {f"{len(own)} files, from {next(iter(own))} on": together}
    return hashes | own


def _files_of_units(units: Any) -> list[str]:
    """The files, `@file`, that `target.units` names."""
    if isinstance(units, Mapping):
        units = list(units.values())
    if isinstance(units, list):
        return [name for word in units for name in _files_of_units(word)]
    return [units[1:]] if isinstance(units, str) and units.startswith("@") else []


def factories(config: Config) -> list[str]:
    """The functions that build the config's networks and prior: code of the user's."""
    named = [config.model, *parse_models(config.target.ensemble, "target.ensemble")]
    if isinstance(config.method, AdversarialConfig):
        named += parse_models(config.method.models, "method.models")
        named += parse_models(config.method.transfer, "method.transfer")
    named += networks_of(config.evidence)
    found = [model.factory for model in named if model.source == "factory" and model.factory]
    if isinstance(config.prior, FactoryPriorConfig) and config.prior.factory:
        found.append(config.prior.factory)
    return list(dict.fromkeys(found))


def source_of(factory: str) -> str | None:
    """The source file of such a function, found without running it or the packages around it."""
    place = factory.rpartition(":")[0]
    if place.endswith(".py"):
        return place
    spec, within = None, None
    for name in itertools.accumulate(place.split("."), "{}.{}".format):
        finders = (finder.find_spec(name, within) for finder in sys.meta_path)
        spec = next((spec for spec in finders if spec is not None), None)
        if spec is None:
            return None
        within = spec.submodule_search_locations
    return spec.origin if spec else None


def announce_code(config: Config, recorded: Mapping[str, str]) -> list[str]:
    """Say which functions a recorded config is about to run; returns those sources that changed.

    `recorded` has the SHA-256 of each source by path, as `RunRecord.inputs`.
    """
    changed = []
    for factory in factories(config):
        source = source_of(factory)
        path = None if source is None else str(Path(source).expanduser())
        known = None if path is None else recorded.get(path)
        if path is None or known is None:
            state = "its source was not recorded"
        elif Path(path).is_file() and sha256_of_file(Path(path)) == known:
            state = f"its source, {path}, is the one recorded"
        else:
            state = f"its source, {path}, is not the one recorded"
            changed.append(path)
        logger.warning("factory=%s is code that this run executes; %s", factory, state)
    return changed
