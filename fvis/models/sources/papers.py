"""`model.source=papers`: networks of papers whose code is no library, with weights from a file."""

from fvis.errors import RequestError, unknown
from fvis.models.papers import NETWORKS
from fvis.models.sources.base import (
    CATALOGUES,
    SOURCES,
    SourceModel,
    constructing,
    named,
    wants_hub_weights,
)
from fvis.schema import ModelConfig


@SOURCES.register("papers")
def load(config: ModelConfig) -> SourceModel:
    """A paper's network by name; its published weights have no loader, so they must be a file."""
    name = named(config)
    if name not in NETWORKS:
        raise unknown("paper's network", name, NETWORKS)
    entry = NETWORKS[name]
    if wants_hub_weights(config):
        raise RequestError(
            f"the weights of {name} cannot be fetched: download {entry.weights} and set "
            "model.checkpoint=FILE, or set model.pretrained=false for random weights"
        )
    with constructing(f"paper's network {name}"):
        module = entry.build(**config.kwargs)
    return SourceModel(module, entry.preprocessing, rename=entry.rename)


@CATALOGUES.register("papers")
def names() -> list[str]:
    """The names of the papers' networks."""
    return sorted(NETWORKS)
