"""How an image's patch tokens lie in rows and columns, and how many others stand before them."""

import math
from collections.abc import Set

from fvis.models.base import Preprocessing


def token_grids(tokens: int, size: Preprocessing) -> list[tuple[int, int]]:
    """Rows and columns in which so many square patches of an image may lie, likeliest first.

    There are none for clips, and where square patches of the input give no such number.
    """
    if size.frames is not None:
        return []
    filled = [(rows, tokens // rows) for rows in range(1, tokens + 1) if tokens % rows == 0]
    grids = [grid for grid in filled if _square(*grid, size)]
    return sorted(grids, key=lambda n: abs(math.log(n[0] * size.width / (n[1] * size.height))))


def joined_tokens(count: int, tokens: int, maps: Set[int], size: Preprocessing) -> int:
    """How many of a layer's `count` tokens stand for no position: `tokens`, or none of them yet.

    `tokens` is the number of the network's class and register tokens, and `maps` has the numbers of
    positions of its feature maps. Patches number as many as a map, or as fill a grid.
    """

    def is_whole(number: int) -> bool:
        return number in maps or bool(token_grids(number, size))

    if is_whole(count) != is_whole(count - tokens):
        return 0 if is_whole(count) else tokens
    return tokens if count > tokens and count not in maps else 0


def _square(rows: int, columns: int, size: Preprocessing) -> bool:
    """Whether square patches, cut off or padded at an input's far edges, make such a grid.

    Their side is between H / (rows + 1) and H / rows px where the rest is cut off, and between
    H / rows and H / (rows - 1) px where it is padded; and so for columns.
    """
    high, wide = size.height, size.width
    off = rows * wide - columns * high
    return -wide < off < high or -high < off < wide
