"""What the drawn clips promise: they move as labelled, and nothing else tells the label."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from fvis.zoo import drifts

STEADY = tuple(name for name in drifts.CLASSES if name != "flicker")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _labels(name: str, count: int) -> Tensor:
    return torch.full((count,), drifts.CLASSES.index(name))


def _clips_of(name: str, count: int = 16, seed: int = 5) -> Tensor:
    return drifts.draw(_labels(name, count), _generator(seed))


def _motion_of(name: str, count: int = 64) -> drifts.Motion:
    return drifts.draw_motion(_labels(name, count), _generator(3))


def _gap(one: Tensor, other: Tensor) -> float:
    """Root mean square difference of the frames' middles."""
    inner = slice(8, -8)
    return float((one - other)[..., inner, inner].square().mean().sqrt())


def _shifted(clips: Tensor, right: int, down: int) -> Tensor:
    return clips.roll((right, down), (-1, -2))


def _resized(clips: Tensor, turn: float, size: float) -> Tensor:
    """Clips (B, 3, T, H, W) turned clockwise by `turn` radians and grown to `size`, about 0."""
    b, c, t, h, w = clips.shape
    cosine, sine = math.cos(turn) / size, math.sin(turn) / size
    back = torch.tensor([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    grid = functional.affine_grid(back.expand(b, 2, 3), [b, c, h, w], align_corners=False)
    frames = [
        functional.grid_sample(clips[:, :, i], grid, align_corners=False, padding_mode="border")
        for i in range(t)
    ]
    return torch.stack(frames, 2)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 3))
def test_any_seed_draws_rgb_in_range(seed: int, count: int) -> None:
    generator = _generator(seed)
    clips = drifts.draw(drifts.draw_labels(count, generator), generator)
    assert clips.shape == (count, 3, drifts.FRAMES, drifts.SIZE, drifts.SIZE)
    assert clips.dtype == torch.float32
    assert bool(((clips >= 0) & (clips <= 1)).all())


def test_the_seed_alone_decides_the_clip() -> None:
    first, again = _clips_of("up left", 3), _clips_of("up left", 3)
    torch.rand(7)  # the global generator must not matter
    assert torch.equal(first, again)
    assert not torch.equal(first, _clips_of("up left", 3, seed=6))


@pytest.mark.parametrize("label", [-1, len(drifts.CLASSES)])
def test_a_label_out_of_range_is_refused(label: int) -> None:
    with pytest.raises(IndexError, match=r"0\.\.13"):
        drifts.draw(torch.tensor([0, label]), _generator(0))


def test_labels_cover_every_class_evenly() -> None:
    counts = torch.bincount(drifts.draw_labels(7000, _generator(1)))
    assert len(counts) == len(drifts.CLASSES)
    assert 400 < int(counts.min()) <= int(counts.max()) < 600


@pytest.mark.parametrize("index", range(8))
def test_textures_shift_where_the_class_says(index: int) -> None:
    clips = _clips_of(drifts.DIRECTIONS[index])
    angle = math.radians(45 * index)
    right, down = round(3 * math.cos(angle)), round(-3 * math.sin(angle))
    earlier, later = clips[:, :, :-2], clips[:, :, 2:]
    gap = _gap(later, _shifted(earlier, right, down))  # 1.5 pixels a frame: the middle speed
    turned = [(down, right), (-right, -down), (-down, -right)]
    others = [_gap(later, _shifted(earlier, *way)) for way in turned if way != (right, down)]
    assert gap < 0.8 * min(others)


@pytest.mark.parametrize(
    ("name", "turn", "size"),
    [
        ("expanding", 0.0, 1.11),
        ("contracting", 0.0, 1 / 1.11),
        ("clockwise", 0.16, 1.0),
        ("counterclockwise", -0.16, 1.0),
    ],
)
def test_textures_grow_and_turn_as_the_class_says(name: str, turn: float, size: float) -> None:
    clips = _clips_of(name)
    earlier, later = clips[:, :, :-4], clips[:, :, 4:]
    gap = _gap(later, _resized(earlier, turn, size))
    assert gap < 0.8 * _gap(later, _resized(earlier, -turn, 1 / size))


def test_still_textures_stay_and_flickering_ones_do_not() -> None:
    still, flicker = _clips_of("still"), _clips_of("flicker")
    assert _gap(still[:, :, 1:], still[:, :, :-1]) < 0.06  # noise alone
    assert _gap(flicker[:, :, 1:], flicker[:, :, :-1]) > 0.15


@pytest.mark.parametrize("name", STEADY)
def test_the_middle_of_the_clip_does_not_tell_the_class(name: str) -> None:
    """All classes draw the same texture from a seed; halfway through, it is where it was drawn."""
    still, moved = _clips_of("still", 4), _clips_of(name, 4)
    one, other = (clips[:, :, 7:9].mean(2) for clips in (still, moved))
    assert _gap(one, other) < 0.06
    assert float(one.mean()) == pytest.approx(float(other.mean()), abs=0.02)


@pytest.mark.slow
def test_single_frames_look_alike_whatever_the_class() -> None:
    clips = {name: _clips_of(name, 32) for name in drifts.CLASSES}
    detail = {
        name: float((frames[..., 1:] - frames[..., :-1]).abs().mean())
        for name, frames in clips.items()
    }
    assert max(detail.values()) < 1.1 * min(detail.values())
    level = {name: float(frames.mean()) for name, frames in clips.items()}
    assert max(level.values()) - min(level.values()) < 0.02


@pytest.mark.parametrize("index", range(8))
def test_velocities_lie_within_the_jitter_and_speeds(index: int) -> None:
    motion = _motion_of(drifts.DIRECTIONS[index])
    right, down = motion.velocity.unbind(1)
    off = (torch.rad2deg(torch.atan2(-down, right)) - 45 * index + 180) % 360 - 180
    assert float(off.abs().max()) <= 12.01
    assert float(off.std()) > 3
    speed = motion.velocity.norm(dim=1)
    assert 0.5 <= float(speed.min()) < 0.8
    assert 2.2 < float(speed.max()) <= 2.5
    assert not bool(motion.turn.any() or motion.growth.any())


@pytest.mark.parametrize(
    ("name", "divergence", "curl"),
    [
        ("expanding", 1, 0),
        ("contracting", -1, 0),
        ("clockwise", 0, 1),
        ("counterclockwise", 0, -1),
        ("still", 0, 0),
        ("right", 0, 0),
    ],
)
def test_places_flow_with_the_signs_of_the_class(name: str, divergence: int, curl: int) -> None:
    places = drifts.places_seen(_motion_of(name, 8))
    # Where frame t's pixel p was one frame before: back through the texture.
    before, now = places[:, :-1], places[:, 1:]
    linear = torch.linalg.solve(now[..., :2], before[..., :2]) - torch.eye(2)
    found = linear[..., 0, 0] + linear[..., 1, 1], linear[..., 1, 0] - linear[..., 0, 1]
    for value, sign in zip(found, (divergence, curl), strict=True):
        assert bool((value.sign() == sign).all()) if sign else float(value.abs().max()) < 5e-3


def test_textures_have_mean_zero_and_colour() -> None:
    textures = drifts.draw_textures(24, _generator(0))
    assert float(textures.mean((2, 3)).abs().max()) < 1e-4
    spread = textures.std((2, 3))
    assert float((spread.amax(1) / spread.amin(1)).median()) > 1.2
