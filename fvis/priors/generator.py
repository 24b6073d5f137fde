"""`prior=generator`: the latent vector of a generator climbs, and the generator draws the picture.

Nguyen et al., "Synthesizing the preferred inputs for neurons in neural networks via deep generator
networks", NeurIPS 2016 (DGN-AM); with a prior on the latent as in Nguyen et al., "Plug & Play
Generative Networks", CVPR 2017.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from fvis.errors import RequestError, described, exits_are_errors
from fvis.models.base import Preprocessing
from fvis.parametrizations import Parametrization
from fvis.parametrizations.base import UpdateRule, leaf
from fvis.priors.base import PRIORS, Prior, bytes_of, of_factory, weights_of
from fvis.randomness import normal, random_generator
from fvis.schema import GeneratorConfig
from fvis.sizes import resized


class GeneratorPrior(Prior):
    """Draws pictures (G(z) - black) / (white - black), with black and white of `config.range`.

    The parameters are z (B, *config.latent), which starts normal, with `config.init_std`, and
    decays: the gradient of a normal prior's logarithm.
    """

    draws = whole = True

    def __init__(
        self, config: GeneratorConfig, generator: Callable[[Tensor], Tensor], device: torch.device
    ) -> None:
        self._config, self._generator, self._device = config, generator, device
        self.weights, self.bytes = weights_of(generator), bytes_of(generator)

    def start(
        self, generators: Sequence[Generator], shape: tuple[int, ...], device: torch.device
    ) -> Parametrization:
        """Pictures of random latents, resized to `shape`."""
        config = self._config
        z = leaf(config.init_std * normal(generators, *config.latent), device)
        black, white = config.range

        def render() -> Tensor:
            rgb = (self._generator(z).float() - black) / (white - black)
            return resized(rgb, shape[-2:]).clamp(0, 1)

        return Parametrization((z,), render, (UpdateRule(weight_decay=config.decay),))

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `RequestError` unless G makes pictures that fit `shape` and follow their latent."""
        given, latent = self._config.factory, list(self._config.latent)
        picture = self.start([random_generator("generator")], shape, self._device)
        try:
            with exits_are_errors("its code"):
                made = picture.render()
        except Exception as error:  # the user's own code fails in its own ways
            reason = described(error)
            raise RequestError(f"{given} fails for a latent of {latent}: {reason}") from error
        if made.shape[1:] != shape:
            raise RequestError(
                f"{given} made {list(made.shape)} of a latent of {[1, *latent]}; the network takes "
                f"{list(shape)}, of which it must make the first axes"
            )
        if not made.requires_grad or not made.isfinite().all():
            fault = "are not finite" if made.requires_grad else "do not depend on its latent"
            raise RequestError(f"{given}: the generator's pictures {fault}")


@PRIORS.register("generator")
def build(config: GeneratorConfig, inputs: Preprocessing, device: torch.device) -> Prior:
    """The generator that `prior.factory` returns, as a prior of pictures."""
    prior = GeneratorPrior(config, of_factory(config, device), device)
    prior.check(inputs.shape)
    return prior
