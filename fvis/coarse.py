"""Views at a lower resolution, in the first steps of a picture: `transforms.coarse`.

A convolutional network whose last layer is averaged over the picture is excited by many small
objects as by one large one. On fewer pixels it only sees what is large in the picture.
"""

import torch
from torch import Tensor
from torch.nn import functional

from fvis.canvas import Canvas
from fvis.capture import Network
from fvis.errors import RequestError, described
from fvis.transforms import Transforms


class CoarseViews:
    """Random views; in the first `steps` steps they are resized to a smaller `shape` (h, w)."""

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


def coarse_shape(canvas: Canvas, network: Network, share: float) -> tuple[int, int] | None:
    """Height and width of coarse views: `share` times those of the picture; None for a share of 1.

    Enters `network`. Raises `RequestError` where the units cannot be read in such images.
    """
    if share == 1:
        return None
    height, width = (max(1, round(share * side)) for side in canvas.shape[-2:])
    failure = _failure(canvas, network, (height, width))
    if failure is not None:
        raise RequestError(f"transforms.coarse={share}: {failure}")
    return height, width


def _failure(canvas: Canvas, network: Network, shape: tuple[int, int]) -> str | None:
    """Why the canvas's units cannot be read in images of another `shape`; None if they can."""
    if len(canvas.shape) > 3:
        return "views of clips have the clips' own resolution"
    if canvas.side is not None:
        return "a picture on a canvas is small already; engine.canvas=full makes whole ones"
    if any(reader.index is not None for reader in canvas.targets.readers):
        return "a unit at a position (target.position) is elsewhere in a smaller image"
    grey = torch.full((1, 3, *shape), 0.5, device=network.model.device)
    try:
        with network, torch.no_grad():
            canvas.targets.values(network(grey))
    except (RuntimeError, IndexError) as error:
        return described(error)
    return None
