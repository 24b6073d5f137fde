"""What a prior is: what it asks of an ascent so that its pictures stay natural.

A picture made with a prior shows what the prior knows as well as what the unit responds to.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from fvis.ascent import Ascent, Pull, Views
from fvis.capture import Network
from fvis.models import Model
from fvis.models.base import Preprocessing
from fvis.models.checkpoints import check_finite, sha256_of_state
from fvis.models.layers import Layer
from fvis.models.sources.base import constructing
from fvis.models.sources.factory import find
from fvis.objectives import TargetSet
from fvis.optimization import Optimization
from fvis.parametrizations import Parametrization
from fvis.randomness import seeded
from fvis.record.unit import WeightsRecord
from fvis.registry import Registry
from fvis.schema import Config, EngineConfig, FactoryPriorConfig, GroundingConfig, NoPriorConfig


class Prior:
    """What holds pictures natural. As it is here, it leaves an ascent as it would be without one.

    Attributes:
        weights: what its numbers are known by; None where it has none that can be hashed.
        bytes: of memory that its weights take.
        files: that it was read from.
        library: the package whose code it runs, if any, besides those that every run names.
        draws: whether `start` describes the pictures, in place of a parametrization.
        whole: whether pictures are whole inputs of the network, however little the units see.
        layers: what it reads in the score's own forward pass; they run before the targets'.
    """

    weights: WeightsRecord | None = None
    bytes: int = 0
    files: Sequence[Path] = ()
    library: str | None = None
    draws: bool = False
    whole: bool = False
    layers: Sequence[Layer] = ()

    def facing(
        self,
        model: Model,
        targets: TargetSet,
        opened: Callable[[Sequence[Layer]], Network],
        grounding: GroundingConfig,
    ) -> "Prior":
        """This prior as it holds the pictures of a model's targets; by default, as it is.

        `opened` is the model, read at layers. `grounding` says where activations are kept.
        """
        return self

    def start(
        self, generators: Sequence[Generator], shape: tuple[int, ...], device: torch.device
    ) -> Parametrization:
        """Pictures of `shape`, (3, H, W) or (3, T, H, W), that the prior draws by itself.

        Row b is drawn by generator b. Called only where it `draws`.
        """
        raise NotImplementedError

    def pulls(self, steps: int) -> Sequence[Pull]:
        """What moves the pictures besides their scores, in an ascent of so many steps."""
        return ()

    def ascent(
        self,
        picture: Parametrization,
        score: Callable[[Tensor], Tensor],
        views: Views,
        pulls: Sequence[Pull],
        engine: EngineConfig,
        seen: Sequence[Tensor] = (),
    ) -> Optimization:
        """What moves pictures up their scores; arguments as of `Ascent`.

        `seen` holds what `layers` returned for the views (B * views, 3, ...) last scored.
        """
        return Ascent(picture, score, views, [*pulls, *self.pulls(engine.steps)], engine)


class Build(Protocol):
    """Builds the prior of a config's choice, for pictures of a network's input."""

    def __call__(self, config: Any, inputs: Preprocessing, device: torch.device) -> Prior:
        """The prior; raises `RequestError` where it cannot be built, or not for such pictures."""
        ...


PRIORS: Registry[Build] = Registry("prior", "fvis.priors", entry_points="fvis.priors")


def load(config: Config, inputs: Preprocessing, device: torch.device) -> Prior | None:
    """The prior that a config asks for; None, and no more is imported, for `prior=none`."""
    if isinstance(config.prior, NoPriorConfig):
        return None
    with seeded(config.engine.seed):  # weights that are not loaded
        return PRIORS[config.prior.name](config.prior, inputs, device)


def of_factory(config: FactoryPriorConfig, device: torch.device) -> Callable[..., Tensor]:
    """What the function `prior.factory` returns, on `device`; a network is frozen there.

    Raises `RequestError` where the function cannot be found, fails, or returns nothing callable.
    """
    assert config.factory, "schema.parse() refuses a prior without it"
    build = find(config.factory, "prior.factory")
    with constructing(config.factory):
        made: Any = build(**config.kwargs)
        if isinstance(made, nn.Module):
            made = frozen(made, device)
            check_finite(made, config.factory)
        elif not callable(made):
            raise TypeError(f"it returned a {type(made).__name__}, which cannot be called")
    return made  # type: ignore[no-any-return]  # a user's function may have no types


def frozen(module: nn.Module, device: torch.device) -> nn.Module:
    """The module on `device`, in eval mode, where its weights get no gradients."""
    return module.to(device).eval().requires_grad_(False)


def weights_of(made: Callable[..., Tensor]) -> WeightsRecord | None:
    """The hash of a network's weights; None for a function."""
    if not isinstance(made, nn.Module):
        return None
    return WeightsRecord(sha256_of_state(made), "state_dict")


def bytes_of(made: Callable[..., Tensor]) -> int:
    """The bytes that a network's weights take; 0 for a function."""
    tensors = [*made.parameters(), *made.buffers()] if isinstance(made, nn.Module) else []
    return sum(tensor.nbytes for tensor in tensors)
