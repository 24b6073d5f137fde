"""Where in a layer units are read: `target.position`, resolved once per layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fvis.errors import RequestError
from fvis.grammar import Index, parse_position
from fvis.models.architecture import reorders_tokens
from fvis.models.base import Model
from fvis.models.layers import Layer
from fvis.models.token_grids import token_grids
from fvis.objectives.classes import LOG_ODDS, VALUE, class_score_of, class_scores
from fvis.objectives.dictionaries import Dictionary

FARTHEST = 4.0  # times by which a map's ratio of sides may differ from the input's


@dataclass(frozen=True)
class PositionReader:
    """Reads the value of each unit from a layer's output.

    `position` is `mean` (over all positions, prefix tokens excluded), `cls` (the first token),
    `center` or `index`. For the last two, `index` is the position to read, one number per axis in
    the order of the axes; for tokens it is one number, counted from the first patch token.
    With a `dictionary` its latents are the units, at every position of the layer's own. The `score`
    of classes may be another than their value, see `classes`.
    """

    layer: Layer
    position: str
    index: Index | None = None
    dictionary: Dictionary | None = None
    score: str = VALUE

    def __call__(self, output: Tensor) -> Tensor:
        """The values (B, C) of all C units."""
        values = self._read(output)
        if self.dictionary is not None:
            return pooled(self.dictionary.latents(values))
        return class_scores(self.score, pooled(values))

    def units(self, output: Tensor, units: Tensor) -> Tensor:
        """The value (B,) of unit `units[b]` (B,) in each row b; no more is computed than it needs.

        Units without a finite value elsewhere do not matter.
        """
        if self.dictionary is not None:
            return pooled(self.dictionary.latent(self._read(output), units)[:, None])[:, 0]
        return class_score_of(self.score, pooled(self._read(output)), units)

    def maps(self, output: Tensor) -> Tensor:
        """The values (B, C, positions...) of all units, wherever `position` reads them.

        Those of the class token, and of classes against all others, are (B, C).
        """
        if self.position == "cls" or self.score == LOG_ODDS:
            return self(output)
        values = maps(self.layer, output)
        return values if self.dictionary is None else self.dictionary.latents(values)

    def _read(self, output: Tensor) -> Tensor:
        """The layer's own values: (B, C) at one position, (B, C, positions...) for their mean.

        The mean of latents is not the latent of means, so that positions are pooled last.
        """
        if self.position == "cls":
            assert self.layer.channel_dim is not None
            return output.movedim(self.layer.channel_dim, 1)[:, :, 0]
        values = maps(self.layer, output)
        for place in self.index or ():
            values = values.select(2, place)
        return values


def position_reader(
    layer: Layer,
    spec: Any,
    model: Model,
    dictionary: Dictionary | None = None,
    score: str = VALUE,
) -> PositionReader:
    """The reader that `target.position=spec` asks for at a layer, or at its dictionary's latents.

    `score` is `target.score`.

    Raises `RequestError` for a position that the layer does not have.
    """
    position, index = parse_position(spec)
    index = _index_in(layer, position, index, model)
    return PositionReader(layer, position, index, dictionary, score)


def maps(layer: Layer, output: Tensor) -> Tensor:
    """The values (B, C, positions...) of each unit in a layer's output, without prefix tokens."""
    dim = layer.channel_dim
    assert dim is not None, "resolve() refuses layers whose channel axis is unknown"
    values = output.movedim(dim, 1)
    return values[:, :, layer.prefix :] if layer.prefix and values.dim() > 2 else values


def channel_means(layer: Layer, output: Tensor) -> Tensor:
    """The mean over positions (B, C) of each unit of a layer's output."""
    return pooled(maps(layer, output))


def pooled(values: Tensor) -> Tensor:
    """The mean over positions (B, C) of values (B, C) or (B, C, positions...)."""
    return values if values.dim() == 2 else values.flatten(2).mean(2)


def reads_one_position(spec: Any) -> bool:
    """Whether `target.position=spec` reads units at one place of the input."""
    return parse_position(spec)[0] in ("center", "index")


def token_grid(layer: Layer, tokens: int, model: Model) -> list[int]:
    """Rows and columns of an image's patch tokens, in the input's aspect ratio.

    Raises `RequestError` if square patches of the input give no such grid, and where the network
    puts its tokens into another order.
    """
    cls = "cls, " if layer.prefix else ""
    takes = f"target.position takes mean, {cls}or one token's index"
    if reorders_tokens(model.module):
        raise RequestError(
            f"the tokens of layer {layer.path} do not lie as the picture's rows and columns do: "
            f"{takes}"
        )
    grids = token_grids(tokens, model.preprocessing)
    if not grids:
        raise RequestError(
            f"the {tokens} tokens of layer {layer.path} form no known grid: {takes}; if some of "
            "them stand for no position, give target.prefix_tokens"
        )
    return list(grids[0])


def _index_in(layer: Layer, position: str, index: Index | None, model: Model) -> Index | None:
    """The index that a reader needs for `position`; None for mean and cls, which need none.

    Raises `RequestError` if the layer has no such position.
    """
    sizes = [n for n, axis in zip(layer.shape, layer.axes, strict=True) if axis not in "BCK"]
    if position == "cls":
        if layer.prefix == 0:
            raise RequestError(
                f"no class token of layer {layer.path} is known for target.position=cls: "
                "target.prefix_tokens says how many tokens stand before the patches"
            )
        return None
    if position == "mean":
        return None
    if not sizes:
        raise RequestError(f"layer {layer.path} has no positions: target.position must be mean")
    if layer.groups is not None and index is None:
        raise RequestError(
            f"layer {layer.path} has {layer.groups} groups (windows, frames) whose places are "
            "unknown: target.position takes mean, or an index with the group first"
        )
    if index is None and model.attends and "H" in layer.axes and _is_no_map(sizes, model):
        raise RequestError(
            f"the {sizes[-2]}x{sizes[-1]} positions of layer {layer.path} do not lie as the "
            "picture does, so that its centre is unknown: target.position takes mean, or an index"
        )
    if "N" not in layer.axes or layer.groups is not None:
        index = tuple(n // 2 for n in sizes) if index is None else index
        return _checked(layer, index, sizes)
    tokens = sizes[0] - layer.prefix
    if index is not None and len(index) == 1:
        return _checked(layer, index, [tokens])
    grid = token_grid(layer, tokens, model)
    index = tuple(n // 2 for n in grid) if index is None else _checked(layer, index, grid)
    return (index[0] * grid[1] + index[1],)


def _is_no_map(sizes: Sequence[int], model: Model) -> bool:
    """Whether rows and columns are in a ratio that is far from the input's.

    Transformers that attend within parts of a picture have axes of parts, and of places in a part.
    """
    rows, columns = sizes[-2:]
    ratio = rows * model.preprocessing.width / (columns * model.preprocessing.height)
    return not 1 / FARTHEST <= ratio <= FARTHEST


def _checked(layer: Layer, index: Index, sizes: Sequence[int]) -> Index:
    inside = len(index) == len(sizes) and all(0 <= i < n for i, n in zip(index, sizes, strict=True))
    if not inside:
        size = ", ".join(map(str, sizes))
        raise RequestError(
            f"target.position is {list(index)}; layer {layer.path} has positions [{size}]"
        )
    return index
