"""Files hold what was written to them."""

import json
import os
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from fvis import artifacts
from fvis.errors import UnwritableError
from tests.test_whole_files import BrokenWriteError, names


def picture(height: int = 7, width: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def smooth_clip(frames: int, height: int, width: int) -> torch.Tensor:
    """A bright bar that moves right over a colour gradient: (3, T, H, W)."""
    x = torch.linspace(0, 1, width).view(1, 1, width)
    y = torch.linspace(0, 1, height).view(1, height, 1)
    place = torch.linspace(0.2, 0.8, frames).view(frames, 1, 1)
    bar = torch.exp(-(((x - place) / 0.15) ** 2)).expand(frames, height, width)
    green, blue = (part.expand(frames, height, width) for part in (x, y))
    return torch.stack([bar, green, blue])


def test_a_png_reads_back_as_its_8_bits(tmp_path: Path) -> None:
    rgb = picture()
    artifacts.write_png(tmp_path / "a.png", rgb)
    back = artifacts.read_png(tmp_path / "a.png")
    assert back.shape == (3, 7, 5)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(np.rint(back * 255), np.rint(rgb.numpy() * 255))


def test_every_8_bit_value_survives_a_png(tmp_path: Path) -> None:
    rgb = (torch.arange(256) / 255).view(1, 16, 16).repeat(3, 1, 1)
    artifacts.write_png(tmp_path / "a.png", rgb)
    np.testing.assert_array_equal(artifacts.read_png(tmp_path / "a.png"), rgb.numpy())


def test_what_lies_outside_0_to_1_is_clamped_not_wrapped(tmp_path: Path) -> None:
    rgb = torch.tensor([-0.5, 1.5]).view(1, 1, 2).repeat(3, 1, 1)
    artifacts.write_png(tmp_path / "a.png", rgb)
    assert artifacts.read_png(tmp_path / "a.png")[0].tolist() == [[0.0, 1.0]]


def test_red_is_red_and_the_top_left_is_the_top_left(tmp_path: Path) -> None:
    rgb = torch.zeros(3, 4, 6)
    rgb[0, 0, 5] = 1.0
    artifacts.write_png(tmp_path / "a.png", rgb)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (6, 4)
        assert image.getpixel((5, 0)) == (255, 0, 0)


def test_a_writer_that_fails_midway_leaves_the_old_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.png"
    artifacts.write_png(path, picture())
    before = path.read_bytes()

    def write(place: Path, content: bytes) -> None:
        with place.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise BrokenWriteError

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(BrokenWriteError):
        artifacts.write_png(path, picture(seed=1))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["image.png"]


def test_a_gif_is_as_near_to_its_clip_as_with_a_palette_of_all_pixels(tmp_path: Path) -> None:
    x = torch.linspace(0, 6, 96)
    waves = [(k * x[None, :] + x[:, None] + shift).sin() for k, shift in ((1, 0), (2, 1), (3, 2))]
    clip = torch.stack([torch.stack(waves).roll(3 * t, 2) for t in range(16)], 1) / 2 + 0.5
    artifacts.write_gif(tmp_path / "clip.gif", clip, fps=10)
    frames = artifacts.to_bytes(clip)
    palette = Image.fromarray(frames.reshape(1, -1, 3)).quantize(256, Image.Quantize.MEDIANCUT)
    errors = []
    with Image.open(tmp_path / "clip.gif") as image:
        for number, frame in enumerate(frames):
            image.seek(number)
            best = Image.fromarray(frame).quantize(palette=palette).convert("RGB")
            pair = (image.convert("RGB"), best)
            errors.append([np.square(np.asarray(p) - frame.astype(float)).mean() for p in pair])
    ours, of_all = np.sum(errors, 0)
    assert ours < 1.2 * of_all


@pytest.mark.parametrize(("fps", "lasts"), [(10, 100), (30, 30), (60, 20)])
def test_a_gif_has_all_frames_for_ever_under_one_palette(
    fps: int, lasts: int, tmp_path: Path
) -> None:
    clip = smooth_clip(7, 12, 10)
    artifacts.write_gif(tmp_path / "clip.gif", clip, fps=fps)
    with Image.open(tmp_path / "clip.gif") as image:
        assert (image.n_frames, image.size) == (7, (10, 12))
        assert image.info["loop"] == 0
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    assert durations == [lasts] * 7, "ms, of which browsers obey 20 and more"
    assert colour_tables(tmp_path / "clip.gif") == (True, 0), "one global palette, none local"
    error = np.abs(np.stack(frames).astype(float) - artifacts.to_bytes(clip))
    assert error.mean() < 4  # of 255: 256 colours and dither, not another picture


@pytest.mark.parametrize("still", [slice(3, 5), slice(0, 7)])
def test_a_still_moment_of_a_gif_is_frames_too(tmp_path: Path, still: slice) -> None:
    clip = smooth_clip(7, 12, 10)
    clip[:, still] = clip[:, still][:, :1]
    artifacts.write_gif(tmp_path / "clip.gif", clip, fps=10)
    with Image.open(tmp_path / "clip.gif") as image:
        assert image.n_frames == 7


def colour_tables(path: Path) -> tuple[bool, int]:
    """Whether a GIF has a global colour table, and how many frames have one of their own."""
    data = path.read_bytes()
    flags = data[10]
    at = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    local = 0
    while data[at] != 0x3B:
        if data[at] == 0x21:
            at += 2
        else:
            own = data[at + 9]
            local += bool(own & 0x80)
            at += 10 + (3 * 2 ** ((own & 7) + 1) if own & 0x80 else 0) + 1
        while data[at]:
            at += data[at] + 1
        at += 1
    return bool(flags & 0x80), local


@pytest.mark.parametrize(("height", "width"), [(32, 48), (33, 48), (32, 47), (35, 37), (1, 1)])
def test_an_mp4_has_every_frame_and_even_sides(tmp_path: Path, height: int, width: int) -> None:
    clip = smooth_clip(9, height, width)
    artifacts.write_mp4(tmp_path / "clip.mp4", clip, fps=8)
    reader = imageio.get_reader(tmp_path / "clip.mp4")
    frames = np.stack([reader.get_data(i) for i in range(reader.count_frames())])
    fps = reader.get_meta_data()["fps"]
    reader.close()
    assert frames.shape == (9, height + height % 2, width + width % 2, 3)
    assert fps == 8
    expected = artifacts.to_bytes(clip).astype(float)
    assert np.abs(frames[:, :height, :width] - expected).mean() < 12
    assert names(tmp_path) == ["clip.mp4"]


def written(folder: Path) -> list[Path]:
    """A file of each kind."""
    rgb, clip, arrays = picture(), smooth_clip(3, 8, 8), {"a": np.arange(3)}
    artifacts.write_png(folder / "a.png", rgb)
    artifacts.write_apng(folder / "a.apng", clip, 8)
    artifacts.write_gif(folder / "a.gif", clip, 8)
    artifacts.write_mp4(folder / "a.mp4", clip, 8)
    artifacts.write_npz(folder / "a.npz", arrays)
    artifacts.write_text(folder / "a.txt", "text")
    return sorted(folder.iterdir())


def test_whole_files_are_told_from_those_that_were_cut_off(tmp_path: Path) -> None:
    files = written(tmp_path)
    assert all(map(artifacts.is_whole, files))
    for file in files:
        content = file.read_bytes()
        for left in (0, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:left])
            assert not artifacts.is_whole(file) or (file.suffix == ".txt" and left)
        file.unlink()
        assert not artifacts.is_whole(file)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_an_mp4_that_ffmpeg_leaves_incomplete_is_an_error(
    kept: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, frames: list[Any], **settings: Any) -> None:
        true(path, frames, **settings)
        os.truncate(path, int(kept * path.stat().st_size))

    true = artifacts.imageio.mimwrite
    monkeypatch.setattr(artifacts.imageio, "mimwrite", write)
    with pytest.raises(UnwritableError, match=r"clip\.mp4 cannot be written: ffmpeg left it"):
        artifacts.write_mp4(tmp_path / "clip.mp4", torch.rand(3, 4, 16, 16), 8)
    assert list(tmp_path.iterdir()) == []


