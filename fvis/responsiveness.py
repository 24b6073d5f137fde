"""Whether pictures move the units of a layer at all: before a network is trained, they may not.

A layer whose weights are zero, as the last of a block often are at first, answers every picture
alike. Where batch norm has not yet seen its statistics, or layer scales are still as small as they
start, the picture fades from layer to layer, until the units' biases are all that is left.
"""

import logging

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from fvis.capture import Network
from fvis.errors import RequestError
from fvis.models.layers import LOGITS, Layer
from fvis.objectives.positions import maps, pooled
from fvis.randomness import random_generator

logger = logging.getLogger(__name__)

FADED = 1e-4  # of the spread among units; an ascent that moves a unit by 1e-2 of it stands still
REPEATED = 1e-3  # of an output's length: by how much it may differ when it is computed again
COARSE = 4  # blobs of colour along each axis of a picture
SCALE = 1e-3  # a layer scale of this or less in every channel is as small as training starts it


def check_responsive(network: Network) -> None:
    """Raise `RequestError` for a layer of a network whose units pictures do not move.

    The pictures are mid-grey, noise, and blobs of colour. A layer that gives exactly the same for
    all of them is refused if weights before it are zero; it may only be silent otherwise. One that
    they hardly move is refused if the network has not been trained. The log warns of a network
    that answers the same picture in different ways.
    """
    with network, torch.no_grad():
        answers = [network(rgb) for rgb in _pictures(network)]
        again = network(_pictures(network)[-1])
    for one, other in zip(answers[-1], again, strict=True):
        if (_finite(one) - _finite(other)).norm() > REPEATED * _finite(one).norm():
            logger.warning(
                "%s answers the same picture in different ways, as with dropout that is always on: "
                "no number of this run can be repeated",
                network.model.name,
            )
            break
    for number, layer in enumerate(network.layers):
        values = [_finite(maps(layer, answer[number])) for answer in answers]
        moved = max((one - values[0]).abs().max().item() for one in values)
        spread = max(pooled(one).std(1, correction=0).max().item() for one in values)
        zero = _zero_weight(network.model.module, layer) if moved == 0 else None
        if zero is not None:
            raise RequestError(
                f"every picture gives the units of {layer.path} the same values: {zero} is all "
                "zero, as in a network that has not been trained"
            )
        untrained = _untrained(network.model.module)
        if 0 < moved <= FADED * spread and untrained:
            raise RequestError(
                f"pictures move the units of {layer.path} by {moved / spread:.0e} of the spread "
                f"among them: the picture fades on the way, {untrained}"
            )


def why_dead(network: nn.Module) -> str:
    """What is known of why no unit that was asked for could be woken, in words."""
    return ", ".join(filter(None, ("no picture was found that excites it", _untrained(network))))


def _pictures(network: Network) -> list[Tensor]:
    """Three inputs (1, ...) that have little in common."""
    shape, generator = network.model.preprocessing.shape, random_generator("responsiveness")
    noise = torch.rand(1, *shape, generator=generator)
    coarse = torch.rand(1, 3, *(min(COARSE, side) for side in shape[1:]), generator=generator)
    blobs = functional.interpolate(coarse, shape[1:], mode="nearest")
    return [rgb.to(network.model.device) for rgb in (torch.full_like(noise, 0.5), noise, blobs)]


def _finite(values: Tensor) -> Tensor:
    return values.nan_to_num(0.0, 0.0, 0.0)


def _untrained(network: nn.Module) -> str | None:
    """What lets a picture fade in an untrained network, in words; None where nothing is known."""
    signs = {
        "batch norm without statistics": _lacks_statistics,
        "layer scales as small as they start": _has_starting_scales,
    }
    sign = next((words for words, is_there in signs.items() if is_there(network)), None)
    return sign and f"as in a network that has not been trained ({sign})"


def _has_starting_scales(network: nn.Module) -> bool:
    """Whether a layer scale has one small value for all channels."""
    scales = (
        weight
        for name, weight in network.named_parameters()
        if any(word in name.rpartition(".")[2] for word in ("gamma", "layer_scale"))
    )
    return any(0 < scale.max() <= SCALE and bool(scale.min() == scale.max()) for scale in scales)


def _lacks_statistics(network: nn.Module) -> bool:
    """Whether a batch norm has the running statistics that it was made with."""
    norms = (module for module in network.modules() if isinstance(module, _BatchNorm))
    return any(
        norm.running_mean is not None
        and norm.running_var is not None
        and not norm.running_mean.any()
        and bool((norm.running_var == 1).all())
        for norm in norms
    )


def _zero_weight(network: nn.Module, layer: Layer) -> str | None:
    """The last weight that is zero as a whole, up to the layer in the order of definition."""
    found = None
    reached = layer.path == LOGITS
    for path, module in network.named_modules():
        is_within = f"{path}.".startswith(f"{layer.path}.")
        if reached and not is_within and layer.path != LOGITS:
            break
        reached = reached or is_within
        for name, weight in module.named_parameters(path, recurse=False):
            if name.endswith(("weight", "gamma")) and not weight.any():
                found = name
    return found
