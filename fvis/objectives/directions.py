"""Directions in a layer's channel space, read from a file: `target.direction`."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvis.errors import RequestError, described, unknown
from fvis.models.base import Model
from fvis.models.checkpoints import is_plain, read_content
from fvis.models.layers import Layer
from fvis.objectives.concepts import read_concepts, refuse_elsewhere
from fvis.paths import expand
from fvis.record.unit import DIRECTION, ConceptRecord

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Direction:
    """A vector (C,) of length 1 over a layer's channels; `concept` says how it was fitted."""

    name: str
    vector: Tensor
    concept: ConceptRecord | None = None


def direction_file(given: str) -> tuple[Path, str | None]:
    """The file that `target.direction` names, and the one concept of it that is asked for.

    >>> direction_file("absent.npy")
    (PosixPath('absent.npy'), None)
    """
    path, _, name = given.rpartition(":")
    if name and not expand(given).exists() and expand(path).is_file():
        return expand(path), name
    return expand(given), None


def read_directions(given: str, layer: Layer, model: Model) -> list[Direction]:
    """The directions that `target.direction=given` stands for at a layer, in the file's order.

    The file is a .npy, .safetensors or .pt file with a vector (C,) or vectors (N, C), where C is
    the number of the layer's units; or one of `fvis concept`, of which `FILE:NAME` is one concept.
    Raises `RequestError` for a file that holds something else, and for concepts of another layer or
    network.
    """
    path, wanted = direction_file(given)
    concepts = read_concepts(path) if path.is_file() else None
    if wanted is not None and wanted not in (concepts or {}):
        raise unknown("concept", wanted, concepts or {})
    if concepts is None:
        rows = _checked(path, torch.atleast_2d(_read_vectors(path)), layer)
        names = [path.stem] if len(rows) == 1 else [f"{path.stem}-{i}" for i in range(len(rows))]
        return [_direction(name, row) for name, row in zip(names, rows, strict=True)]
    found = []
    for name, (concept, vector) in concepts.items():
        if wanted in (None, name):
            refuse_elsewhere(concept, name, layer.path, model)
            if not concept.separates:
                logger.warning("concept %s tells no photographs apart: it is a control", name)
            (row,) = _checked(path, vector[None], layer)
            found.append(_direction(name, row, concept))
    return found


def _direction(name: str, row: Tensor, concept: ConceptRecord | None = None) -> Direction:
    scaled = row / row.abs().max()  # the squares of very large or small numbers are none
    return Direction(f"{DIRECTION}{name}", (scaled / scaled.norm()).float(), concept)


def _checked(path: Path, rows: Tensor, layer: Layer) -> Tensor:
    """The vectors (N, C) of a file, if they are such."""
    count = layer.units
    if rows.dim() != 2 or rows.shape[1] != count:
        shape = "x".join(map(str, rows.shape))
        raise RequestError(f"{path} holds {shape}; {layer.path} takes vectors of {count}")
    if not len(rows):
        raise RequestError(f"{path} holds no vector")
    rows = rows.double()
    if not torch.isfinite(rows).all() or (rows == 0).all(1).any():
        raise RequestError(f"{path} holds a vector that is zero or not finite")
    return rows


def _read_vectors(path: Path) -> Tensor:
    if not path.is_file():
        raise RequestError(f"no file {str(path)!r} for target.direction")
    try:
        vectors = _vectors_in(path)
    except RequestError:
        raise
    except Exception as error:  # what a damaged file makes of its reader is anybody's guess
        raise RequestError(f"{path} is not a readable vector: {described(error)}") from None
    if not is_plain(vectors):
        raise RequestError(f"{path} holds no plain real numbers")
    return vectors


def _vectors_in(path: Path) -> Tensor:
    content = read_content(path)
    if path.suffix == ".safetensors":
        return torch.cat([torch.atleast_2d(vector) for vector in content.values()])
    return torch.as_tensor(content)
