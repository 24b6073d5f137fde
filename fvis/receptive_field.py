"""The receptive field of a unit, measured on the network itself.

Lines of the input are filled with NaN: a unit whose value stays finite does not see them. Gradients
would not tell, since weights that are zero hide what NaN shows (NaN times zero is NaN).
"""

import bisect
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from fvis.capture import Network
from fvis.grammar import Index
from fvis.models.layers import Layer
from fvis.objectives.positions import PositionReader

Extent = tuple[int, int]  # the first line and the one after the last


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of a layer see at a position: `extents` are its rows and columns in the input.

    `strides` (y, x) say by how many px it moves from one position of the layer to the next.
    """

    extents: tuple[Extent, Extent]
    strides: tuple[int, int]

    @property
    def length(self) -> int:
        """The longer side, px."""
        return max(last - first for first, last in self.extents)


def has_maps(layer: Layer) -> bool:
    """Whether the layer's positions are rows and columns, of clips in each of their frames."""
    return sorted(layer.axes) in (sorted("BCHW"), sorted("BCTHW"))


def receptive_field(network: Network, number: int, index: Index) -> ReceptiveField | None:
    """The receptive field at a position (..., y, x) of layer `number` of an entered network.

    None if the units see the whole input, as they do behind global pooling or attention, or if the
    layer has a single position along an axis.
    """
    layer = network.layers[number]
    sizes = grid(layer)
    here, extents, strides = PositionReader(layer, "index", index), [], []
    for axis in (-2, -1):
        if sizes[axis] < 2:
            return None
        extent = _extent(network, number, here, axis)
        if extent == (0, network.model.preprocessing.shape[axis]):
            return None
        place = list(index)
        place[axis] += 1 if place[axis] == 0 else -1
        beside = dataclasses.replace(here, index=tuple(place))
        moved = _extent(network, number, beside, axis)
        # At an edge of the input a field is cut off, and only its other edge moves.
        strides.append(max(abs(a - b) for a, b in zip(extent, moved, strict=True)))
        extents.append(extent)
    if 0 in strides:
        return None
    return ReceptiveField((extents[0], extents[1]), (strides[0], strides[1]))


def grid(layer: Layer) -> tuple[int, int]:
    """The rows and columns of a layer that has maps."""
    rows, columns = (n for n, axis in zip(layer.shape, layer.axes, strict=True) if axis in "HW")
    return rows, columns


def _extent(network: Network, number: int, reader: PositionReader, axis: int) -> Extent:
    """The lines along an axis of the input that the units see, found by bisection."""
    length = network.model.preprocessing.shape[axis]

    def sees(lines: slice) -> bool:
        rgb = torch.full((1, *network.model.preprocessing.shape), 0.5, device=network.model.device)
        rgb.movedim(axis, 0)[lines] = torch.nan
        return not bool(reader(network(rgb)[number]).isfinite().all())

    if sees(slice(0, 1)) and sees(slice(length - 1, length)):
        return 0, length
    counts = range(1, length + 1)
    first = _first_true(lambda count: sees(slice(0, count)), counts)
    last = length - _first_true(lambda count: sees(slice(length - count, length)), counts)
    return first, last


def _first_true(holds: Callable[[int], bool], numbers: Sequence[int]) -> int:
    """The place of the first of rising numbers from which on `holds` is true."""
    return bisect.bisect_left(numbers, True, key=holds)
