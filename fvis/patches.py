"""Where in a picture a layer's positions lie, and the patch around each that is shown of it."""

from dataclasses import dataclass

import torch

from fvis.capture import Network
from fvis.errors import RequestError
from fvis.models.base import Model
from fvis.objectives import TargetSet
from fvis.objectives.positions import token_grid
from fvis.receptive_field import effective_sides, has_maps, receptive_field

CELLS = 4  # a patch's side in cells of the grid, at least
Box = tuple[int, int, int, int]  # x, y, width, height, px


@dataclass(frozen=True)
class Patches:
    """The patches around a layer's positions in pictures of `size` (H, W).

    Attributes:
        grid: rows and columns of positions.
        size: of the pictures, px.
        first: the centre (y, x) of what units see at the first row and column, px.
        strides: px (y, x) from one position to the next.
        sides: height and width of a patch, px.
    """

    grid: tuple[int, int]
    size: tuple[int, int]
    first: tuple[float, float]
    strides: tuple[float, float]
    sides: tuple[int, int]

    @classmethod
    def evenly(cls, grid: tuple[int, int], size: tuple[int, int]) -> "Patches":
        """Patches of a grid whose cells fill the pictures: `CELLS` of them a side.

        >>> Patches.evenly((14, 14), (224, 224)).box(0), Patches.evenly((1, 1), (64, 48)).box(0)
        ((0, 0, 64, 64), (0, 0, 48, 64))
        """
        y, x = (length / cells for length, cells in zip(size, grid, strict=True))
        return cls(grid, size, (y / 2, x / 2), (y, x), (round(CELLS * y), round(CELLS * x)))

    def box(self, place: int) -> Box:
        """The patch around a position, a row-major index into the grid; inside the picture."""
        spans = []
        for index, first, stride, wanted, length in zip(
            divmod(place, self.grid[1]), self.first, self.strides, self.sides, self.size,
            strict=True,
        ):  # fmt: skip
            side = min(wanted, length)
            start = round(first + index * stride - side / 2)
            spans.append((min(max(start, 0), length - side), side))
        (y, height), (x, width) = spans
        return x, y, width, height


def patches_of(targets: TargetSet, network: Network) -> Patches:
    """The patches around the positions of the last layer that an entered network reads.

    Each is centred on the receptive field of its position, and as large as the effective receptive
    field. Where the units in the middle see the whole input, or up to one of its edges, the
    receptive field does not tell: there the positions are taken to be spread evenly.
    """
    model = network.model
    shape = model.preprocessing.shape
    even = Patches.evenly(_grid(targets, model), (shape[-2], shape[-1]))
    number, layer = len(network.layers) - 1, network.layers[-1]
    if layer.groups is not None or not has_maps(layer):
        return even
    middle = (even.grid[0] // 2, even.grid[1] // 2)
    with torch.no_grad():
        field = receptive_field(network, number, middle)
    if field is None:
        return even
    axes = tuple(zip(field.extents, field.strides, middle, even.size, strict=True))
    if any(first == 0 or last == length for (first, last), _, _, length in axes):
        return even
    y, x = ((first + last) / 2 - place * stride for (first, last), stride, place, _ in axes)
    effective = effective_sides(network, number, middle)
    height, width = (max(CELLS * s, side) for s, side in zip(field.strides, effective, strict=True))
    return Patches(even.grid, even.size, (y, x), field.strides, (height, width))


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
