"""`model.source=zoo`: the embedded networks."""

from fvis.errors import unknown
from fvis.models.base import Preprocessing
from fvis.models.checkpoints import load_checkpoint
from fvis.models.sources.base import CATALOGUES, SOURCES, Network, named, wants_hub_weights
from fvis.schema import ModelConfig
from fvis.zoo import NETWORKS


@SOURCES.register("zoo")
def load(config: ModelConfig) -> Network:
    """An embedded network by name, with its shipped weights unless others are asked for."""
    name = named(config)
    if name not in NETWORKS:
        raise unknown("embedded network", name, NETWORKS)
    entry = NETWORKS[name]
    module = entry.build()
    if wants_hub_weights(config):
        load_checkpoint(module, entry.weights)
    size = (entry.height, entry.width, entry.frames)
    return Network(module, Preprocessing(*size, entry.mean, entry.std), entry.classes)


@CATALOGUES.register("zoo")
def names() -> list[str]:
    """The embedded networks' names."""
    return sorted(NETWORKS)
