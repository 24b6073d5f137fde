"""Videos from the user's files, as clips of the length and size that a network expects."""

import contextlib
import logging
import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import torch
from PIL import Image
from torch import Tensor

from fvis import paths
from fvis.models.base import Preprocessing
from fvis.photographs import UnreadableError, pixels, resize_and_crop

SUFFIXES = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
# What ffmpeg may open: local files, in formats that open no further ones, as playlists do.
CONFINED = ["-protocol_whitelist", "file", "-format_whitelist", "avi,gif,matroska,mov"]
# Time stamps are ignored: by them, ffmpeg would repeat some frames and leave out others. Which rate
# is given does not matter.
EVERY_FRAME = ["-r", "25"]
# What imageio_ffmpeg raises, also where it cannot make sense of what ffmpeg says.
FAILURES = (OSError, RuntimeError, ValueError, LookupError, AttributeError, AssertionError)

logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)  # it warns of rotated videos


def find(specs: Any) -> list[Path]:
    """The video files that paths, folders and globs refer to, each once, in the order given.

    A folder stands for its video files, sorted by name. Raises `RequestError` if any of `specs`
    refers to no file with one of the `SUFFIXES`.
    """
    return paths.find(specs, _files, f"video file ({', '.join(sorted(SUFFIXES))})")


def _files(spec: str) -> list[Path]:
    return paths.with_suffix(paths.files_at(spec, SUFFIXES), SUFFIXES)


def windows(path: Path, preprocessing: Preprocessing) -> Iterator[tuple[int, Tensor]]:
    """All clips in a video that are as long as the network's, each half a clip after the last.

    Yields the number of the first frame and RGB uint8 (3, T, H, W), while the video is read; no
    more than one clip of it is in memory. Raises `UnreadableError` where the video cannot be read,
    and at its end if there was no clip.
    """
    length = _length(preprocessing)
    recent: deque[Tensor] = deque(maxlen=length)
    for number, frame in enumerate(_frames(path, preprocessing)):
        recent.append(frame)
        start = number + 1 - length
        if start >= 0 and start % max(1, length // 2) == 0:
            yield start, torch.stack([*recent], 1)
    if len(recent) < length:
        raise UnreadableError(f"{path} has fewer than {length} frames")


def middle(path: Path, preprocessing: Preprocessing) -> int:
    """The number of the first frame of the clip in the middle of a video.

    Raises `UnreadableError` where the video cannot be read, or is shorter than a clip.
    """
    length, count = _length(preprocessing), sum(1 for _ in _images(path))
    if count < length:
        raise UnreadableError(f"{path} has fewer than {length} frames")
    return (count - length) // 2


def window(path: Path, start: int, preprocessing: Preprocessing) -> Tensor:
    """The clip that starts at a frame of a video: RGB (3, T, H, W) in [0, 1].

    Raises `UnreadableError` where the video cannot be read that far.
    """
    end = start + _length(preprocessing)
    trim = ["-vf", f"trim=start_frame={start}:end_frame={end},setpts=PTS-STARTPTS"]
    frames = list(_frames(path, preprocessing, *trim))
    if len(frames) < end - start:
        raise UnreadableError(f"{path} has fewer than {end} frames")
    return torch.stack(frames, 1) / 255


def _length(preprocessing: Preprocessing) -> int:
    assert preprocessing.frames is not None, "videos are for networks of clips"
    return preprocessing.frames


def _frames(path: Path, preprocessing: Preprocessing, *output: str) -> Iterator[Tensor]:
    """A video's frames as the network expects them, RGB uint8 (3, H, W)."""
    for image in _images(path, *output):
        yield pixels(resize_and_crop(image, preprocessing))


def _images(path: Path, *output: str) -> Iterator[Image.Image]:
    """A video's frames as they are; `output` has options of ffmpeg's."""
    number = 0
    try:
        with contextlib.closing(
            imageio_ffmpeg.read_frames(
                f"file:{path.absolute()}",
                input_params=[*CONFINED, *EVERY_FRAME],
                output_params=[*output],
            )
        ) as reader:
            size = next(reader)["size"]
            if Image.MAX_IMAGE_PIXELS and math.prod(size) > Image.MAX_IMAGE_PIXELS:
                raise UnreadableError(f"{path} has too many pixels")
            for content in reader:
                number += 1
                yield Image.frombuffer("RGB", size, content, "raw", "RGB", 0, 1)
    except UnreadableError:
        raise
    except FAILURES as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1]
        where = f" from frame {number} on" if number else ""
        raise UnreadableError(f"{path} cannot be read{where}: {reason}") from None
