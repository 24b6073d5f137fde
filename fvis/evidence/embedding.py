"""How alike pictures look to another network: their embeddings."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fvis import models
from fvis.errors import RequestError
from fvis.models.base import Model
from fvis.schema import parse_models

AUTO, DREAMSIM = "auto", "dreamsim"
PACKAGED = "packages/efficientnet_lite0"  # what auto takes without DreamSim
SETTING = "evidence.embedding"


@dataclass(frozen=True)
class Embedding:
    """A network that embeds pictures: its name, the hash of its weights, and itself as a function.

    The function takes RGB (B, 3, H, W) in [0, 1] of any size and returns vectors (B, D).
    """

    name: str
    sha256: str
    embed: Callable[[Tensor], Tensor]

    def __call__(self, rgb: Tensor) -> Tensor:
        """Unit vectors (B, D), on the CPU, whose products are similarities."""
        with torch.no_grad():
            return functional.normalize(self.embed(rgb).float().flatten(1), dim=1).cpu()


def load_embedding(spec: Any, seed: int, device: torch.device) -> Embedding:
    """The embedding that `evidence.embedding=spec` names: dreamsim, or a network's features.

    `auto` is DreamSim where it is installed, else EfficientNet-Lite0. Raises `RequestError` for a
    network that there is not or that takes clips.
    """
    if spec == AUTO:
        spec = DREAMSIM if importlib.util.find_spec(DREAMSIM) else PACKAGED
    if spec == DREAMSIM:
        return _dreamsim(device)
    (config,) = parse_models([spec], SETTING)
    model = models.load(config, seed)
    if model.preprocessing.frames is not None:
        raise RequestError(f"{SETTING}: {model.name} takes clips, and pictures are to be embedded")
    model.module.to(device)
    return Embedding(model.name, model.sha256, lambda rgb: features(model, rgb))


def features(model: Model, rgb: Tensor) -> Tensor:
    """What a network's last linear layer reads (B, ...); of a network without one, its outputs.

    `rgb` (B, 3, H, W) is resized to the network's input.
    """
    read: list[Tensor] = []

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        read[:] = [args[0]]

    linear = [module for module in model.module.modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_pre_hook(note) for module in linear]
    try:
        with torch.no_grad():
            made: Tensor = model.module(model.preprocessing.normalise(model.resized(rgb)))
    finally:
        for handle in handles:
            handle.remove()
    return read[0] if read else made


def _dreamsim(device: torch.device) -> Embedding:
    """DreamSim (Fu et al. 2023), which was trained on what people find alike."""
    if importlib.util.find_spec(DREAMSIM) is None:
        raise RequestError(f"{SETTING}={DREAMSIM} needs DreamSim: pip install dreamsim")
    from dreamsim import dreamsim

    network, _ = dreamsim(pretrained=True, device=str(device))

    def embed(rgb: Tensor) -> Tensor:
        size = (224, 224)  # of its input, which it normalises itself
        resized = functional.interpolate(rgb.to(device), size, mode="bicubic", antialias=True)
        made: Tensor = network.embed(resized.clamp(0, 1))
        return made

    return Embedding(DREAMSIM, "", embed)
