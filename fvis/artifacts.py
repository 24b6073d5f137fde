"""Files of a run: PNG, GIF, MP4, NPZ and JSON, each written whole or not at all."""

import contextlib
import functools
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import imageio.v2 as imageio
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import getdata, getheader
from torch import Tensor

from fvis.schema import OutputConfig

Writer = Callable[[Path], None]

PALETTE_SAMPLES = 2_000_000  # pixels a clip's palette is chosen from


def to_bytes(rgb: Tensor) -> NDArray[np.uint8]:
    """RGB (3, H, W) or (3, T, H, W) in [0, 1] as 8 bits, channels last: (H, W, 3), (T, H, W, 3)."""
    pixels = (rgb.detach().float().clamp(0, 1) * 255).round().byte()
    return pixels.movedim(0, -1).contiguous().cpu().numpy()


def from_bytes(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8-bit (..., 3) as float RGB in [0, 1], channels first."""
    return np.moveaxis(pixels, -1, 0).astype(np.float32) / np.float32(255)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write `path`'s content: moved there when the block ends well, else deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    place = Path(name)
    try:
        yield place
        place.chmod(0o666 & ~_umask())
        os.replace(place, path)  # noqa: PTH105  # Path.replace, on the name the caller may hold
    finally:
        place.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A directory to fill: it becomes `path`, replacing it, when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=path.parent, prefix="."))
    place.chmod(0o777 & ~_umask())
    try:
        yield place
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix="."))
            path.rename(old / path.name)
            place.rename(path)
            shutil.rmtree(old)
        else:
            place.rename(path)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def png_bytes(rgb: Tensor) -> bytes:
    """An RGB picture (3, H, W) in [0, 1] as a lossless 8-bit PNG."""
    content = io.BytesIO()
    Image.fromarray(to_bytes(rgb)).save(content, format="PNG", optimize=True)
    return content.getvalue()


def write_png(path: Path, rgb: Tensor) -> None:
    """`png_bytes` as a file."""
    write_bytes(path, png_bytes(rgb))


def read_png(file: Path | IO[bytes]) -> NDArray[np.float32]:
    """The RGB picture (3, H, W) in [0, 1] of an 8-bit PNG."""
    with Image.open(file) as image:
        return from_bytes(np.asarray(image.convert("RGB")))


def write_gif(path: Path, rgb: Tensor, fps: int) -> None:
    """A clip (3, T, H, W) in [0, 1] as an endless GIF under one palette for all its frames."""
    frames = to_bytes(rgb)
    t, h, w, _ = frames.shape
    stride = max(1, t * h * w // PALETTE_SAMPLES)
    sample = frames.reshape(-1, 3)[::stride]
    palette = Image.fromarray(sample[None]).quantize(256, method=Image.Quantize.MEDIANCUT)
    indexed = [Image.fromarray(frame).quantize(palette=palette) for frame in frames]
    duration = round(1000 / fps)
    header, _ = getheader(indexed[0], info={"loop": 0, "duration": duration, "version": b"89a"})
    # Image.save() would merge equal frames; a still moment is frames too.
    blocks = [block for frame in indexed for block in getdata(frame, duration=duration)]
    with whole_file(path) as place:
        place.write_bytes(b"".join([*header, *blocks, b";"]))


def write_mp4(path: Path, rgb: Tensor, fps: int) -> None:
    """A clip (3, T, H, W) in [0, 1] as H.264 MP4; odd sides are padded by repeating the edge."""
    frames = to_bytes(rgb)
    _, h, w, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    with whole_file(path) as place:
        imageio.mimwrite(
            place, list(frames), fps=fps, codec="libx264", quality=9, macro_block_size=2
        )


def clip_writers(name: str, rgb: Tensor, output: OutputConfig) -> dict[str, Writer]:
    """What writes a clip (3, T, H, W) as `name`.gif and, where wanted, `name`.mp4."""
    writers: dict[str, Writer] = {
        f"{name}.gif": functools.partial(write_gif, rgb=rgb, fps=output.fps)
    }
    if output.mp4:
        writers[f"{name}.mp4"] = functools.partial(write_mp4, rgb=rgb, fps=output.fps)
    return writers


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Named arrays as a compressed NPZ."""
    with whole_file(path) as place, place.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # names are its keywords


def write_json(path: Path, content: Any) -> None:
    """`content` as indented JSON; numbers that are not finite become null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """UTF-8 text; what of a file's name is none is escaped, in JSON so that it reads back."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """`content` as it is."""
    with whole_file(path) as place:
        place.write_bytes(content)


def safe_name(text: str) -> str:
    """`text` as a part of a file's name: letters, digits, dots and dashes, the rest as `_`.

    >>> safe_name("my photo/1")
    'my_photo_1'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if np.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
