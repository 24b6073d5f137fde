"""The receptive field of a unit, measured on the network itself.

Lines of the input are filled with NaN: a unit whose value stays finite does not see them. Gradients
would not tell, since weights that are zero hide what NaN shows (NaN times zero is NaN).
"""

import bisect
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fvis.capture import Network
from fvis.errors import RequestError
from fvis.grammar import Index
from fvis.models.layers import Layer
from fvis.objectives.positions import PositionReader
from fvis.randomness import random_generator

Extent = tuple[int, int]  # the first line and the one after the last
NARROW = 16  # px; of the axis that is not looked at
EFFECTIVE, NOISES = 0.98, 4  # the share of the energy that counts; pictures it is measured with


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
    extents, strides = [], []
    for axis in (-2, -1):
        probe = _Probe(network, number, index, axis)
        if probe.positions < 2:
            return None
        extent = probe.extent(index[axis])
        if extent == (0, probe.length):
            return None
        moved = probe.extent_beside(index[axis], extent)
        # At an edge of the input a field is cut off, and only its other edge moves.
        strides.append(max(abs(a - b) for a, b in zip(extent, moved, strict=True)))
        extents.append(extent)
    if 0 in strides:
        return None
    return ReceptiveField((extents[0], extents[1]), (strides[0], strides[1]))


def effective_sides(network: Network, number: int, index: Index) -> tuple[int, int]:
    """Height and width (px) of the effective receptive field at a position (Luo et al. 2016).

    That is the middle part of the receptive field, which moves the units most: it holds `EFFECTIVE`
    of the gradient's energy. The gradient is that of a random sum of all units of layer `number` of
    an entered network, for pictures of noise.
    """
    shape, generator = network.model.preprocessing.shape, random_generator("effective")
    reader = PositionReader(network.layers[number], "index", index)
    energy = torch.zeros(shape[-2:], dtype=torch.float64)
    for _ in range(NOISES):
        noise = torch.rand(1, *shape, generator=generator).to(network.model.device)
        noise.requires_grad_(True)
        with torch.enable_grad():
            values = reader(network(noise)[number])
        signs = torch.randn(values.shape, generator=generator).to(values)
        (gradient,) = torch.autograd.grad(values, noise, signs)
        energy += gradient.cpu().double().square().sum((0, 1))
    rows, columns = (_middle(energy.sum(axis)) for axis in (1, 0))
    return rows, columns


def _middle(energy: Tensor) -> int:
    """How many lines in the middle of an energy (N,) have `EFFECTIVE` of it."""
    share, outer = energy.cumsum(0) / energy.sum(), (1 - EFFECTIVE) / 2
    first, last = (int((share < bound).sum()) for bound in (outer, 1 - outer))
    return last - first + 1


def grid(layer: Layer) -> tuple[int, int]:
    """The rows and columns of a layer that has maps."""
    rows, columns = (n for n, axis in zip(layer.shape, layer.axes, strict=True) if axis in "HW")
    return rows, columns


class _Probe:
    """Tells which lines of the input, along an axis, the units of a layer see."""

    def __init__(self, network: Network, number: int, index: Index, axis: int) -> None:
        layer, shape = network.layers[number], network.model.preprocessing.shape
        self._network, self._number, self._axis = network, number, axis
        self.length, self.positions = shape[axis], grid(layer)[axis]
        self._shape, self._reader = shape, PositionReader(layer, "index", index)
        self._narrow()

    def _narrow(self) -> None:
        """Look at inputs with few lines along the other axis, if the network takes them.

        What is seen along one axis does not depend on the length of the other.
        """
        network, number, other = self._network, self._number, -3 - self._axis
        shape, index = list(self._shape), list(self._reader.index or ())
        shape[other] = min(shape[other], NARROW)
        try:
            output = network(self._grey(shape))[number]
        except (RuntimeError, IndexError, RequestError):
            return
        narrow = dataclasses.replace(network.layers[number], shape=tuple(output.shape))
        if grid(narrow)[self._axis] == self.positions:
            index[other] = grid(narrow)[other] // 2
            self._shape = tuple(shape)
            self._reader = dataclasses.replace(self._reader, index=tuple(index))

    def extent(self, place: int) -> Extent:
        """The lines that the units at a place along the axis see, found by bisection."""
        length = self.length
        if self._sees(place, slice(0, 1)) and self._sees(place, slice(length - 1, length)):
            return 0, length
        counts = range(1, length + 1)
        first = _first_true(lambda n: self._sees(place, slice(0, n)), counts)
        last = _first_true(lambda n: self._sees(place, slice(length - n, length)), counts)
        return first, length - last

    def extent_beside(self, place: int, extent: Extent) -> Extent:
        """The extent at the place beside one whose own is known: moved by a stride, most likely."""
        way = 1 if place == 0 else -1
        stride = round(self.length / self.positions)
        first, last = (edge + way * stride for edge in extent)
        moved = (first, last)
        if first > 0 and last < self.length and self._has_extent(place + way, moved):
            return moved
        return self.extent(place + way)

    def _has_extent(self, place: int, extent: Extent) -> bool:
        """Whether the units at a place see all of an extent's outermost lines, and none beyond."""
        first, last = extent
        return (
            not self._sees(place, slice(0, first))
            and self._sees(place, slice(first, first + 1))
            and self._sees(place, slice(last - 1, last))
            and not self._sees(place, slice(last, self.length))
        )

    def _sees(self, place: int, lines: slice) -> bool:
        """Whether units at a place along the axis see any of the lines."""
        rgb, index = self._grey(self._shape), list(self._reader.index or ())
        rgb.movedim(self._axis, 0)[lines] = torch.nan
        index[self._axis] = place
        reader = dataclasses.replace(self._reader, index=tuple(index))
        return not bool(reader(self._network(rgb)[self._number]).isfinite().all())

    def _grey(self, shape: Sequence[int]) -> Tensor:
        return torch.full((1, *shape), 0.5, device=self._network.model.device)


def _first_true(holds: Callable[[int], bool], numbers: Sequence[int]) -> int:
    """The place of the first of rising numbers from which on `holds` is true."""
    return bisect.bisect_left(numbers, True, key=holds)
