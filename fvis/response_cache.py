"""What networks answer to photographs and clips, kept in a cache: each is asked but once.

A file of the cache is named by all that its numbers depend on: the network's weights and what it
makes of a fixed picture, the layer and position, and the files as they are now.
"""

import hashlib
import logging
import os
import zlib
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from fvis import photographs
from fvis.artifacts import write_npz
from fvis.batching import in_batches
from fvis.capture import Network
from fvis.errors import RequestError, UnwritableError
from fvis.models.base import Model
from fvis.objectives import TargetSet
from fvis.paths import expand
from fvis.randomness import random_generator
from fvis.schema import GroundingConfig

BATCH = 16  # photographs per forward pass

logger = logging.getLogger(__name__)


def measured_once(
    place: Path,
    names: Sequence[str],
    files: Sequence[Path],
    network: Network,
    see: Callable[[Tensor], list[Tensor]],
    setting: str,
) -> tuple[tuple[Path, ...], dict[str, Tensor]]:
    """The photographs that can be read, and what `see` tells of them, from the cache if it can be.

    `see` maps RGB (B, 3, H, W) to numbers (B, ...), one for each of `names`. It may call `network`,
    which is entered for it. Raises `RequestError` where none of `files`, those of a `setting`, can
    be read.
    """
    arrays = recall(place, (*names, "read"))
    if arrays is None:
        readable, columns = _measure(files, network, see, setting)
        arrays = dict(zip(names, columns, strict=True))
        were_read = set(readable)
        keep(place, arrays | {"read": torch.tensor([file in were_read for file in files])})
        return readable, arrays
    read = arrays.pop("read").tolist()
    readable = tuple(file for file, was_read in zip(files, read, strict=True) if was_read)
    tell_left_out(files, set(readable))
    return readable, arrays


def _measure(
    files: Sequence[Path],
    network: Network,
    see: Callable[[Tensor], list[Tensor]],
    setting: str,
) -> tuple[tuple[Path, ...], list[Tensor]]:
    """The files that can be read, and what `see` tells of them."""
    model = network.model

    def look(batch: list[Path]) -> tuple[list[Path], list[Tensor]]:
        some = _pictures(batch, model)
        if not some:
            return [], []
        return list(some), see(torch.stack(list(some.values())).to(model.device))

    with network, torch.no_grad():
        batches = list(in_batches([[file] for file in files], BATCH, look))
    readable = tuple(file for some, _ in batches for file in some)
    if not readable:
        raise RequestError(f"{setting} has no photograph that can be read")
    columns = zip(*(columns for some, columns in batches if some), strict=True)
    return readable, [torch.cat(column) for column in columns]


def _pictures(files: Sequence[Path], model: Model) -> dict[Path, Tensor]:
    """The photographs that can be read, (3, H, W) each."""
    pictures = {}
    for file in files:
        try:
            pictures[file] = photographs.load(file, model.preprocessing)
        except photographs.UnreadableError as error:
            logger.warning("left out: %s", error)
    return pictures


def response_file(
    config: GroundingConfig,
    model: Model,
    targets: TargetSet,
    network: Network,
    files: Sequence[Path],
    what: str,
) -> Path:
    """Where the responses of `network` to files, shown as `what` says, are kept; enters it."""
    reader = targets.readers[0]
    parts = (what, model.name, model.sha256, model.preprocessing, reader, _fingerprint(network))
    latents = () if reader.dictionary is None else (reader.dictionary.content,)
    return cache_file(config, files, *parts, *latents)


def cache_file(config: GroundingConfig, files: Sequence[Path], *parts: object) -> Path:
    """Where numbers are kept that depend on `files`, as they are now, and on `parts`."""
    states = [(str(f.absolute()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    key = hashlib.sha256(repr((*parts, states)).encode()).hexdigest()[:32]
    return _directory(config) / f"{key}.npz"


def recall(place: Path, names: Sequence[str]) -> dict[str, Tensor] | None:
    """The arrays that a file of the cache holds; None, and a warning if it is damaged, if none."""
    try:
        with np.load(place, allow_pickle=False) as content:
            return {name: torch.from_numpy(content[name]) for name in names}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        logger.warning("cannot read the cached responses %s: %s", place, error)
        return None


def keep(place: Path, arrays: Mapping[str, Tensor]) -> None:
    """Keep arrays in the cache; warns if that cannot be done."""
    try:
        write_npz(place, {name: array.numpy() for name, array in arrays.items()})
    except UnwritableError as error:
        logger.warning("cannot write the cached responses %s: %s", place, error)


def tell_left_out(files: Sequence[Path], readable: Container[Path]) -> None:
    """Warn of each of the files that is not among those that could be read, says the cache."""
    for file in files:
        if file not in readable:
            logger.warning("left out, as it could not be read before: %s", file)


def _directory(config: GroundingConfig) -> Path:
    if config.cache is not None:
        return expand(config.cache)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expand(base) / "fvis" / "grounding"


def _fingerprint(network: Network) -> str:
    """A hash of the layers' outputs for a fixed picture; enters `network`.

    Other code, another precision or a hook can change what the same weights compute.
    """
    model = network.model
    noise = torch.rand(1, *model.preprocessing.shape, generator=random_generator("grounding"))
    with network, torch.no_grad():
        return hash_of(network(noise.to(model.device)))


def hash_of(tensors: Sequence[Tensor]) -> str:
    """The hexadecimal SHA-256 of the numbers of tensors."""
    return hashlib.sha256(b"".join(t.cpu().numpy().tobytes() for t in tensors)).hexdigest()
