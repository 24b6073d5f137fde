"""Views at a lower resolution: the first steps of a class's picture by a convolutional network.

The last layer of such a network is averaged over the picture, so that many small objects excite it
as one large one does. On fewer pixels it only sees what is large in the picture.
"""

import torch
from torch import Tensor
from torch.nn import functional

from fvis.canvas import Canvas
from fvis.capture import Network
from fvis.errors import RequestError, described
from fvis.transforms import Transforms

SHARE = 4 / 7  # of the picture's side: 128 of 224 px
LEAST = 128  # px, unless asked for: what networks of small images see on still fewer px is no use
SETTING = "transforms.coarse"


class CoarseViews:
    """Random views, which are `shape` (h, w) in the first `steps` steps: at a lower resolution.

    A convolutional network whose last layer is averaged over the picture counts things there, and
    is glad of many small ones. On fewer pixels it sees what is large in the picture.
    """

    def __init__(self, transforms: Transforms, shape: tuple[int, int], steps: int) -> None:
        self.views = transforms.views
        self._transforms, self._shape, self._steps = transforms, shape, steps

    def __call__(self, rgb: Tensor, step: int) -> Tensor:
        """Views (B * views, 3, h, w) of pictures (B, 3, H, W), or (B * views, 3, H, W) later."""
        views = self._transforms(rgb, step)
        if step >= self._steps:
            return views
        return functional.interpolate(views, self._shape, mode="bilinear", antialias=True)

    def phase(self, step: int) -> int:
        """Views of one phase differ in their draws alone."""
        return 2 * self._transforms.phase(step) + int(step >= self._steps)

    def follow(self, counter: Tensor) -> None:
        """Look draws up by `counter` (1,) from now on; of `step` only the phase still counts."""
        self._transforms.follow(counter)


def coarse_shape(canvas: Canvas, network: Network, wanted: float | None) -> tuple[int, int] | None:
    """Height and width of coarse views for `transforms.coarse`; None where views stay as they are.

    Unless a share of the side is `wanted`, they are made coarse for units without positions, as
    classes are, of convolutional networks that take smaller images. Enters `network`. Raises
    `RequestError` where a share is wanted, and the units cannot be read in such images.
    """
    share = SHARE if wanted is None else wanted
    if share == 1:
        return None
    height, width = (max(1, round(share * side)) for side in canvas.shape[-2:])
    pooled = all(layer.axes == "BK" for layer in network.layers)
    suits = pooled and not network.model.attends and min(height, width) >= LEAST
    if wanted is None and not suits:
        return None
    failure = _failure(canvas, network, (height, width))
    if failure is None:
        return height, width
    if wanted is None:
        return None
    raise RequestError(f"{SETTING}={wanted}: {failure}")


def _failure(canvas: Canvas, network: Network, shape: tuple[int, int]) -> str | None:
    """Why the canvas's units cannot be read in images of another `shape`; None if they can."""
    if len(canvas.shape) > 3:
        return "views of clips have the clips' own resolution"
    if any(reader.index is not None for reader in canvas.targets.readers):
        return "a unit at a position (target.position) is elsewhere in a smaller image"
    grey = torch.full((1, 3, *shape), 0.5, device=network.model.device)
    try:
        with network, torch.no_grad():
            canvas.targets.values(network(grey))
    except (RuntimeError, IndexError) as error:
        return described(error)
    return None
