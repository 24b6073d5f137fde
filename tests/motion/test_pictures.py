"""What is written of a unit can be read back, and says the same as the decomposition."""

import dataclasses
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from torch import Tensor

from fvis.artifacts import read_png
from fvis.motion.decomposition import Decomposition
from fvis.motion.pictures import GAP, Portrait, side_by_side, trimmed, writers
from fvis.randomness import random_generator
from fvis.schema import OutputConfig
from tests.motion.reference import moved, places, translating, turning, waves

T, H, W = 5, 18, 22
MARGIN = 4  # px at most, for interpolation
OFFSET = (14.0, 11.0)  # [x, y] px
CLIPS = ("optimal", "motion", "reconstruction", "side_by_side")
FIELDS = {
    "translating": translating(1.3, -0.6, (T, H, W)),
    "turning": turning(0.1, 0.05, (T, H, W)),
    "still": translating(0.0, 0.0, (T, H, W)),
    "out of the texture": translating(-9.0, 7.0, (T, H, W)),
}


def parts_of(name: str) -> Decomposition:
    """A texture far larger than the frame."""
    texture = waves(0, 2 * places(H + 24, W + 27))
    return Decomposition(texture[None], torch.tensor([OFFSET]), FIELDS[name][None])


def portrait(name: str = "translating") -> Portrait:
    optimal = torch.rand(3, T, H, W, generator=random_generator("optimal"))
    activations = {"reconstruction": 0.9, "static": 0.2}
    return Portrait("a unit", optimal, parts_of(name), torch.ones(T, H, W), activations)


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_never_in_view_is_trimmed_off_and_nothing_else(name: str) -> None:
    whole = parts_of(name)
    cut = trimmed(whole)
    torch.testing.assert_close(cut.render(), whole.render(), atol=1e-5, rtol=0)
    assert torch.equal(cut.displacement, whole.displacement)
    assert cut.texture.numel() < whole.texture.numel()
    if name == "still":
        assert cut.texture.shape[2] <= H + MARGIN
        assert cut.texture.shape[3] <= W + MARGIN
    if name == "translating":  # it looks 4 * 1.3 px to the left, and 4 * 0.6 px further down
        (h, w), ((x, y),) = cut.texture.shape[-2:], cut.offset.tolist()
        assert H + 3 <= h <= H + 3 + MARGIN
        assert W + 6 <= w <= W + 6 + MARGIN
        assert 6 <= x <= 6 + MARGIN / 2
        assert 0 <= y <= MARGIN / 2


@pytest.mark.parametrize("name", FIELDS)
def test_the_numbers_are_the_contracts_and_give_the_reconstruction(
    name: str, tmp_path: Path
) -> None:
    given = portrait(name)
    writers(given, OutputConfig())["flow.npz"](tmp_path / "flow.npz")
    with np.load(tmp_path / "flow.npz") as file:
        flow = dict(file)
    assert all(value.dtype == np.float32 for value in flow.values())
    _, rows, columns = flow["texture"].shape
    assert {key: value.shape for key, value in flow.items()} == {
        "texture": (3, rows, columns),
        "offset": (2,),
        "displacement": (2, T, H, W),
        "velocity": (2, T - 1, H, W),
        "optimal": (3, T, H, W),
    }
    assert 0 <= flow["texture"].min() <= flow["texture"].max() <= 1
    assert np.array_equal(flow["optimal"], given.optimal.numpy())
    difference = flow["displacement"][:, :-1] - flow["displacement"][:, 1:]
    np.testing.assert_allclose(flow["velocity"], difference, atol=1e-5)
    keys = ("texture", "displacement", "offset")
    clip = moved(*(torch.from_numpy(flow[key]) for key in keys))
    np.testing.assert_allclose(clip, given.parts.render()[0].numpy(), atol=5e-5)


