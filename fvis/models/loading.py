"""From a model config to a `Model`: source, weights, input size and statistics."""

import dataclasses
from pathlib import Path

import torch
from torch import nn

from fvis.errors import RequestError
from fvis.models import checkpoints
from fvis.models.base import Model, Preprocessing
from fvis.models.sources.base import SOURCES, Network
from fvis.schema import InputConfig, ModelConfig


def load(config: ModelConfig, seed: int = 0) -> Model:
    """The network a config asks for, on the CPU, in eval mode.

    `seed` draws the weights where none are loaded. Raises `RequestError` for what cannot be had:
    an unknown name, a constructor that refuses, a checkpoint that does not fit, a hub out of reach.
    """
    source = SOURCES[config.source]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = source(config)
    module = network.module.eval()
    sha256, hashed = checkpoints.sha256_of_state, "state_dict"
    if config.checkpoint is not None:
        path = Path(config.checkpoint).expanduser()
        checkpoints.load_checkpoint(module, path)
        return _model(config, network, module, checkpoints.sha256_of_file(path), path.name)
    return _model(config, network, module, sha256(module), hashed)


def _model(
    config: ModelConfig, network: Network, module: nn.Module, sha256: str, hashed: str
) -> Model:
    preprocessing = override(network.preprocessing, config.input)
    return Model(module, shown_name(config), preprocessing, network.classes, sha256, hashed)


def shown_name(config: ModelConfig) -> str:
    """What the model is called in results: its library's name, or `file.py:function` of a factory.

    Wherever the file lies: random streams are keyed by this name.
    """
    if config.source == "factory":
        place, _, function = (config.factory or "").rpartition(":")
        return f"{Path(place).name}:{function}"
    return config.name or ""


def override(preprocessing: Preprocessing, given: InputConfig) -> Preprocessing:
    """`preprocessing` with what the user says of the input in place of what the library says."""
    changes = {k: v for k, v in dataclasses.asdict(given).items() if v is not None}
    for key in ("mean", "std"):
        if key in changes:
            if len(changes[key]) != 3:
                raise RequestError(f"model.input.{key} is {changes[key]}; it takes [R, G, B]")
            changes[key] = tuple(changes[key])
    return dataclasses.replace(preprocessing, **changes)
