"""Grounding in natural images: how a unit's synthetic picture compares with photographs.

The photographs that excite a unit most are shown beside its picture, after Borowski et al. 2021,
"Exemplary natural images explain CNN activations better than state-of-the-art feature
visualization".
"""

import hashlib
import logging
import math
import os
import zlib
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
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
from fvis.objectives.positions import channel_means, token_grid
from fvis.paths import expand
from fvis.randomness import random_generator
from fvis.record.witnesses import BestPositionRecord, GroundingRecord, PatchRecord
from fvis.schema import GroundingConfig
from fvis.typed_json import Number

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
    With `sign` -1 the peaks are the lowest values, and the strongest photographs those that excite
    a unit least.
    `course` says how the photographs run through the network, if that was asked for: for each layer
    on the way, by its path, the mean over positions (N, C) of every channel.
    """

    files: tuple[Path, ...]
    scores: Tensor
    peaks: Tensor
    places: Tensor
    grid: tuple[int, int]
    course: Mapping[str, Tensor] = field(default_factory=dict)
    sign: int = 1


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
    Enters `network`, which reads the targets' layer last; layers that it reads before are the way
    of which the `course` tells. Raises `RequestError` if no photograph can be read, if the network
    takes clips, or for a target that is not a single unit.
    """
    if model.preprocessing.frames is not None:
        raise RequestError(
            f"grounding.images needs a network of images; {model.name} takes clips: "
            "give grounding.clips, or method=texture_motion"
        )
    targets.require_units("grounding.images")
    files = photographs.find(config.images)
    course = _on_the_way(network)
    what = "photographs" if targets.sign > 0 else "photographs, lowest peaks"
    what += f" through {course}" if course else ""
    place = cached(config, model, targets, network, files, what)
    names = (*ARRAYS, *(f"course {path}" for path in course))

    def see(rgb: Tensor) -> list[Tensor]:
        return responses(network, targets, rgb)

    readable, arrays = measured_once(place, names, files, network, see, "grounding.images")
    scores, peaks, places, *means = (arrays[name] for name in names)
    means_by_path = dict(zip(course, means, strict=True))
    grid = _grid(targets, model)
    return Natural(readable, scores, peaks, places, grid, means_by_path, targets.sign)


def responses(network: Network, targets: TargetSet, rgb: Tensor) -> list[Tensor]:
    """How pictures (B, 3, H, W) excite a layer's units, from one forward pass.

    The values (B, C) at `target.position`, the peaks (B, C) and their places, as in `Natural`.
    Where the entered `network` reads layers before the targets' own, the channels' means (B, C) at
    each layer follow.
    """
    outputs = network(rgb)
    scores, (peaks, places) = targets.values(outputs[-1:])[0], _peaks(targets, outputs[-1])
    pairs = zip(network.layers, outputs, strict=True) if _on_the_way(network) else ()
    means = [channel_means(layer, output) for layer, output in pairs]
    return [column.cpu() for column in (scores, peaks, places.int(), *means)]


def _on_the_way(network: Network) -> list[str]:
    """The layers on the way to the last one that a network reads, and that one; or none."""
    paths = [layer.path for layer in network.layers]
    return paths if len(paths) > 1 else []


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
    """The files that can be read, and what `see` tells of all of them."""
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


def _grid(targets: TargetSet, model: Model) -> tuple[int, int]:
    """Rows and columns in which a unit's values lie; 1 and 1, the whole picture, where unknown."""
    layer = targets.layers[0]
    if targets.readers[0].position == "cls" or layer.groups is not None:
        return 1, 1
    sizes = [n for n, axis in zip(layer.shape, layer.axes, strict=True) if axis not in "BCK"]
    if "N" in layer.axes:
        try:
            sizes = token_grid(layer, sizes[0] - layer.prefix, model)
        except RequestError:
            return 1, 1
    return (sizes[0], sizes[1]) if len(sizes) == 2 else (1, 1)


def strongest(natural: Natural, unit: int, count: int, size: Sequence[int]) -> list[Patch]:
    """The unit's `count` strongest patches, one per photograph, in pictures of `size` (H, W)."""
    peaks = natural.sign * natural.peaks[:, unit]
    order = peaks.argsort(descending=True, stable=True)[:count]
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
    sign = natural.sign
    percentiles, below, times_strongest = standing(natural.scores[:, unit], final, sign)
    highest = sign * (sign * natural.peaks[:, unit]).max().item()
    return GroundingRecord(
        photographs=len(natural.files),
        best_position=BestPositionRecord(peak, highest, _times(sign * peak, sign * highest)),
        percentiles=percentiles,
        below=below,
        times_strongest=times_strongest,
        strongest=[PatchRecord(photographs.shown(p.file), p.activation, p.box) for p in patches],
    )


def standing(scores: Tensor, final: float, sign: int = 1) -> tuple[dict[str, Number], float, float]:
    """How an activation stands among the scores (N,) of natural pictures or clips.

    Percentiles of the scores, the share of scores below `final`, and the ratio of `final` to the
    highest score (NaN if that is not positive); with `sign` -1 to the lowest one (NaN if that is
    not negative).
    """
    scores = scores.double()
    return (
        {str(p): torch.quantile(scores, p / 100).item() for p in PERCENTILES},
        (scores < final).double().mean().item(),
        _times(sign * final, (sign * scores).max().item()),
    )


def _times(value: float, highest: float) -> float:
    """The ratio of a value to the highest of others; NaN if that is not positive."""
    return value / highest if highest > 0 else math.nan


def _peaks(targets: TargetSet, output: Tensor) -> tuple[Tensor, Tensor]:
    """The peaks (B, C) at any position in a layer's output, and where they are.

    For `target.position=cls` there is but one position.
    """
    values = targets.readers[0].maps(output)
    peak, place = (targets.sign * values.reshape(*values.shape[:2], -1)).max(2)
    return targets.sign * peak, place


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
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
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
