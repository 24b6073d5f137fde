"""Grounding in natural images: how a unit's synthetic picture compares with photographs.

The photographs that excite a unit most are shown beside its picture, after Borowski et al. 2021,
"Exemplary natural images explain CNN activations better than state-of-the-art feature
visualization".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from fvis import photographs, response_cache
from fvis.capture import Network
from fvis.errors import RequestError
from fvis.models.base import Model
from fvis.objectives import TargetSet
from fvis.objectives.positions import channel_means
from fvis.patches import Box, Patches, patches_of
from fvis.record.witnesses import BestPositionRecord, GroundingRecord, PatchRecord
from fvis.schema import GroundingConfig
from fvis.typed_json import Number

ARRAYS = ("scores", "peaks", "places")
PERCENTILES = (50, 90, 99, 100)
GAP = 2  # px of white between tiles


@dataclass(frozen=True)
class Natural:
    """How strongly each of N photographs excites each of a layer's C units.

    `scores` (N, C) are the values at `target.position`. `peaks` (N, C) are the greatest values at
    any position, and `places` (N, C) say where: row-major indices into the grid of `patches`.
    With `sign` -1 the peaks are the lowest values, and the strongest photographs those that excite
    a unit least.
    `course` says how the photographs run through the network, if that was asked for: for each layer
    on the way, by its path, the mean over positions (N, C) of every channel.
    """

    files: tuple[Path, ...]
    scores: Tensor
    peaks: Tensor
    places: Tensor
    patches: Patches
    course: Mapping[str, Tensor] = field(default_factory=dict)
    sign: int = 1


@dataclass(frozen=True)
class Patch:
    """Where a unit peaks: `box` is x, y, width, height in px of the resized, cropped photograph."""

    file: Path
    activation: float
    box: Box


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
    place = response_cache.response_file(config, model, targets, network, files, what)
    names = (*ARRAYS, *(f"course {path}" for path in course))

    def see(rgb: Tensor) -> list[Tensor]:
        return responses(network, targets, rgb)

    readable, arrays = response_cache.measured_once(
        place, names, files, network, see, "grounding.images"
    )
    scores, peaks, places, *means = (arrays[name] for name in names)
    means_by_path = dict(zip(course, means, strict=True))
    with network:
        patches = patches_of(targets, network)
    return Natural(readable, scores, peaks, places, patches, means_by_path, targets.sign)


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


def strongest(natural: Natural, unit: int, count: int) -> list[Patch]:
    """The unit's `count` strongest patches, one per photograph; by scores where they tie."""
    scores, peaks = (natural.sign * values[:, unit] for values in (natural.scores, natural.peaks))
    order = scores.argsort(descending=True, stable=True)
    order = order[peaks[order].argsort(descending=True, stable=True)][:count]
    return [
        Patch(
            natural.files[row],
            natural.peaks[row, unit].item(),
            natural.patches.box(int(natural.places[row, unit])),
        )
        for row in order.tolist()
    ]


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
