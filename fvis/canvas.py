"""The canvas: the part of the network's input that an ascent needs, found by asking the network.

A unit in the first layers sees a few pixels. Its picture is synthesised on a canvas around its
receptive field, and scored again in the whole input.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fvis.capture import Network
from fvis.errors import RequestError
from fvis.objectives import TargetSet
from fvis.randomness import random_generator
from fvis.receptive_field import ReceptiveField, grid, has_maps, receptive_field
from fvis.record.unit import CanvasRecord
from fvis.schema import Config, EngineConfig, TransformsConfig

WORTHWHILE = 0.8  # of the input's side; a larger canvas would hardly cost less than the whole input
# Around the receptive field, as a share of its side: a Fourier texture goes on beyond its edges
# with its other side, so that without room between them the field's two sides would have to agree.
# (Large fields, for which this does not fit into the input, mind it less.)
MARGIN = 0.2
# Side of a periodic canvas over that of the receptive field: the first of these that is worthwhile.
# It need not hold the field: units see little near its edges (Luo et al. 2016), and a texture that
# repeats after half of it excites them almost as much as one that does not.
TILES = (1.5, 1.0, 0.5)
SMALLEST_TILE = 64  # px; on smaller ones textures have no room
SMALLEST_CLIP = 32  # px; on smaller ones motion has none
LEAST_CROP = 0.95  # of a periodic canvas, which is itself as small as the crops of a whole input
LEAST_PERIOD = 8  # px, of the picture that tells whether units know their place
SAME = 1e-3  # of the largest value: by how much what is read on a canvas may differ


@dataclass(frozen=True)
class Canvas:
    """What an ascent synthesises, and where it lies in the network's input.

    Attributes:
        targets: the targets, as they are read where the network sees the canvas alone.
        frame: the shape of the network's input, (3, H, W) or (3, T, H, W).
        side: of the square canvas, px; None where the canvas is the whole input. That of a clip has
            all of its frames.
        offset: y and x of the canvas in the input, px.
        periodic: whether the canvas goes on beyond its edges with its other side. Then it fills the
            input as a tile; otherwise it lies on mid-grey.
    """

    targets: TargetSet
    frame: tuple[int, ...]
    side: int | None = None
    offset: tuple[int, int] = (0, 0)
    periodic: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one picture on the canvas."""
        return self.frame if self.side is None else (*self.frame[:-2], self.side, self.side)

    @property
    def share(self) -> float:
        """The canvas's share of the input."""
        return math.prod(self.shape) / math.prod(self.frame)

    def engine(self, config: Config) -> EngineConfig:
        """The config's engine, with a larger learning rate for a spectrum on a small canvas.

        What a unit sees is a sum over all frequencies, and on a small canvas they are few: at the
        same steps of each, its contrast grows more slowly, in proportion to the side. The root of
        that is made up for; with all of it, units in the first layers overshoot.
        """
        if self.side is None or config.parametrization.name != "fourier":
            return config.engine
        faster = math.sqrt(min(self.frame[-2:]) / self.side)
        return dataclasses.replace(config.engine, lr=faster * config.engine.lr)

    @property
    def record(self) -> CanvasRecord | None:
        """What metadata.json says of the canvas; None where it is the whole input."""
        if self.side is None:
            return None
        return CanvasRecord(self.side, self.offset, self._enlargement, self.periodic)

    def transforms(self, config: TransformsConfig) -> TransformsConfig:
        """The settings of the canvas's views: a periodic one is hardly cropped."""
        if not self.periodic or config.crop is None:
            return config
        return dataclasses.replace(config, crop=[max(LEAST_CROP, side) for side in config.crop])

    def framed(self, rgb: Tensor) -> Tensor:
        """Inputs (B, *frame) of the network that show pictures (B, *shape)."""
        if self.side is None:
            return rgb
        if self.periodic:
            h, w = self.frame[-2:]
            times = (1, 1, math.ceil(h / self.side), math.ceil(w / self.side))
            return rgb.repeat(times)[..., :h, :w]
        framed = rgb.new_full((len(rgb), *self.frame), 0.5)
        self.part(framed)[:] = rgb
        return framed

    def part(self, framed: Tensor) -> Tensor:
        """The canvas in inputs (..., H, W) of the network: a view of them."""
        if self.side is None:
            return framed
        y, x = self.offset
        return framed[..., y : y + self.side, x : x + self.side]

    def motif(self, framed: Tensor) -> Tensor | None:
        """The canvas in an input (3, ..., H, W), enlarged to be looked at: (3, ..., h, h).

        The side h is that of the input, the shorter of its two. None where the canvas fills the
        input.
        """
        if self._enlargement is None:
            return None
        rows = self.part(framed).movedim(0, -3)  # of a clip, its frames
        size = min(self.frame[-2:])
        pictures = rows.reshape(-1, *rows.shape[-3:])
        enlarged = functional.interpolate(pictures, (size, size), mode="bicubic")
        return enlarged.view(*rows.shape[:-2], size, size).movedim(-3, 0).clamp(0, 1)

    @property
    def _enlargement(self) -> float | None:
        return None if self.side is None or self.periodic else min(self.frame[-2:]) / self.side


