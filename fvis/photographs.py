"""Photographs from the user's files, resized and cropped as a network expects them."""

import itertools
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fvis import paths
from fvis.artifacts import safe_name
from fvis.errors import RequestError, described, unknown
from fvis.models.base import Model, Preprocessing
from fvis.schema import OWN_PICTURES

EXAMPLES = Path(__file__).parent / "zoo" / "pictures"
# What Pillow may open: no format that hands a file to another program, as PostScript does.
# (Phones' MPO files are opened as JPEG.)
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
STRIP = 8  # a picture that would be resized to more than this many input sides is cropped first
WHITE = (255, 255, 255)
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # modes of Pillow


class UnreadableError(ValueError):
    """A file cannot be read as a photograph or video; the message says why, in one line."""


def find(specs: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that paths, folders, globs and `zoo:NAME` refer to, each once, in the order given.

    A folder stands for its image files, sorted by name; `zoo:NAME/FILE` is one file of a set.
    Raises `RequestError` if any of `specs` refers to no image file.
    """
    return paths.find(specs, _files, "image file")


def _files(spec: str) -> list[Path]:
    if not spec.startswith(OWN_PICTURES):
        return paths.files_at(spec, SUFFIXES)
    folder = EXAMPLES / spec.removeprefix(OWN_PICTURES)
    if folder.is_file() and folder.parent.parent == EXAMPLES:
        return [folder]
    if not folder.is_dir() or folder.parent != EXAMPLES:
        known = [OWN_PICTURES + place.name for place in EXAMPLES.iterdir()]
        raise unknown("set of pictures", spec, known)
    return paths.with_suffix(folder.iterdir(), SUFFIXES)


def shown(path: Path) -> str:
    """A photograph's path without the folders of this machine, for records that may be passed on.

    It is `zoo:NAME/FILE` for one that comes with the package. An absolute path is made relative to
    the working directory where it lies below it, and is shortened to the file's name elsewhere.

    >>> shown(EXAMPLES / "glyphs" / "disc.png"), shown(Path("../cat.png")), shown(Path("/a/b.png"))
    ('zoo:glyphs/disc.png', '../cat.png', 'b.png')
    """
    if path.is_relative_to(EXAMPLES):
        return OWN_PICTURES + path.relative_to(EXAMPLES).as_posix()
    if not path.is_absolute():
        return str(path)
    base = Path.cwd()
    return str(path.relative_to(base)) if path.is_relative_to(base) else path.name


def note_unreadable(refused: dict[str, str], path: Path, error: Exception) -> None:
    """Note in `refused` why a photograph cannot be read, under a name that it shares with none."""
    known = name = shown(path)
    for number in itertools.count(2):
        if name not in refused:
            break
        name = f"{known} ({number})"
    refused[name] = str(error).replace(str(path), known)


def names(files: Sequence[Path]) -> list[str]:
    """A unique name for each file: its stem, or `<stem>-<k>` if an earlier file has that name.

    >>> names([Path("a/cat.png"), Path("b/cat.jpg"), Path("dog.png")])
    ['cat', 'cat-2', 'dog']
    """
    taken: dict[str, None] = {}
    twins: Counter[str] = Counter()
    for path in files:
        own = name = stem(path)
        while name in taken:
            twins[own] += 1
            name = f"{own}-{twins[own] + 1}"
        taken[name] = None
    return list(taken)


def stem(path: Path) -> str:
    """A photograph's name without folders and ending, on which its random numbers depend.

    Unlike its name among others (`names`) it does not depend on them.

    >>> stem(Path("b/my cat.png"))
    'my_cat'
    """
    return safe_name(path.stem)


def load(path: Path, preprocessing: Preprocessing) -> Tensor:
    """A photograph at the network's input size: RGB (3, H, W) in [0, 1], multiples of 1/255.

    It is rotated as its EXIF data says, and resized and cropped as in the model's own
    preprocessing; transparent parts become white. Raises `UnreadableError` for a file that is
    damaged, too large, an animation or no image.
    """
    image = resize_and_crop(read(path), preprocessing)
    return pixels(image).float() / 255


def refuse_clips(model: Model, what: str) -> None:
    """Raise `RequestError` if the network takes clips; `what` is what takes photographs."""
    if model.preprocessing.frames is not None:
        raise RequestError(f"{what} needs a network of images; {model.name} takes clips")


def load_asked(spec: str, model: Model, setting: str) -> Tensor:
    """The one photograph that a setting names, as `load` gives it.

    Raises `RequestError` if it cannot be read, if `spec` stands for several, or if the network
    takes clips.
    """
    refuse_clips(model, setting)
    files = find(spec)
    if len(files) > 1:
        raise RequestError(f"{setting} is {spec!r}: it takes one photograph, not {len(files)}")
    try:
        return load(files[0], model.preprocessing)
    except UnreadableError as error:
        raise RequestError(f"{setting}: {error}") from None


def read(path: Path) -> Image.Image:
    """The picture in a file, upright, as 8-bit RGB; raises `UnreadableError` as `load` does."""
    try:
        with warnings.catch_warnings(action="ignore"):  # what is wrong is told in one line
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                frames = getattr(image, "n_frames", 1)
                animated = image.format != "MPO" and getattr(image, "is_animated", True)
                if frames > 1 and animated:  # MPO: a phone's JPEG plus extra images
                    raise UnreadableError(f"{path} has {frames} frames; give a single picture")
                if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
                    raise UnreadableError(f"{path} has 32-bit pixels of unknown range")
                image.load()
                return _rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise UnreadableError(f"{path} is not an image that Pillow can read") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableError(f"{path} has too many pixels") from None
    except UnreadableError:
        raise
    except Exception as error:  # damaged files make decoders raise errors of every kind
        raise UnreadableError(f"{path} cannot be read: {described(error)}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BIT:  # convert() would clip values at 255
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(ground, clear)
    return image.convert("RGB")


def resize_and_crop(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Resize an image and crop its centre to the network's input size."""
    from torchvision.transforms import InterpolationMode  # it takes seconds to import
    from torchvision.transforms import functional as transforms

    size = (preprocessing.height, preprocessing.width)
    whole = [round(side / preprocessing.crop) for side in size]
    if not preprocessing.squash:
        scale = max(whole[0] / image.height, whole[1] / image.width)
        # The ends of a very long strip are cropped below; resizing them could take gigabytes.
        room = [math.ceil(STRIP * side / scale) for side in whole]
        if image.height > room[0] or image.width > room[1]:
            image = transforms.center_crop(
                image, [min(room[0], image.height), min(room[1], image.width)]
            )
        whole = [
            max(side, int(scale * own))
            for side, own in zip(whole, (image.height, image.width), strict=True)
        ]
    resized = transforms.resize(image, whole, InterpolationMode(preprocessing.interpolation))
    cropped: Image.Image = transforms.center_crop(resized, list(size))
    return cropped


def pixels(image: Image.Image) -> Tensor:
    """The pixels of an RGB image: uint8 (3, H, W)."""
    return torch.from_numpy(np.array(image)).movedim(-1, 0).contiguous()


def batch(files: Sequence[Path], preprocessing: Preprocessing) -> Tensor:
    """Photographs as a batch (B, 3, H, W); raises `UnreadableError` as `load` does."""
    return torch.stack([load(path, preprocessing) for path in files])
