"""`model.source=zoo`: the embedded networks."""

from fvis.errors import unknown
from fvis.models.base import Preprocessing
from fvis.models.checkpoints import load_checkpoint
from fvis.models.sources.base import (
    CATALOGUES,
    SOURCES,
    SourceModel,
    constructing,
    named,
    wants_hub_weights,
)
from fvis.schema import ModelConfig
from fvis.zoo import NETWORKS


@SOURCES.register("zoo")
def load(config: ModelConfig) -> SourceModel:
    """An embedded network by name, with its shipped weights unless the config says otherwise.

    A network that is computed instead of trained has no weights file and ignores
    `model.pretrained`.
    """
    name = named(config)
    if name not in NETWORKS:
        raise unknown("embedded network", name, NETWORKS)
    entry = NETWORKS[name]
    with constructing(f"embedded network {name}"):
        module = entry.build(**config.kwargs)
    if entry.trained and wants_hub_weights(config):
        load_checkpoint(module, entry.weights)
    size = (entry.height, entry.width, entry.frames)
    # A network whose outputs depend on its arguments names them in its own attribute `classes`.
    classes = tuple(getattr(module, "classes", entry.classes))
    return SourceModel(module, Preprocessing(*size, entry.mean, entry.std), classes)


@CATALOGUES.register("zoo")
def names() -> list[str]:
    """The names of the embedded networks."""
    return sorted(NETWORKS)
