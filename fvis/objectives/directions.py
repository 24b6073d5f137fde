"""Directions in a layer's channel space, read from a file: `target.direction`."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fvis.errors import RequestError
from fvis.models.checkpoints import is_plain, read_content
from fvis.models.layers import Layer


def read_directions(path: Path, layer: Layer) -> list[tuple[str, Tensor]]:
    """The rows of a direction file, each with its name, scaled to length 1.

    `path` is a .npy, .safetensors or .pt file with a vector (C,) or vectors (N, C), where C is the
    number of the layer's units. Raises `RequestError` for a file that holds something else.
    """
    rows = torch.atleast_2d(_read_vectors(path))
    count = layer.units
    if rows.dim() != 2 or rows.shape[1] != count:
        shape = "x".join(map(str, rows.shape))
        raise RequestError(f"{path} holds {shape}; {layer.path} takes vectors of {count}")
    if not len(rows):
        raise RequestError(f"{path} holds no vector")
    if not torch.isfinite(rows).all() or (rows.norm(dim=1) == 0).any():
        raise RequestError(f"{path} holds a vector that is zero or not finite")
    names = [path.stem] if len(rows) == 1 else [f"{path.stem}-{i}" for i in range(len(rows))]
    return [(f"direction-{name}", row / row.norm()) for name, row in zip(names, rows, strict=True)]


def _read_vectors(path: Path) -> Tensor:
    if not path.is_file():
        raise RequestError(f"no file {str(path)!r} for target.direction")
    try:
        vectors = _vectors_in(path)
    except RequestError:
        raise
    except Exception as error:  # what a damaged file makes of its reader is anybody's guess
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "pickle" in reason:
            reason = "it holds Python objects, which could run code"
        raise RequestError(f"{path} is not a readable vector: {reason}") from None
    if not is_plain(vectors):
        raise RequestError(f"{path} holds no plain real numbers")
    return vectors.float()


def _vectors_in(path: Path) -> Tensor:
    if path.suffix == ".npy":
        with warnings.catch_warnings(action="ignore"):  # of a size that overflows
            return torch.from_numpy(np.load(path, allow_pickle=False))
    content = read_content(path)
    if path.suffix == ".safetensors":
        return torch.cat([torch.atleast_2d(vector) for vector in content.values()])
    return torch.as_tensor(content)
