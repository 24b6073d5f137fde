"""Grounding in natural images: how a unit's synthetic picture compares with photographs.

The photographs that excite a unit most are shown beside its picture, after Borowski et al. 2021,
"Exemplary natural images explain CNN activations better than state-of-the-art feature
visualization".
"""

import hashlib
import logging
import math
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fvis import photographs
from fvis.artifacts import write_npz
from fvis.batching import in_batches
from fvis.capture import Network
from fvis.errors import RequestError, UnwritableError
from fvis.models.base import Model
from fvis.objectives import TargetSet
from fvis.objectives.positions import token_grid
from fvis.paths import expand
from fvis.randomness import random_generator
from fvis.record import BestPositionRecord, GroundingRecord, Number, PatchRecord
from fvis.schema import GroundingConfig

BATCH = 16  # photographs per forward pass
CELLS = 4  # a patch's side in cells of the layer's grid
ARRAYS = ("scores", "peaks", "places")
PERCENTILES = (50, 90, 99, 100)
GAP = 2  # px of white between tiles

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Natural:
    """How strongly each of N photographs excites each of a layer's C units.

    `scores` (N, C) are the values at `target.position`. `peaks` (N, C) are the greatest values at
    any position, and `places` (N, C) say where: row-major indices into a `grid` (rows, columns).
    """

    files: tuple[Path, ...]
    scores: Tensor
    peaks: Tensor
    places: Tensor
    grid: tuple[int, int]


@dataclass(frozen=True)
class Patch:
    """Where a unit peaks: `box` is x, y, width, height in px of the resized, cropped photograph."""

    file: Path
    activation: float
    box: tuple[int, int, int, int]


def natural_responses(
    config: GroundingConfig, model: Model, targets: TargetSet, network: Network
) -> Natural:
    """How strongly the config's photographs excite the units of the targets' layer.

    Computed once per network, layer, position and set of photographs, and then read from the cache.
    Enters `network`. Raises `RequestError` if no photograph can be read, if the network takes
    clips, or for a target that is not a single unit.
    """
    if model.preprocessing.frames is not None:
        raise RequestError(
            f"grounding.images needs a network of images; {model.name} takes clips: "
            "give grounding.clips, or method=texture_motion"
        )
    if any(not isinstance(target.unit, int) for target in targets.targets):
        raise RequestError("grounding.images takes units, not target.direction or target.joint")
    files = photographs.find(config.images)
    place = cached(config, model, targets, network, files, "photographs")
    arrays = recall(place, (*ARRAYS, "read"))
    if arrays is not None:
        read = arrays.pop("read").tolist()
        readable = tuple(file for file, was_read in zip(files, read, strict=True) if was_read)
        tell_left_out(files, readable)
        return Natural(readable, grid=_grid(targets, model), **arrays)
    natural = _measure(model, targets, network, files)
    arrays = {name: getattr(natural, name) for name in ARRAYS}
    keep(place, arrays | {"read": torch.tensor([file in natural.files for file in files])})
    return natural


def _measure(model: Model, targets: TargetSet, network: Network, files: Sequence[Path]) -> Natural:
    def see(batch: list[Path]) -> list[tuple[Path, Tensor, Tensor, Tensor]]:
        some = _pictures(batch, model)
        if not some:
            return []
        (output,) = network(torch.stack(list(some.values())).to(model.device))
        score = targets.values([output])[0]
        peak, place = _peaks(targets, output)
        return list(zip(some, score.cpu(), peak.cpu(), place.int().cpu(), strict=True))

    with network, torch.no_grad():
        batches = in_batches([[file] for file in files], BATCH, see)
        rows = [row for batch in batches for row in batch]
    if not rows:
        raise RequestError("grounding.images has no photograph that can be read")
    readable, *found = zip(*rows, strict=True)
    scores, peaks, places = map(torch.stack, found)
    return Natural(readable, scores, peaks, places, _grid(targets, model))


def _pictures(files: Sequence[Path], model: Model) -> dict[Path, Tensor]:
    """The photographs that can be read, (3, H, W) each."""
    pictures = {}
    for file in files:
        try:
            pictures[file] = photographs.load(file, model.preprocessing)
        except photographs.UnreadableError as error:
            logger.warning("left out: %s", error)
    return pictures


def _grid(targets: TargetSet, model: Model) -> tuple[int, int]:
    layer = targets.layers[0]
    if targets.readers[0].position == "cls":
        return 1, 1
    sizes = [n for n, axis in zip(layer.shape, layer.axes, strict=True) if axis not in "BCK"]
    if layer.groups is not None:
        return 1, 1
    if "N" in layer.axes:
        sizes = token_grid(layer, sizes[0] - layer.prefix, model)
    return (sizes[0], sizes[1]) if len(sizes) == 2 else (1, 1)