def test_every_file_of_the_contract_is_written_and_can_be_read(tmp_path: Path) -> None:
    given = portrait()
    files = writers(given, OutputConfig(mp4=True))
    stills = {"texture.png", "summary.png", "flow.npz"}
    assert set(files) == stills | {f"{clip}.{kind}" for clip in CLIPS for kind in ("gif", "mp4")}
    for name, write in files.items():
        write(tmp_path / name)
    cut = trimmed(given.parts)
    texture = read_png(tmp_path / "texture.png")
    np.testing.assert_allclose(texture, cut.texture[0].numpy(), atol=0.51 / 255)
    assert read_png(tmp_path / "summary.png").std() > 0.05
    for clip in CLIPS:
        frames = frames_of(tmp_path / f"{clip}.gif")
        count = T - 1 if clip == "motion" else T
        h, w, _ = frames[0].shape
        assert len(frames) == count
        if clip in ("optimal", "reconstruction"):
            assert (h, w) == (H, W)
        assert imageio.imread(tmp_path / f"{clip}.mp4").shape == (count, h + h % 2, w + w % 2, 3)


def test_clips_show_what_they_are_named(tmp_path: Path) -> None:
    given = portrait()
    files = writers(given, OutputConfig(mp4=False))
    assert not any(name.endswith(".mp4") for name in files)
    shown = {}
    for clip in CLIPS:
        files[f"{clip}.gif"](tmp_path / "a.gif")
        shown[clip] = torch.from_numpy(np.stack(frames_of(tmp_path / "a.gif"))).float() / 255

    def apart(name: str, clip: Tensor) -> float:
        return (shown[name] - clip.movedim(0, -1)).abs().mean().item()

    reconstruction = given.parts.render()[0]
    assert apart("reconstruction", reconstruction) < 0.05  # of 256 colours
    assert apart("optimal", given.optimal) < 0.08
    assert apart("optimal", reconstruction) > 0.15
    together, motion = shown["side_by_side"], shown["motion"]
    high = motion.shape[1]
    wide = round(high / H * W)
    assert together.shape == (T, high, 2 * (wide + GAP) + motion.shape[2], 3)
    assert together[:, :, wide : wide + GAP].mean() > 0.97
    assert (together[: T - 1, :, 2 * (wide + GAP) :] - motion).abs().mean() < 0.1
    last = together[T - 2 :, :, 2 * (wide + GAP) :]
    assert (last[1] - last[0]).abs().mean() < 0.02, "the shorter clip's last frame is held"


def test_motion_that_the_unit_is_blind_to_is_not_drawn(tmp_path: Path) -> None:
    """Its arrows would point elsewhere than the direction that is told."""
    frames = []
    for axis in (0.0, 180.0, None):
        given = dataclasses.replace(portrait(), axis_deg=axis)
        files = writers(given, OutputConfig(mp4=False))
        files["motion.gif"](tmp_path / "a.gif")
        frames.append(np.stack(frames_of(tmp_path / "a.gif")))
        files["flow.npz"](tmp_path / "flow.npz")
        with np.load(tmp_path / "flow.npz") as flow:
            np.testing.assert_allclose(flow["velocity"], given.parts.velocity[0].numpy())
    assert np.array_equal(frames[0], frames[1]), "an axis has no direction"
    assert not np.array_equal(frames[0], frames[2])


def test_arrows_are_drawn_where_nothing_speaks_against_them(tmp_path: Path) -> None:
    frames = {}
    for note in ("", "undirected: no one direction is sure"):
        given = dataclasses.replace(portrait(), note=note)
        writers(given, OutputConfig(mp4=False))["motion.gif"](tmp_path / "a.gif")
        frames[note] = np.stack(frames_of(tmp_path / "a.gif"))
    white = {
        note: (clip.min(3) > 240)[:, :, : clip.shape[1]].sum() for note, clip in frames.items()
    }
    assert white[""] > 500
    assert white["undirected: no one direction is sure"] == 0


def test_shorter_and_smaller_clips_are_held_and_enlarged_beside_others() -> None:
    large, small = torch.zeros(3, 4, 8, 6), torch.zeros(3, 2, 4, 5)
    small[:, 1] = 0.5
    both = side_by_side([large, small])
    assert both.shape == (3, 4, 8, 6 + GAP + 10)
    right = both[:, :, :, 6 + GAP :]
    assert (right[:, 0] == 0).all()
    assert (right[:, 1:] == 0.5).all()
    assert (both[:, :, :, 6 : 6 + GAP] == 1).all()
