"""What a model source gives, and the errors common to their constructors and hubs."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from fvis.errors import RequestError
from fvis.models.base import Preprocessing
from fvis.registry import Registry
from fvis.schema import ModelConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Network:
    """A network as its source hands it over, before a local checkpoint is loaded."""

    module: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None = None


class Source(Protocol):
    """Builds the network a config names, with the source's own weights where it asks for them."""

    def __call__(self, config: ModelConfig) -> Network:
        """The network; raises `RequestError` for what cannot be had."""
        ...


SOURCES: Registry[Source] = Registry("model.source", "fvis.models.sources")
CATALOGUES: Registry[Callable[[], list[str]]] = Registry("model.source", "fvis.models.sources")


def named(config: ModelConfig) -> str:
    """The model's name; raises `RequestError` where the config gives none."""
    if not config.name:
        raise RequestError(f"model.source={config.source} needs model.name; see `fvis models`")
    return config.name


def wants_hub_weights(config: ModelConfig) -> bool:
    """Whether the library's own weights are wanted: a local checkpoint takes their place."""
    return config.pretrained and config.checkpoint is None


@contextlib.contextmanager
def constructing(what: str) -> Iterator[None]:
    """Turn a constructor's refusal of its arguments into a `RequestError`."""
    try:
        yield
    except RequestError:
        raise
    except (TypeError, ValueError, AssertionError, KeyError, AttributeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        text = reason[0] if reason else type(error).__name__
        raise RequestError(f"{what} cannot be built: {text}") from error