def strongest(natural: Natural, unit: int, count: int, size: Sequence[int]) -> list[Patch]:
    """The unit's `count` strongest patches, one per photograph, in pictures of `size` (H, W)."""
    order = natural.peaks[:, unit].argsort(descending=True, stable=True)[:count]
    return [
        Patch(
            natural.files[row],
            natural.peaks[row, unit].item(),
            box(int(natural.places[row, unit]), natural.grid, size),
        )
        for row in order.tolist()
    ]


def box(place: int, grid: tuple[int, int], size: Sequence[int]) -> tuple[int, int, int, int]:
    """x, y, width, height of the patch around a position: four cells a side, inside the picture.

    >>> box(0, (14, 14), (224, 224)), box(0, (1, 1), (224, 224))
    ((0, 0, 64, 64), (0, 0, 224, 224))
    """
    rows, columns = grid
    spans = []
    for index, cells, whole in (
        (place // columns, rows, size[0]),
        (place % columns, columns, size[1]),
    ):
        side = min(whole, round(CELLS * whole / cells))
        start = round((index + 0.5) * whole / cells - side / 2)
        spans.append((min(max(start, 0), whole - side), side))
    (y, height), (x, width) = spans
    return x, y, width, height


def compare(
    natural: Natural, unit: int, final: float, peak: float, patches: Sequence[Patch]
) -> GroundingRecord:
    """How a unit's picture compares with the photographs.

    `final` is its activation, and `peak` the greatest value of the unit at any position.
    """
    percentiles, below, times_strongest = standing(natural.scores[:, unit], final)
    highest = natural.peaks[:, unit].max().item()
    return GroundingRecord(
        photographs=len(natural.files),
        best_position=BestPositionRecord(peak, highest, _times(peak, highest)),
        percentiles=percentiles,
        below=below,
        times_strongest=times_strongest,
        strongest=[PatchRecord(photographs.shown(p.file), p.activation, p.box) for p in patches],
    )


def standing(scores: Tensor, final: float) -> tuple[dict[str, Number], float, float]:
    """How an activation stands among the scores (N,) of natural pictures or clips.

    Percentiles of the scores, the share of scores below `final`, and the ratio of `final` to the
    highest score (NaN if that is not positive).
    """
    scores = scores.double()
    highest = scores.max().item()
    return (
        {str(p): torch.quantile(scores, p / 100).item() for p in PERCENTILES},
        (scores < final).double().mean().item(),
        _times(final, highest),
    )


def _times(value: float, highest: float) -> float:
    """The ratio of a value to the highest of others; NaN if that is not positive."""
    return value / highest if highest > 0 else math.nan


def peaks(network: Network, targets: TargetSet, rgb: Tensor) -> Tensor:
    """The greatest values (B, C) of all units at any position in pictures (B, 3, H, W).

    Enters `network`. For `target.position=cls` there is but one position.
    """
    with network, torch.no_grad():
        (output,) = network(rgb)
    return _peaks(targets, output)[0].cpu()


def _peaks(targets: TargetSet, output: Tensor) -> tuple[Tensor, Tensor]:
    """The greatest values (B, C) at any position in a layer's output, and where they are."""
    values = targets.readers[0].maps(output)
    peak, place = values.reshape(*values.shape[:2], -1).max(2)
    return peak, place


def beside(rgb: Tensor, patches: Sequence[Patch], model: Model) -> Tensor:
    """A picture (3, H, W) and, to its right, the patches in a square grid of the same height."""
    h, w = rgb.shape[1:]
    across = min(math.ceil(math.sqrt(len(patches))), h, w)
    gap = GAP if min(h, w) > 2 * across * GAP else 0
    height, width = ((side - (across - 1) * gap) // across for side in (h, w))
    sheet = torch.ones(3, h, 2 * w + 2 * GAP)
    sheet[:, :, :w] = rgb.cpu()
    for place, patch in enumerate(patches[: across**2]):
        x, y, wide, high = patch.box
        cut = photographs.load(patch.file, model.preprocessing)[None, :, y : y + high, x : x + wide]
        tile = functional.interpolate(cut, (height, width), mode="bicubic", antialias=True)[0]
        top = place // across * (height + gap)
        left = w + 2 * GAP + place % across * (width + gap)
        sheet[:, top : top + height, left : left + width] = tile.clamp(0, 1)
    return sheet


def cached(
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
    return cache_file(config, files, *parts)


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
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        logger.warning("grounding: cannot read the cached %s: %s", place, error)
        return None


def keep(place: Path, arrays: Mapping[str, Tensor]) -> None:
    """Keep arrays in the cache; warns if that cannot be done."""
    try:
        write_npz(place, {name: array.numpy() for name, array in arrays.items()})
    except UnwritableError as error:
        logger.warning("grounding: cannot write %s: %s", place, error)


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
    """A hash of the layer's output for a fixed picture; enters `network`.

    Other code, another precision or a hook can change what the same weights compute.
    """
    model = network.model
    noise = torch.rand(1, *model.preprocessing.shape, generator=random_generator("grounding"))
    with network, torch.no_grad():
        (made,) = network(noise.to(model.device))
    return hashlib.sha256(made.cpu().numpy().tobytes()).hexdigest()
