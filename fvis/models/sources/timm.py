"""`model.source=timm`: any timm image model by name."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import constants
from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config
from torch import nn

from fvis.errors import RequestError, unknown
from fvis.models import hub
from fvis.models.base import Preprocessing
from fvis.models.sources.base import (
    CATALOGUES,
    SOURCES,
    SourceModel,
    constructing,
    named,
    wants_hub_weights,
)
from fvis.schema import ModelConfig


@SOURCES.register("timm")
def load(config: ModelConfig) -> SourceModel:
    """A timm model with its own preprocessing; timm's loader fetches pretrained weights."""
    name = named(config)
    if name.partition(".")[0] not in timm.list_models() and ":" not in name:
        raise unknown("timm model", name, timm.list_models())
    pretrained = wants_hub_weights(config)
    reachable = _hugging_face() if pretrained else contextlib.nullcontext()
    with constructing(f"timm model {name}"), _advised(name), reachable:
        module = timm.create_model(name, pretrained=pretrained, **config.kwargs)
    return SourceModel(module, preprocessing_of(module), class_names(module))


@CATALOGUES.register("timm")
def names() -> list[str]:
    """All timm architectures, and all `architecture.tag` names that have weights."""
    return sorted({*timm.list_models(), *timm.list_pretrained()})


def preprocessing_of(module: nn.Module) -> Preprocessing:
    """The preprocessing that a timm model's own config declares."""
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


def class_names(module: nn.Module) -> tuple[str, ...] | None:
    """The names of the classes that a timm model was trained on; None if they are unknown."""
    subset = infer_imagenet_subset(module)
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


@contextlib.contextmanager
def _hugging_face() -> Iterator[None]:
    """A context in which a hub that does not answer counts as absent: its cache is all there is."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = not hub.hugging_face_answers()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def _advised(name: str) -> Iterator[None]:
    """Turn a failed download of weights into a `RequestError` that says which file to put where."""
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
            f"timm has no weights for {name}; set model.pretrained=false or model.checkpoint=FILE"
        )
    folder = Path(constants.HF_HUB_CACHE) / f"models--{entry.hf_hub_id.replace('/', '--')}"
    return (
        f"the weights of {name} are neither cached nor reachable; download model.safetensors from "
        f"huggingface.co/{entry.hf_hub_id} on a machine that is online and set "
        f"model.checkpoint=FILE, or copy {folder.name} from its cache into {folder.parent}"
    )
