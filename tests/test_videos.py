"""Videos of every kind a user's folder holds, as clips for a network."""

import os
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from fvis import artifacts, photographs, videos
from fvis.errors import RequestError
from fvis.models.base import Preprocessing
from fvis.photographs import UnreadableError

LENGTH = 6
PLAIN = Preprocessing(24, 32, LENGTH, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
STEP = 10  # grey levels that the flat frames of `brightening` differ by, out of 255


def brightening(frames: int = 20, height: int = 48, width: int = 64) -> torch.Tensor:
    """A clip whose frame k is all of grey level k * STEP."""
    levels = torch.arange(frames).view(1, -1, 1, 1) * STEP / 255
    return levels.expand(3, -1, height, width)


def ffmpeg(*arguments: str | Path) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-y", "-loglevel", "error", *map(str, arguments)], check=True)


def numbers(clip: torch.Tensor) -> list[int]:
    """The numbers of `brightening`'s frames, told from the levels of a clip in [0, 255]."""
    return (clip.float().mean((0, 2, 3)) / STEP).round().int().tolist()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    artifacts.write_mp4(path, brightening(), 8)
    return path


@pytest.mark.parametrize("suffix", sorted(videos.SUFFIXES))
def test_a_video_is_cut_into_clips_that_overlap_by_half(suffix: str, video: Path) -> None:
    path = video.with_name("b" + suffix)
    ffmpeg("-i", video, path)
    found = dict(videos.windows(path, PLAIN))
    assert list(found) == [0, 3, 6, 9, 12]
    for start, clip in found.items():
        assert clip.shape == (3, LENGTH, 24, 32)
        assert clip.dtype == torch.uint8
        assert numbers(clip) == list(range(start, start + LENGTH))
        again = videos.window(path, start, PLAIN)
        torch.testing.assert_close(again, clip / 255)


def test_every_frame_is_read_once_whenever_it_is_shown(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), (k * STEP,) * 3) for k in range(12)]
    durations = [20, 500, 30, 10_000, 40, 50] * 2
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations)
    found = dict(videos.windows(path, PLAIN))
    assert list(found) == [0, 3, 6]
    assert numbers(found[6]) == [6, 7, 8, 9, 10, 11]
    assert numbers(255 * videos.window(path, 3, PLAIN)) == [3, 4, 5, 6, 7, 8]


def test_an_upright_video_is_upright(video: Path) -> None:
    shade = torch.linspace(0, 1, 64).expand(3, LENGTH, 48, 64)
    artifacts.write_mp4(video, shade, 8)
    turned = video.with_name("turned.mp4")
    ffmpeg("-display_rotation", "90", "-i", video, "-c", "copy", turned)
    clip = videos.window(turned, 0, PLAIN)
    assert (clip[:, :, 0].mean() - clip[:, :, -1].mean()).abs() > 0.3
    assert (clip[..., 0].mean() - clip[..., -1].mean()).abs() < 0.02


