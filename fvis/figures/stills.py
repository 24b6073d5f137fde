"""A still picture of a unit, whatever kind of pictures its method has made."""

import numpy as np
from PIL import Image

from fvis.artifacts import from_bytes
from fvis.figures.sheet import Rgb
from fvis.run_folder import SavedUnit

# The first of these that a unit has; of a clip its middle frame. Each is what was scored.
SHOWN = ("motif.png", "image.png", "adversarial.png", "motif.gif", "clip.gif", "optimal.gif")


def still(unit: SavedUnit) -> Rgb:
    """RGB (3, H, W) in [0, 1] of a unit's picture, or of the middle frame of its clip.

    Raises `RequestError` where it has neither.
    """
    files = unit.record.files or ()
    name = next((name for name in SHOWN if name in files), None)
    with Image.open(unit.picture if name is None else unit.file(name)) as image:
        image.seek(getattr(image, "n_frames", 1) // 2)
        return from_bytes(np.asarray(image.convert("RGB")))
