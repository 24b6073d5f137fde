"""`model.source=zoo`: the embedded networks."""

from fvis.errors import unknown
from fvis.models.base import Preprocessing
from fvis.models.checkpoints import load_checkpoint
from fvis.models.sources.base import (
    CATALOGUES,
    SOURCES,
    Network,
    constructing,
    named,
    wants_hub_weights,
)
from fvis.schema import ModelConfig
from fvis.zoo import NETWORKS


@SOURCES.register("zoo")
def load(config: ModelConfig) -> Network:
    """An embedded network by name, with its shipped weights unless others are asked for.

    One that is not trained has all it needs once it is built, whatever `model.pretrained` says.
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
    # Its arguments may have changed its outputs: then it names them itself.
    classes = tuple(getattr(module, "classes", entry.classes))
    return Network(module, Preprocessing(*size, entry.mean, entry.std), classes)


@CATALOGUES.register("zoo")
def names() -> list[str]:
    """The embedded networks' names."""
    return sorted(NETWORKS)