def test_a_video_is_read_while_it_is_cut(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resized, resize = [], videos.resize_and_crop

    def noting(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
        resized.append(image)
        return resize(image, preprocessing)

    monkeypatch.setattr(videos, "resize_and_crop", noting)
    clips = videos.windows(video, PLAIN)
    next(clips)
    assert len(resized) == LENGTH
    clips.close()  # type: ignore[attr-defined]  # it is a generator
    resized.clear()
    videos.window(video, 12, PLAIN)
    assert len(resized) == LENGTH, "of the frames before, none is taken"


def test_folders_stand_for_their_videos(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "c.gif", "notes.txt", "picture.png"):
        (tmp_path / name).touch()
    (tmp_path / "inner.mp4").mkdir()
    assert [path.name for path in videos.find(str(tmp_path))] == ["a.MKV", "b.mp4", "c.gif"]
    some = [str(tmp_path / "c.gif"), f"{tmp_path}/*.*"]
    assert [path.name for path in videos.find(some)] == ["c.gif", "a.MKV", "b.mp4"]


@pytest.mark.parametrize("spec", ["missing.mp4", "*.mp4", ".", "notes.txt", "http://host/a.mp4"])
def test_what_names_no_video_is_an_error(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").touch()
    with pytest.raises(RequestError, match="no video file"):
        videos.find([spec])


def test_a_pipe_is_refused_and_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(RequestError, match="no regular file"):
        videos.find(str(tmp_path / "pipe.mp4"))
    with pytest.raises(RequestError, match="no video file"):
        videos.find(str(tmp_path))


def bad_files(video: Path) -> dict[str, tuple[bytes, str]]:
    """What a file called `.mp4` holds, and what is said of it."""
    short = video.with_name("short.mp4")
    artifacts.write_mp4(short, brightening(LENGTH - 1), 8)
    return {
        "text": (b"no video" * 100, "Invalid data"),
        "empty": (b"", "Invalid data"),
        "half": (video.read_bytes()[:700], "Invalid data"),
        "picture": (artifacts.png_bytes(brightening()[:, 3]), "cannot be read"),
        "short": (short.read_bytes(), f"fewer than {LENGTH} frames"),
    }


@pytest.mark.parametrize("kind", ["text", "empty", "half", "picture", "short"])
def test_what_is_no_video_is_refused_in_one_line(kind: str, video: Path) -> None:
    content, said = bad_files(video)[kind]
    path = video.with_name(f"{kind}-file.mp4")
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=said) as caught:
        list(videos.windows(path, PLAIN))
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_names_another_one_does_not_open_it(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = video.with_name("playlist.mp4")
    path.write_text(f"ffconcat version 1.0\nfile {video.name}\n")
    with pytest.raises(UnreadableError, match="cannot be read"):
        list(videos.windows(path, PLAIN))
    monkeypatch.setattr(videos, "CONFINED", [])
    assert len(list(videos.windows(path, PLAIN))) == 5, "without its bounds ffmpeg opens it"


@pytest.mark.parametrize("name", ["-y.mp4", "a b.mp4", "concat:x.mp4", "%03d.mp4", "ünï 猫.mp4"])
def test_a_name_is_no_option_and_no_pattern(name: str, video: Path) -> None:
    path = video.rename(video.with_name(name))
    assert len(list(videos.windows(path, PLAIN))) == 5


def test_too_many_pixels_are_refused(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableError, match="too many pixels"):
        list(videos.windows(video, PLAIN))


def test_frames_are_resized_and_cropped_as_photographs_are(video: Path) -> None:
    rgb = torch.from_numpy(np.random.default_rng(0).random((3, 1, 6, 8))).float()
    large = torch.nn.functional.interpolate(rgb.movedim(1, 0), (60, 160)).movedim(0, 1)
    artifacts.write_mp4(video, large.expand(-1, LENGTH, -1, -1), 8)
    artifacts.write_png(video.with_suffix(".png"), large[:, 0])
    still = photographs.load(video.with_suffix(".png"), PLAIN)
    assert (videos.window(video, 0, PLAIN)[:, 2] - still).abs().mean() < 0.03


def test_the_middle_has_as_many_frames_before_it_as_after(video: Path, tmp_path: Path) -> None:
    start = videos.middle(video, PLAIN)
    assert start == (20 - LENGTH) // 2
    assert numbers(255 * videos.window(video, start, PLAIN)) == list(range(start, start + LENGTH))
    exact, short = tmp_path / "exact.mp4", tmp_path / "short.mp4"
    artifacts.write_mp4(exact, brightening(LENGTH), 8)
    artifacts.write_mp4(short, brightening(LENGTH - 1), 8)
    assert videos.middle(exact, PLAIN) == 0
    with pytest.raises(UnreadableError, match="fewer than 6 frames"):
        videos.middle(short, PLAIN)