def find_canvas(targets: TargetSet, network: Network, wanted: str | int) -> Canvas:
    """The canvas on which the pictures of the targets are synthesised; enters `network`.

    `wanted` is `engine.canvas`: auto, full or a side in px. Raises `RequestError` for a side on
    which the units cannot be read as they are in the whole input.
    """
    whole = Canvas(targets, network.model.preprocessing.shape)
    if wanted == "full":
        return whole
    is_clip, of_mean = len(whole.frame) == 4, targets.readers[0].index is None
    found = best = None
    with network, torch.no_grad():
        if all(map(has_maps, targets.layers)) and not (is_clip and of_mean):
            fields = _fields(targets, network)
            found = _fitting(whole, network, fields, None if wanted == "auto" else int(wanted))
            if found is None and wanted != "auto":
                best = _fitting(whole, network, fields, None)
    if found is None and wanted != "auto" and {int(wanted)} != set(whole.frame[-2:]):
        side = f"{best.side} px" if best else "the whole input"
        room = min(whole.frame[-2:])
        why = f"{targets.layers[-1].path} cannot be read on so small a canvas as in the whole input"
        if int(wanted) > room:
            why = f"the input has {room} px"
        raise RequestError(f"engine.canvas={wanted}: {why}; auto takes {side}")
    return found or whole


