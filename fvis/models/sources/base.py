"""What a model source returns, and the checks and errors that all sources share."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from fvis.errors import RequestError, described, exits_are_errors
from fvis.models.base import Preprocessing
from fvis.models.checkpoints import Rename
from fvis.registry import Registry
from fvis.schema import ModelConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class SourceModel:
    """A network as its source returns it, before a local checkpoint is loaded.

    Attributes:
        module: the network itself.
        preprocessing: how pictures become its input.
        classes: the names of its outputs; None if they are unknown.
        rename: turns the keys of the network's published checkpoints into its own.
    """

    module: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None = None
    rename: Rename = dict


class Source(Protocol):
    """Builds the network that a config names, with pretrained weights if it asks for them."""

    def __call__(self, config: ModelConfig) -> SourceModel:
        """The network; raises `RequestError` if it cannot be built or its weights be loaded."""
        ...


SOURCES: Registry[Source] = Registry(
    "model.source", "fvis.models.sources", entry_points="fvis.sources"
)
CATALOGUES: Registry[Callable[[], list[str]]] = Registry(
    "model.source", "fvis.models.sources", entry_points="fvis.sources"
)


def named(config: ModelConfig) -> str:
    """The config's `model.name`; raises `RequestError` if it is not set."""
    if not config.name:
        raise RequestError(f"model.source={config.source} needs model.name; see `fvis models`")
    return config.name


def wants_hub_weights(config: ModelConfig) -> bool:
    """Whether to load the library's own weights; a local checkpoint replaces them."""
    return config.pretrained and config.checkpoint is None


@contextlib.contextmanager
def constructing(what: str) -> Iterator[None]:
    """Turn an error that a model's constructor raises into a `RequestError` about `what`."""
    try:
        with exits_are_errors("its code"):
            yield
    except (RequestError, MemoryError):
        raise
    except Exception as error:
        raise RequestError(f"{what} cannot be built: {described(error)}") from error
