"""`model.source=torchvision`: any torchvision model by name, for images or video."""

import contextlib
import sys
import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torchvision import models
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ObjectDetection, VideoClassification

from fvis.errors import RequestError, unknown
from fvis.models import hub
from fvis.models.base import Preprocessing
from fvis.models.sources.base import (
    CATALOGUES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SOURCES,
    SourceModel,
    constructing,
    named,
    wants_hub_weights,
)
from fvis.schema import ModelConfig

NO_MEAN, NO_STD = (
    (0.0, 0.0, 0.0),
    (1.0, 1.0, 1.0),
)  # of detectors, which normalize pictures themselves
CLIP_LENGTH = 16  # frames; torchvision evaluated its Kinetics networks on clips of this length


@SOURCES.register("torchvision")
def load(config: ModelConfig) -> SourceModel:
    """A torchvision model; its preprocessing is that of its default weights."""
    name = named(config)
    if name not in models.list_models():
        raise unknown("torchvision model", name, models.list_models())
    default = _default_weights(name)
    loaded = default if wants_hub_weights(config) else None
    with constructing(f"torchvision model {name}"):
        try:
            kwargs = {**_quiet(config), **config.kwargs}
            reachable = hub.torch_hub(loaded.url) if loaded else contextlib.nullcontext()
            with (
                reachable,
                contextlib.redirect_stdout(sys.stderr),  # it reports downloads there
                warnings.catch_warnings(action="ignore", category=FutureWarning),
            ):
                module = models.get_model(name, weights=loaded, **kwargs)
        except (URLError, OSError) as error:
            raise RequestError(_advice(name, default)) from error
    classes = (
        tuple(default.meta["categories"]) if default and "categories" in default.meta else None
    )
    return SourceModel(module, _preprocessing(default), classes)


@CATALOGUES.register("torchvision")
def names() -> list[str]:
    """The names of all models that torchvision can build."""
    return list(models.list_models())


def _default_weights(name: str) -> Any:
    """The default entry of the model's weights enum; None if it has no weights."""
    enum = models.get_model_weights(name)
    return getattr(enum, "DEFAULT", None)


def _quiet(config: ModelConfig) -> dict[str, Any]:
    """Arguments that keep a model from downloading a pretrained backbone by default.

    Detection and segmentation models would do so even without weights of their own.
    """
    name = config.name or ""
    dense = ("rcnn", "retinanet", "ssd", "fcos", "deeplab", "fcn_", "lraspp")
    return {"weights_backbone": None} if any(kind in name for kind in dense) else {}


def _preprocessing(weights: Any) -> Preprocessing:
    """Input size, mean and std; 224 px and those of ImageNet if the weights declare none."""
    if weights is None:
        return Preprocessing(224, 224, None, IMAGENET_MEAN, IMAGENET_STD)
    transform = weights.transforms()
    normalizes_itself = isinstance(transform, ObjectDetection)
    mean = NO_MEAN if normalizes_itself else tuple(getattr(transform, "mean", IMAGENET_MEAN))
    std = NO_STD if normalizes_itself else tuple(getattr(transform, "std", IMAGENET_STD))
    resized = _sides(getattr(transform, "resize_size", None))
    height, width = _sides(getattr(transform, "crop_size", None)) or resized or (224, 224)
    crop = min(1.0, height / resized[0]) if resized else 1.0
    interpolation = getattr(transform, "interpolation", InterpolationMode.BILINEAR).value
    video = isinstance(transform, VideoClassification)
    frames = max(CLIP_LENGTH, weights.meta.get("min_temporal_size", 0)) if video else None
    return Preprocessing(height, width, frames, mean, std, crop, interpolation)


def _sides(size: Any) -> tuple[int, int] | None:
    """(height, width) of a size that torchvision gives as a number or a list; None for no size."""
    if not size:
        return None
    return (size[0], size[-1]) if isinstance(size, list | tuple) else (size, size)


def _advice(name: str, weights: Any) -> str:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = weights.url.rpartition("/")[2]
    return (
        f"the weights of {name} are neither cached nor reachable; put {file} from {weights.url} "
        f"into {folder}, or set model.checkpoint=FILE"
    )
