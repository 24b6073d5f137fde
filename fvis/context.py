"""What a run works with: its config, and its model on its device."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from fvis import layout, memory, models, priors, transforms
from fvis.architecture_defaults import with_architecture_defaults
from fvis.capture import Network, opener
from fvis.errors import RequestError, described
from fvis.graph import graphs_of
from fvis.models.base import Model
from fvis.models.layers import Layer
from fvis.priors import Prior
from fvis.schema import Config

Made = TypeVar("Made")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """The run's config, its model on its device, and the device.

    `layers` are the model's, if known; `prior` is None for `prior=none`. `made` has what the layers
    of a run share.
    """

    config: Config
    model: Model
    device: torch.device
    layers: Mapping[str, Layer] | None = None
    prior: Prior | None = None
    made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, setting: str, make: Callable[[], Made]) -> Made:
        """What `make` gives for a setting and its value, such as networks.

        It is made once for all layers of a run, whose contexts are replaced from one another.
        """
        if setting not in self.made:
            self.made[setting] = make()
        made: Made = self.made[setting]
        return made

    @property
    def autocast(self) -> torch.dtype | None:
        """The type in which the network computes, where that is not float32."""
        return torch.bfloat16 if self.config.engine.precision == "bf16" else None

    def opener(self, layers: Sequence[Layer]) -> Callable[[], Network]:
        """What makes the `Network` of the model that is read at `layers`; see `capture.opener`."""
        engine, output = self.config.engine, self.config.target.output
        return opener(self.model, layers, output, self.autocast, fold=engine.fold == "auto")


@contextlib.contextmanager
def own_threads() -> Iterator[None]:
    """A context after which torch has as many threads as before, whatever a config asks for."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def prepare(config: Config, model: Model | None = None) -> Context:
    """The model a config asks for on its device, and the config with what the model settles.

    With a `model` given, that one; the config's is not looked at. Raises `RequestError` where the
    run cannot fit into memory.
    """
    device = find_device(config.engine.device)
    graphs_of(config.engine.graph, device)  # refuses what the device cannot do
    if config.engine.threads is not None:
        torch.set_num_threads(config.engine.threads)
    memory.keep_freed()
    model = model or models.load(config.model, config.engine.seed)
    model.module.to(device)
    config = with_architecture_defaults(config, model)
    prior = priors.load(config, model.preprocessing, device)
    memory.check(config, model.preprocessing.shape, device, prior.bytes if prior else 0)
    layout.arrange(model, config.engine.channels_last, device)
    return Context(config, model, device, prior=prior)


def find_device(name: str) -> torch.device:
    """The device called `name`; `auto` is cuda, then mps where an ascent works there, then cpu."""
    if name == "auto":
        name = "cpu"
        if torch.cuda.is_available():
            name = "cuda"
        elif torch.backends.mps.is_available():
            reason = transforms.unsupported(torch.device("mps"))
            name = "mps" if reason is None else "cpu"
            if reason is not None:
                logger.warning("the CPU is used: this torch cannot do all on mps: %s", reason)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except Exception as error:  # each kind of device that torch lacks fails in its own way
        raise RequestError(f"engine.device={name} cannot be used: {described(error)}") from None
    return device