def _fields(targets: TargetSet, network: Network) -> list[ReceptiveField | None]:
    """The receptive field at the position that is read of each layer; its centre's for the mean."""
    fields = []
    for number, reader in enumerate(targets.readers):
        rows, columns = grid(reader.layer)
        index = reader.index or (rows // 2, columns // 2)
        fields.append(receptive_field(network, number, index))
    return fields


def _fitting(
    whole: Canvas, network: Network, fields: Sequence[ReceptiveField | None], side: int | None
) -> Canvas | None:
    """The canvas of a side, or with as much room around the fields as is worthwhile; or None."""
    known = [field for field in fields if field is not None]
    if len(known) < len(fields):
        return None
    step = math.lcm(*(stride for field in known for stride in field.strides))
    room, longest = min(whole.frame[-2:]), max(field.length for field in known)
    if whole.targets.readers[0].index is None:
        if not _alike_everywhere(network, known, step):
            return None
        sides = [_whole(max(tile * longest, SMALLEST_TILE), step) for tile in TILES]
        canvases = (
            dataclasses.replace(whole, side=n, periodic=True) for n in _within(sides, side, room)
        )
        return next((canvas for canvas in canvases if _runs(canvas, network)), None)
    least = SMALLEST_CLIP if len(whole.frame) == 4 else 1
    roomy, tight = max((1 + 2 * MARGIN) * longest, least), max(longest, least)
    sides = [_whole(roomy, step), _whole(tight, step)]
    canvases = (_placed(whole, known, n, step) for n in _within(sides, side, room))
    return next((canvas for canvas in canvases if _reads_the_same(canvas, whole, network)), None)


def _within(sides: Sequence[int], wanted: int | None, room: int) -> list[int]:
    """The wanted side, or else those of `sides` that are worthwhile; none is larger than `room`."""
    if wanted is None:
        return [side for side in sides if side <= WORTHWHILE * room]
    return [wanted] if wanted <= room else []


def _whole(length: float, step: int) -> int:
    """The smallest multiple of `step` that is not below `length`."""
    return math.ceil(length / step) * step


def _placed(whole: Canvas, fields: Sequence[ReceptiveField], side: int, step: int) -> Canvas:
    """The canvas of a side with the fields in its middle, as far as the input's edges let it."""
    places = []
    for axis, length in enumerate(whole.frame[-2:]):
        first = min(field.extents[axis][0] for field in fields)
        last = max(field.extents[axis][1] for field in fields)
        place = round((first + last - side) / 2 / step) * step
        places.append(min(max(place, 0), (length - side) // step * step))
    y, x = places
    targets = _moved(whole.targets, fields, (y, x))
    return dataclasses.replace(whole, side=side, offset=(y, x), targets=targets)


def _moved(
    targets: TargetSet, fields: Sequence[ReceptiveField], offset: tuple[int, int]
) -> TargetSet:
    """The targets as they are read where the input begins at `offset`."""
    readers = []
    for reader, field in zip(targets.readers, fields, strict=True):
        assert reader.index is not None
        places = zip(reader.index[-2:], offset, field.strides, strict=True)
        index = [i - start // stride for i, start, stride in places]
        readers.append(dataclasses.replace(reader, index=(*reader.index[:-2], *index)))
    return dataclasses.replace(targets, readers=tuple(readers))


def _runs(canvas: Canvas, network: Network) -> bool:
    """Whether the network takes an input of the canvas's size, and has the positions to be read."""
    try:
        canvas.targets.values(
            network(torch.full((1, *canvas.shape), 0.5, device=network.model.device))
        )
    except (RuntimeError, IndexError):
        return False
    return True


def _alike_everywhere(network: Network, fields: Sequence[ReceptiveField], step: int) -> bool:
    """Whether units respond to the same thing alike wherever it is: none of them knows its place.

    The network is asked about a picture of noise that repeats: positions that lie one period apart,
    and see nothing beyond the input's edges, must have the same values.
    """
    period = _whole(LEAST_PERIOD, step)
    shape = network.model.preprocessing.shape
    tile = torch.rand(1, *shape[:-2], period, period, generator=random_generator("alike"))
    repeated = tile.repeat(*[1] * (tile.dim() - 2), *(-(-n // period) for n in shape[-2:]))
    rgb = repeated[..., : shape[-2], : shape[-1]].to(network.model.device)
    for layer, field, output in zip(network.layers, fields, network(rgb), strict=True):
        axes = zip("HW", field.extents, field.strides, grid(layer), shape[-2:], strict=True)
        for axis, (first, last), stride, count, length in axes:
            # The field is that in the middle. One that ends at the input's edge may be cut off.
            start, end = (
                count // 2 - (first - 1) // stride,
                count // 2 + (length - last - 1) // stride,
            )
            inner = output.movedim(layer.axes.index(axis), 0)[max(start, 0) : end + 1]
            lag = period // stride
            if len(inner) > lag and not _same(inner[:-lag], inner[lag:]):
                return False
    return True


def _reads_the_same(canvas: Canvas, whole: Canvas, network: Network) -> bool:
    """Whether all units have the same values on the canvas and in two inputs around it."""
    if not _runs(canvas, network):
        return False
    noise = torch.rand(1, *whole.frame, generator=random_generator("canvas")).to(
        network.model.device
    )
    part = canvas.part(noise)
    here = canvas.targets.values(network(part))
    for inputs in (noise, canvas.framed(part)):
        for value, there in zip(here, whole.targets.values(network(inputs)), strict=True):
            if not _same(value, there):
                return False
    return True


def _same(values: Tensor, others: Tensor) -> bool:
    return bool((values - others).abs().max() <= SAME * others.abs().max())
