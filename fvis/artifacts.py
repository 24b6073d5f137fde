"""Reads the files of a run, and writes them: PNG, GIF, MP4, NPZ, JSON."""

from __future__ import annotations

import errno
import functools
import io
import json
import re
import struct
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import imageio.v2 as imageio
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import getdata, getheader

from fvis.errors import UnwritableError
from fvis.schema import OutputConfig
from fvis.whole_files import whole_file, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

Writer = Callable[[Path], None]

# About how many of a clip's pixels its GIF palette is computed from: the colours of all would take
# six times as long and differ from the clip by about as much.
PALETTE_SAMPLES = 30_000

# With what the last bytes of a file of a kind begin, and how many these are.
ENDS = {
    ".png": (b"IEND\xaeB`\x82", 8),
    ".apng": (b"IEND\xaeB`\x82", 8),
    ".gif": (b"\x00;", 2),
    ".npz": (b"PK\x05\x06", 22),  # the directory of a ZIP archive
}

_DRAWING = threading.Lock()


def to_bytes(rgb: Tensor) -> NDArray[np.uint8]:
    """RGB (3, H, W) or (3, T, H, W) in [0, 1] as uint8 (H, W, 3) or (T, H, W, 3)."""
    pixels = (rgb.detach().float().clamp(0, 1) * 255).round().byte()
    return pixels.movedim(0, -1).contiguous().cpu().numpy()


def from_bytes(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RGB uint8 (..., 3) as float32 (3, ...) in [0, 1]."""
    return np.moveaxis(pixels, -1, 0).astype(np.float32) / np.float32(255)


def png_bytes(rgb: Tensor) -> bytes:
    """The content of an 8-bit PNG file of RGB (3, H, W) in [0, 1]."""
    content = io.BytesIO()
    Image.fromarray(to_bytes(rgb)).save(content, format="PNG", optimize=True)
    return content.getvalue()


def write_png(path: Path, rgb: Tensor) -> None:
    """Write RGB (3, H, W) in [0, 1] as an 8-bit PNG file."""
    write_bytes(path, png_bytes(rgb))


def read_png(file: Path | IO[bytes]) -> NDArray[np.float32]:
    """Read an 8-bit PNG file as RGB float32 (3, H, W) in [0, 1]."""
    with Image.open(file) as image:
        return from_bytes(np.asarray(image.convert("RGB")))


def apng_bytes(rgb: Tensor, fps: int) -> bytes:
    """The content of an animated PNG file of RGB (3, T, H, W) in [0, 1], 8 bits, that loops."""
    first, *rest = (Image.fromarray(frame) for frame in to_bytes(rgb))
    content = io.BytesIO()
    first.save(
        content,
        format="PNG",
        save_all=True,
        append_images=rest,
        duration=round(1000 / fps),
        loop=0,
        # Pillow leaves out a frame that equals the one before, unless its blending differs. (For
        # frames without transparency both ways of blending are the same.)
        blend=[number % 2 for number in range(1 + len(rest))],
    )
    return content.getvalue()


def write_apng(path: Path, rgb: Tensor, fps: int) -> None:
    """Write RGB (3, T, H, W) in [0, 1] as an animated 8-bit PNG file."""
    write_bytes(path, apng_bytes(rgb, fps))


def read_apng(file: Path | IO[bytes]) -> NDArray[np.float32]:
    """Read an 8-bit animated PNG file as RGB float32 (3, T, H, W) in [0, 1]."""
    with Image.open(file) as image:
        frames = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            frames.append(from_bytes(np.asarray(image.convert("RGB"))))
    return np.stack(frames, 1)


def write_gif(path: Path, rgb: Tensor, fps: int) -> None:
    """Write a clip (3, T, H, W) in [0, 1] as a GIF that loops endlessly.

    All frames share one palette of 256 colours. A frame lasts whole hundredths of a second, and two
    at least: browsers show shorter ones for ten.
    """
    frames = to_bytes(rgb)
    t, h, w, _ = frames.shape
    stride = t * h * w // PALETTE_SAMPLES | 1  # odd, so that the sample is not of a few columns
    sample = frames.reshape(-1, 3)[::stride]
    palette = Image.fromarray(sample[None]).quantize(256, method=Image.Quantize.MEDIANCUT)
    indexed = [Image.fromarray(frame).quantize(palette=palette) for frame in frames]
    duration = 10 * max(2, round(100 / fps))  # ms
    header, _ = getheader(indexed[0], info={"loop": 0, "duration": duration, "version": b"89a"})
    # Image.save() would merge equal frames, and the GIF would have fewer frames than the clip.
    blocks = [block for frame in indexed for block in getdata(frame, duration=duration)]
    with whole_file(path) as place:
        place.write_bytes(b"".join([*header, *blocks, b";"]))


def write_mp4(path: Path, rgb: Tensor, fps: int) -> None:
    """Write a clip (3, T, H, W) in [0, 1] as H.264 MP4; odd sides repeat their last pixels.

    Raises `UnwritableError` also where ffmpeg ends early, which it does not say.
    """
    frames = to_bytes(rgb)
    _, h, w, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    with whole_file(path) as place:
        imageio.mimwrite(
            place, list(frames), fps=fps, codec="libx264", quality=9, macro_block_size=2
        )
        if not _is_whole_mp4(place):
            raise OSError(errno.EIO, "ffmpeg left it incomplete: is the disk full?")


def is_whole(path: Path) -> bool:
    """Whether a file is there and ends as one of its kind does, by the ending of its name.

    One that was cut off, as by a power failure or a copy that broke off, does not.
    """
    try:
        size = path.stat().st_size
        if path.suffix == ".mp4":
            return _is_whole_mp4(path)
        mark, count = ENDS.get(path.suffix, (b"", 1))
        with path.open("rb") as file:
            file.seek(max(0, size - count))
            return size >= count and file.read().startswith(mark)
    except OSError:
        return False


def _is_whole_mp4(path: Path) -> bool:
    """Whether an MP4 file's boxes fill it, its index among them, which ffmpeg writes last."""
    kinds, place, size = [], 0, path.stat().st_size
    with path.open("rb") as file:
        while place + 8 <= size:
            file.seek(place)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:  # the length is in the next eight bytes
                (length,) = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))
            kinds.append(kind)
            place += max(8, length)
    return place == size and b"moov" in kinds


