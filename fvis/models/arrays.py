"""Reads pickled NumPy arrays, as Caffe2 wrote weights, without running code that a pickle names."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

MAGIC = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)  # begins torch.save's old files
MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
ALLOWED: Mapping[str, Any] = {
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "_reconstruct": np.empty(0).__reduce__()[0],
    "scalar": np.float32(0).__reduce__()[0],
}
MALFORMED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    OverflowError,
)  # fmt: skip


class NotAnArrayError(pickle.UnpicklingError):
    """A pickle names a class or function that makes no array, so reading it could run code."""


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that finds no class or function but those that make arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if module not in MODULES or name not in ALLOWED:
            raise NotAnArrayError(f"{module}.{name}")
        return ALLOWED[name]


def is_plain_pickle(path: Path) -> bool:
    """Whether a file of the name `.pkl` was not written by torch.save, by its first bytes."""
    if path.suffix != ".pkl":
        return False
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    return not start.startswith((b"PK", MAGIC))


def read_arrays(path: Path) -> Any:
    """What a pickle holds, its arrays of numbers as tensors.

    Python 2's strings are read as Latin-1. Raises `NotAnArrayError` for a pickle that holds more
    than arrays and Python's plain types, and `RuntimeError` for one that is malformed.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except NotAnArrayError:
        raise
    except MALFORMED as error:
        raise RuntimeError(f"not a whole pickle: {error}") from None
    return _tensors(content)


def _tensors(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _tensors(value) for key, value in content.items()}
    if isinstance(content, np.ndarray) and content.dtype.kind in "fiu":
        return torch.tensor(content)
    return content
