"""`model.source=timm`: any timm image model by name."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
from huggingface_hub.constants import HF_HUB_CACHE
from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config
from torch import nn

from fvis.errors import RequestError, unknown
from fvis.models.base import Preprocessing
from fvis.models.sources.base import (
    CATALOGUES,
    SOURCES,
    Network,
    constructing,
    named,
    wants_hub_weights,
)
from fvis.schema import ModelConfig


@SOURCES.register("timm")
def load(config: ModelConfig) -> Network:
    """A timm model with its own preprocessing; hub weights through timm's own loader."""
    name = named(config)
    if name.partition(".")[0] not in timm.list_models() and ":" not in name:
        raise unknown("timm model", name, timm.list_models())
    pretrained = wants_hub_weights(config)
    with constructing(f"timm model {name}"), _hub(name):
        module = timm.create_model(name, pretrained=pretrained, **config.kwargs)
    return Network(module, preprocessing_of(module), _classes(module))


@CATALOGUES.register("timm")
def names() -> list[str]:
    """Every timm architecture, and every tag it has weights for."""
    return sorted({*timm.list_models(), *timm.list_pretrained()})


def preprocessing_of(module: nn.Module) -> Preprocessing:
    """What a timm model's own config says of its input."""
    data = resolve_model_data_config(module)
    _, height, width = data["input_size"]
    resized = math.floor(height / data["crop_pct"])  # as timm rounds it
    return Preprocessing(
        height=height,
        width=width,
        frames=None,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        crop=height / resized,
        interpolation=data["interpolation"],
        squash=data.get("crop_mode") == "squash",
    )


def _classes(module: nn.Module) -> tuple[str, ...] | None:
    subset = infer_imagenet_subset(module)
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


@contextlib.contextmanager
def _hub(name: str) -> Iterator[None]:
    """One line on what to put where, when the weights are neither cached nor reachable."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "pretrained" not in str(error).lower():
            raise
        raise RequestError(_advice(name)) from error


def _advice(name: str) -> str:
    entry: Any = timm.models.get_pretrained_cfg(name)
    if entry is None or not entry.hf_hub_id:
        return (
            f"timm has no weights for {name}; say model.pretrained=false, or model.checkpoint=FILE"
        )
    folder = Path(HF_HUB_CACHE) / f"models--{entry.hf_hub_id.replace('/', '--')}"
    return (
        f"the weights of {name} are neither cached nor reachable; fetch model.safetensors of "
        f"huggingface.co/{entry.hf_hub_id} where there is a network and give it as "
        f"model.checkpoint=FILE, or copy that machine's {folder.name} into {folder.parent}"
    )