def write_figure(path: Path, figure: Figure, dpi: int) -> None:
    """Write a figure as PNG, one at a time: threads must not draw with Matplotlib at once."""
    with whole_file(path) as place, _DRAWING:
        figure.savefig(place, format="png", dpi=dpi, metadata={"Software": None})


def clip_writers(name: str, rgb: Tensor, output: OutputConfig) -> dict[str, Writer]:
    """Functions that write a clip (3, T, H, W) in [0, 1], by file name.

    The files are `name`.gif and, if `output.mp4` is true, `name`.mp4.
    """
    writers: dict[str, Writer] = {
        f"{name}.gif": functools.partial(write_gif, rgb=rgb, fps=output.fps)
    }
    if output.mp4:
        writers[f"{name}.mp4"] = functools.partial(write_mp4, rgb=rgb, fps=output.fps)
    return writers


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as a compressed NPZ file."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # names are passed as keywords
    write_bytes(path, content.getvalue())


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON; numbers that are not finite become null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def overwrite_json(path: Path, content: Any) -> None:
    """Write over a JSON file in its own place, for want of room for a second one.

    Raises `UnwritableError` where the content is longer than the file. What is shorter is filled up
    with blanks.
    """
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    data, size = text.encode(errors="backslashreplace"), path.stat().st_size
    if len(data) >= size:
        raise UnwritableError(path, "it would grow")
    with writing(path), path.open("r+b", buffering=0) as file:
        file.write(data.ljust(size - 1) + b"\n")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8.

    Undecodable bytes in file names are backslash-escaped, in a form that JSON readers understand.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes unchanged."""
    with whole_file(path) as place:
        place.write_bytes(content)


def content(name: str, write: Writer) -> bytes:
    """What `write` writes to a file called `name`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def safe_name(text: str) -> str:
    """`text` as part of a file name: all but letters, digits, `.`, `_` and `-` become `_`.

    Dots that would hide the file are left out.

    >>> safe_name("my photo/1"), safe_name(".hidden"), safe_name("...")
    ('my_photo_1', 'hidden', '_')
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".") or "_"


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if np.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