def test_json_is_written_over_in_its_place_unless_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    artifacts.write_json(path, {"status": "running", "process": {"pid": 12345}})
    size, file = path.stat().st_size, path.stat().st_ino
    artifacts.overwrite_json(path, {"status": "interrupted", "process": None})
    assert json.loads(path.read_text()) == {"status": "interrupted", "process": None}
    assert (path.stat().st_size, path.stat().st_ino) == (size, file)
    with pytest.raises(UnwritableError, match="it would grow"):
        artifacts.overwrite_json(path, {"status": "interrupted", "process": "x" * size})
    assert json.loads(path.read_text())["process"] is None


def test_arrays_come_back_by_name_and_type(tmp_path: Path) -> None:
    arrays = {"velocity": np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float32)}
    artifacts.write_npz(tmp_path / "flow.npz", arrays)
    with np.load(tmp_path / "flow.npz") as back:
        assert back.files == ["velocity"]
        assert back["velocity"].dtype == np.float32
        np.testing.assert_array_equal(back["velocity"], arrays["velocity"])


def test_json_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    content = {
        "final": float("nan"),
        "trace": [[0, float("inf")], (1, -float("inf")), [2, 0.5]],
        "numpy": np.float64("nan"),
        "name": "Zürich",
        7: None,
    }
    artifacts.write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "final": None,
        "trace": [[0, None], [1, None], [2, 0.5]],
        "numpy": None,
        "name": "Zürich",
        "7": None,
    }


def test_a_file_name_that_is_no_text_reads_back_from_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    artifacts.write_json(tmp_path / "a.json", {"file": name})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"file": name}


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        artifacts.write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert names(tmp_path) == ["a.json"]
