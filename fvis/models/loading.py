"""Builds a `Model` from a model config, or from a network that the user has built."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from fvis.errors import RequestError
from fvis.models import architecture, checkpoints
from fvis.models.base import Model, Preprocessing
from fvis.models.layers import LOGITS, survey
from fvis.models.sources.base import SOURCES
from fvis.paths import expand
from fvis.randomness import seeded
from fvis.schema import InputConfig, ModelConfig
from fvis.settings import section


def load(config: ModelConfig, seed: int = 0) -> Model:
    """The network that a config asks for, on the CPU and in eval mode.

    Weights that are not loaded are random and depend on `seed`. Raises `RequestError` for an
    unknown name, a constructor that fails, a checkpoint that does not fit, and weights that cannot
    be downloaded.
    """
    source = SOURCES[config.source]
    with seeded(seed):
        network = source(config)
    check_usable(network.module, shown_name(config))
    module = network.module.eval()
    if config.checkpoint is None:
        checkpoints.check_finite(module, shown_name(config))
        sha256, hashed = checkpoints.sha256_of_state(module), "state_dict"
    else:
        path = expand(config.checkpoint)
        checkpoints.load_checkpoint(module, path, network.rename)
        checkpoints.check_finite(module, path.name)
        sha256, hashed = checkpoints.sha256_of_file(path), path.name
    preprocessing = override(network.preprocessing, config.input)
    attends = architecture.attends(module) if config.attends is None else config.attends
    model = Model(
        module, shown_name(config), preprocessing, network.classes, sha256, hashed, attends
    )
    if config.classes is None:
        return model
    lines = config.classes if isinstance(config.classes, list) else _lines(str(config.classes))
    return _named(model, lines)


def _named(model: Model, classes: Sequence[Any]) -> Model:
    """`model` with class names; raises `RequestError` unless there is one name per output."""
    outputs = survey(model)[LOGITS].units
    if outputs not in (None, len(classes)):
        raise RequestError(f"{model.name} has {outputs} outputs; {len(classes)} names are given")
    return dataclasses.replace(model, classes=tuple(map(str, classes)))


def _lines(file: str) -> list[str]:
    path = expand(file)
    if path.exists() and not path.is_file():
        raise RequestError(f"model.classes: {file!r} is no regular file")
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RequestError(f"model.classes: {file!r} cannot be read: {reason}") from None


def wrap(
    module: nn.Module, given: Mapping[str, Any], classes: Sequence[str] | None = None
) -> Model:
    """A network that the user has built as a `Model`, named after its class.

    Args:
        module: the network.
        given: settings as of `model.input`. A timm model's own config provides those not given.
        classes: the names of the outputs.

    Raises:
        RequestError: a setting that is invalid, an input size that is unknown, names that are not
            one per output, or weights that were made in inference mode.
    """
    check_usable(module, "the network")
    tensors = [*module.parameters(), *module.buffers()]
    if any(tensor.is_inference() for tensor in tensors):
        raise RequestError(
            "the network was made in torch.inference_mode(), where no gradient can be computed: "
            "make it outside"
        )
    checkpoints.check_finite(module, "the network")
    config = section(given, "input", InputConfig)
    if getattr(module, "pretrained_cfg", None):
        from fvis.models.sources import timm  # it takes seconds to import

        preprocessing = timm.preprocessing_of(module)
    elif config.height is None or config.width is None:
        raise RequestError("input needs height and width")
    else:
        size = (config.height, config.width, config.frames)
        preprocessing = Preprocessing(*size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    model = Model(
        module=module,
        name=type(module).__name__,
        preprocessing=override(preprocessing, config),
        classes=None,
        sha256=checkpoints.sha256_of_state(module),
        hashed="state_dict",
        attends=architecture.attends(module),
    )
    return model if classes is None else _named(model, classes)


def check_usable(module: nn.Module, what: str) -> None:
    """Raise `RequestError` for a network whose layers or numbers cannot be reached."""
    if any(type(part).__name__ == "RecursiveScriptModule" for part in module.modules()):
        raise RequestError(f"{what} is scripted, so its layers cannot be read: give it unscripted")
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if is_lazy(tensor):
            raise RequestError(f"{what}: {name} has no shape before the network has run once")
        if tensor.is_meta:
            raise RequestError(f"{what}: {name} is on the meta device, without numbers")


def shown_name(config: ModelConfig) -> str:
    """The model's name in results: its library's name, or `file.py:function` of a factory.

    The file's folder is left out: random numbers depend on this name, and moving the file must not
    change the pictures.
    """
    if config.source == "factory":
        place, _, function = (config.factory or "").rpartition(":")
        return f"{Path(place).name}:{function}"
    return config.name or ""


def override(preprocessing: Preprocessing, given: InputConfig) -> Preprocessing:
    """`preprocessing` with the settings that the user gives in place of the library's.

    Raises `RequestError` for a mean or std that is not [R, G, B].
    """
    changes = {k: v for k, v in dataclasses.asdict(given).items() if v is not None}
    for key in ("mean", "std"):
        if key in changes:
            if len(changes[key]) != 3:
                raise RequestError(f"model.input.{key} is {changes[key]}; it takes [R, G, B]")
            changes[key] = tuple(changes[key])
    return dataclasses.replace(preprocessing, **changes)
