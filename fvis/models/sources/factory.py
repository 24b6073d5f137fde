"""`model.source=factory`: a network built by a user's own function."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from fvis.errors import RequestError, described, exits_are_errors, unknown
from fvis.models.base import Preprocessing
from fvis.models.sources.base import SOURCES, SourceModel, constructing
from fvis.paths import expand
from fvis.schema import ModelConfig


@SOURCES.register("factory")
def load(config: ModelConfig) -> SourceModel:
    """The network that `model.factory` returns when called with `model.kwargs`.

    Its input is RGB in [0, 1] unless `model.input` sets mean and std. Raises `RequestError` if the
    function cannot be found or does not return an `nn.Module`, or if the input size is not given.
    """
    if not config.factory:
        raise RequestError(
            "model.source=factory needs model.factory=path/to/file.py:function "
            "or package.module:function"
        )
    build = find(config.factory)
    with constructing(config.factory):
        module = build(**config.kwargs)
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise RequestError(f"{config.factory} returned a {kind}, not a torch.nn.Module")
    given = config.input
    if given.height is None or given.width is None:
        raise RequestError("model.source=factory needs model.input.height and model.input.width")
    size = (given.height, given.width, given.frames)
    return SourceModel(module, Preprocessing(*size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))


def find(spec: str, setting: str = "model.factory") -> Callable[..., Any]:
    """The function that `file.py:function` or `package.module:function` names.

    Raises `RequestError`, which names the `setting`, if there is none.
    """
    place, colon, name = spec.rpartition(":")
    if not colon:
        raise RequestError(
            f"{setting} is {spec!r}; it takes file.py:function or package.module:function"
        )
    module = (
        _from_file(Path(place), setting) if place.endswith(".py") else _from_package(place, setting)
    )
    function = getattr(module, name, None)
    if function is None:
        raise unknown(f"function in {place}", name, vars(module))
    if not callable(function):
        raise RequestError(f"{spec} is not a function")
    return function  # type: ignore[no-any-return]  # a user's function may have no types


def _from_file(path: Path, setting: str) -> Any:
    path = expand(path).resolve()
    if not path.is_file():
        raise RequestError(f"no file {str(path)!r} for {setting}")
    own = hashlib.sha256(str(path).encode(errors="surrogatepass")).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"fvis_factory_{path.stem}_{own}", path)
    if spec is None or spec.loader is None:
        raise RequestError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    if str(path.parent) not in sys.path:  # the file may import its neighbours, as scripts do
        sys.path.insert(0, str(path.parent))
    try:
        with exits_are_errors("it"):
            spec.loader.exec_module(module)
    except Exception as error:
        raise RequestError(f"{path} cannot be imported: {described(error)}") from error
    return module


def _from_package(name: str, setting: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        reason = described(error)
        raise RequestError(f"{setting} module {name!r} cannot be imported: {reason}") from error
