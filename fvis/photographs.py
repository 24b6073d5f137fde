"""Photographs from the user's files, as a network is shown them."""

import itertools
import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from fvis.artifacts import safe_name
from fvis.errors import RequestError, unknown
from fvis.models.base import Preprocessing

EXAMPLES = Path(__file__).parent / "zoo" / "pictures"
PREFIX = "zoo:"  # pictures that come with the package
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
GLOB = "*?["
STRIP = 8  # times the input's side: of what is longer the middle is resized
WHITE = (255, 255, 255)
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")


class UnreadableError(ValueError):
    """A file that no photograph can be read from; one line says why."""


def find(specs: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that paths, folders, globs and `zoo:NAME` name, each once, in the order given.

    A folder gives its image files, sorted. Raises `RequestError` for one that names no file.
    """
    several = specs if isinstance(specs, list | tuple) else [specs]
    found: dict[Path, None] = {}
    for spec in map(str, several):
        files = _files(spec)
        if not files:
            raise RequestError(f"no image file at {spec!r}")
        found |= dict.fromkeys(files)
    return list(found)


def _files(spec: str) -> list[Path]:
    if spec.startswith(PREFIX):
        folder = EXAMPLES / spec.removeprefix(PREFIX)
        if not folder.is_dir() or folder.parent != EXAMPLES:
            known = [PREFIX + place.name for place in EXAMPLES.iterdir()]
            raise unknown("set of pictures", spec, known)
        return _pictures(folder.iterdir())
    path = Path(spec).expanduser()
    if path.is_dir():
        return _pictures(path.iterdir())
    if path.exists():
        return [path]
    if any(letter in spec for letter in GLOB):
        return _pictures(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    return []


def _pictures(paths: Iterable[Path]) -> list[Path]:
    return sorted(p for p in paths if p.suffix.lower() in SUFFIXES and p.is_file())


def names(paths: Sequence[Path]) -> list[str]:
    """A name for each file: its stem, or `<stem>-<k>` where another before it has that name.

    >>> names([Path("a/cat.png"), Path("b/cat.jpg"), Path("dog.png")])
    ['cat', 'cat-2', 'dog']
    """
    taken: list[str] = []
    for path in paths:
        stem = safe_name(path.stem)
        candidates = itertools.chain([stem], (f"{stem}-{k}" for k in itertools.count(2)))
        taken.append(next(name for name in candidates if name not in taken))
    return taken


def load(path: Path, preprocessing: Preprocessing) -> Tensor:
    """The photograph as the network sees it: RGB (3, H, W) in [0, 1], whole multiples of 1/255.

    It is turned as its EXIF says, resized and cropped as the model's own preprocessing does;
    transparent parts are white. Raises `UnreadableError` for no image, a broken one, one too
    large, and an animation.
    """
    image = fitted(read(path), preprocessing)
    rgb: Tensor = transforms.pil_to_tensor(image).float() / 255
    return rgb


def read(path: Path) -> Image.Image:
    """The file's one picture, upright, in 8-bit RGB; raises `UnreadableError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                frames = getattr(image, "n_frames", 1)
                animated = image.format != "MPO" and getattr(image, "is_animated", True)
                if frames > 1 and animated:  # a phone's MPO is a JPEG with extras behind it
                    raise UnreadableError(f"{path} has {frames} frames; give one as a still")
                if image.mode == "F":
                    raise UnreadableError(f"{path} holds floating-point numbers of unknown range")
                image.load()
                return _rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise UnreadableError(f"{path} is no image that Pillow knows") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableError(f"{path} has too many pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        if isinstance(error, UnreadableError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableError(f"{path} cannot be read: {reason}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BIT:  # convert() would cut them off at 255
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(ground, clear)
    return image.convert("RGB")


def fitted(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """`image` resized and cropped to the input's size."""
    size = (preprocessing.height, preprocessing.width)
    whole = [round(side / preprocessing.crop) for side in size]
    if not preprocessing.squash:
        scale = max(whole[0] / image.height, whole[1] / image.width)
        # A strip's ends are cropped anyway, and resized they would take gigabytes.
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


def batch(paths: Sequence[Path], preprocessing: Preprocessing) -> Tensor:
    """Photographs (B, 3, H, W); all must be readable."""
    return torch.stack([load(path, preprocessing) for path in paths])
