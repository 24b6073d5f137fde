"""Each control alters what it says and nothing else; the indices are shares of what is lost."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fvis.motion.controls import (
    DRAWS,
    controls,
    in_place,
    motion_index,
    separable,
    texture_index,
    with_wanted,
)
from fvis.motion.decomposition import Decomposition
from fvis.randomness import random_generator
from tests.motion.reference import places, translating, waves

SIZE = (6, 18, 23)
NAMES = {
    "reconstruction", "static", "reversed", "mirrored", "shuffled", "retextured", "blank",
    "held", "flicker", "appears", "wanted", "wanted flicker", "wanted appears",
}  # fmt: skip


def textures(rows: int) -> Tensor:
    """Faint coloured pictures of fine grain; with other phases too they stay inside [0, 1]."""
    _, h, w = SIZE
    return torch.stack([0.4 + 0.2 * waves(row, 3 * places(h, w)) for row in range(rows)])


def moving(rows: int = 2) -> Decomposition:
    fields = [translating(0.8 - row, 0.3, SIZE) for row in range(rows)]
    return Decomposition(textures(rows), torch.zeros(rows, 2), torch.stack(fields))


def standing(rows: int = 1) -> Decomposition:
    return Decomposition(textures(rows), torch.zeros(rows, 2), torch.zeros(rows, 2, *SIZE))


def random_generators(rows: list[int]) -> list[torch.Generator]:
    return [random_generator("controls", row) for row in rows]


def test_every_control_is_there_once_and_the_random_ones_several_times() -> None:
    versions = controls(moving(), moving().render(), moving().render(), random_generators([0, 1]))
    assert set(versions) == NAMES
    for name, clips in versions.items():
        several = {"shuffled": DRAWS, "retextured": DRAWS, "flicker": 11, "appears": 2}
        assert len(clips) == several.get(name, 1)
        assert all(clip.shape == (2, 3, *SIZE) for clip in clips)


def test_what_is_not_random_is_the_moving_texture_altered_as_named() -> None:
    parts = moving()
    clip, free = parts.render(), parts.render().flip(3)
    versions = controls(parts, free, clip, random_generators([0, 1]))
    assert torch.equal(versions["reconstruction"][0], clip)
    (static,) = versions["static"]
    assert (static.diff(dim=2) == 0).all(), "it really stands still"
    assert torch.equal(static[:, :, 0], clip[:, :, SIZE[0] // 2])
    (held,) = versions["held"]
    assert torch.equal(held, free[:, :, SIZE[0] // 2, None].expand_as(free))
    (backwards,) = versions["reversed"]
    (mirrored,) = versions["mirrored"]
    for frame in range(SIZE[0]):
        assert torch.equal(backwards[:, :, frame], clip[:, :, SIZE[0] - 1 - frame])
    for column in range(SIZE[2]):
        assert torch.equal(mirrored[..., column], clip[..., SIZE[2] - 1 - column])


def flickering(period: float) -> Tensor:
    """A standing texture whose contrast reverses in `period` frames."""
    t = SIZE[0]
    wave = torch.tensor([math.cos(2 * math.pi * k / period) for k in range(t)])
    return 0.5 + 0.4 * (textures(1) - 0.4)[:, :, None] / 0.2 * wave.view(1, 1, t, 1, 1)


def test_a_clip_that_changes_in_place_is_its_own_flickering_control() -> None:
    clip = flickering(3.0)
    seen = in_place(*separable(clip), clip)
    away, expected = seen - seen.mean(), clip - clip.mean()
    likeness = functional.cosine_similarity(away.flatten(), expected.flatten(), dim=0)
    assert likeness > 0.99
    assert away.std() == pytest.approx(expected.std().item(), rel=0.02)
    assert seen.min() >= 0 and seen.max() <= 1


def test_no_clip_that_changes_in_place_is_like_one_that_moves() -> None:
    clip = standing().drifting(torch.tensor([[2.0, 0.0]])).render()
    seen = in_place(*separable(clip), clip)
    away, expected = seen - seen.mean(), clip - clip.mean()
    assert functional.cosine_similarity(away.flatten(), expected.flatten(), dim=0) < 0.8
    assert (away.flatten(3).std(3).std(2) > 0.01).all(), "its contrast changes"


def test_a_unit_of_any_change_flickers_and_one_of_motion_does_not() -> None:
    parts = moving(1)
    clips = controls(parts, parts.render(), parts.render(), random_generators([0]))["flicker"]

    def kept(unit: Callable[[Tensor], Tensor]) -> float:
        return max(unit(clip).item() for clip in clips) / unit(parts.render()).item()

    def change(clip: Tensor) -> Tensor:
        return clip.diff(dim=2).square().mean()

    def motion(clip: Tensor) -> Tensor:
        """The energy of what runs along with the texture, above that of what runs against it."""
        power = torch.fft.fftn(clip.mean((0, 1))).abs().square()
        t, y, x = (torch.fft.fftfreq(n) for n in SIZE)
        rate = 0.8 * x + 0.3 * y[:, None]
        along = torch.exp(-((t[:, None, None] + rate) ** 2) / 0.01)
        against = torch.exp(-((t[:, None, None] - rate) ** 2) / 0.01)
        return ((along - against) * power).sum()

    assert kept(change) > 1
    assert kept(motion) < 0.5


@pytest.mark.parametrize("moment", [1, 3, 5])
def test_what_appears_changes_once_when_the_clip_does(moment: int) -> None:
    clip = standing().render()
    blank = clip.mean((2, 3, 4), keepdim=True)
    clip = torch.where(torch.arange(SIZE[0])[:, None, None] < moment, blank, clip)
    for shown in controls(standing(), clip, clip, random_generators([0]))["appears"][1:]:
        changes = shown.diff(dim=2).abs().amax((0, 1, 3, 4)) > 1e-6
        assert changes.nonzero().flatten().tolist() == [moment - 1]
        before, after = (shown[:, :, frame].std((2, 3)).max() for frame in (0, -1))
        assert before < 1e-3 < 0.01 < after


def test_shuffled_clips_hold_the_same_frames_in_another_order() -> None:
    clip = moving().render()
    orders = set()
    for shuffled in controls(
        moving(), moving().render(), moving().render(), random_generators([0, 1])
    )["shuffled"]:
        for row in range(2):
            apart = (shuffled[row][:, :, None] - clip[row][:, None]).abs().amax((0, 3, 4))
            order = (apart == 0).nonzero()[:, 1].tolist()
            assert sorted(order) == list(range(SIZE[0])), "a permutation"
            orders.add(tuple(order))
    assert len(orders) > DRAWS, "orders differ between rows and draws"


def test_another_texture_has_the_same_spectrum_colours_and_other_phases() -> None:
    texture = textures(1)[0]
    versions = controls(
        standing(), standing().render(), standing().render(), random_generators([0])
    )["retextured"]
    others = [version[0, :, 0] for version in versions]
    for other in others:
        assert other.min() > 0
        assert other.max() < 1, "not clamped, or the spectrum would differ"
        np.testing.assert_allclose(
            np.abs(np.fft.fft2(other.numpy())), np.abs(np.fft.fft2(texture.numpy())), atol=2e-3
        )
        torch.testing.assert_close(covariance(other), covariance(texture), atol=1e-5, rtol=1e-3)
        assert likeness(other, texture) < 0.5
    assert max(likeness(others[0], other) for other in others[1:]) < 0.5


def covariance(rgb: Tensor) -> Tensor:
    return torch.cov(rgb.flatten(1))


def likeness(a: Tensor, b: Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs().item()


def test_another_texture_is_moved_the_same_way() -> None:
    parts = moving(1)
    parts.displacement[:, 0] = -torch.arange(SIZE[0]).view(1, -1, 1, 1)  # 1 px/frame to the right
    parts.displacement[:, 1] = 0
    for version in controls(parts, parts.render(), parts.render(), random_generators([0]))[
        "retextured"
    ]:
        assert torch.equal(version[:, :, 1:, :, 1:], version[:, :, :-1, :, :-1])


def test_random_controls_depend_on_their_rows_stream_alone() -> None:
    parts = moving()
    together = controls(parts, parts.render(), parts.render(), random_generators([7, 8]))
    alone = controls(
        parts.rows()[1], parts.render()[1:], parts.render()[1:], random_generators([8])
    )
    other = controls(
        parts.rows()[1], parts.render()[1:], parts.render()[1:], random_generators([9])
    )
    for name in ("shuffled", "retextured"):
        for a, b, c in zip(together[name], alone[name], other[name], strict=True):
            torch.testing.assert_close(a[1:], b, atol=1e-5, rtol=0)
            assert not torch.allclose(b, c, atol=1e-3)


@pytest.mark.parametrize(
    ("left", "whole", "lost"),
    [
        (0.25, 1.0, 0.75),
        (0.6, 0.8, 0.25),
        (0.0, 0.9, 1.0),
        (0.9, 0.9, 0.0),
        (1.2, 0.9, 0.0),  # more than before: nothing is lost
        (-0.4, 0.9, 1.0),  # and never more than all
        (0.5, 0.0, math.nan),
        (0.5, -0.1, math.nan),
        (0.5, math.nan, math.nan),
        (math.nan, 0.9, math.nan),
    ],
)
def test_indices_are_the_share_lost_from_none_to_all(
    left: float, whole: float, lost: float
) -> None:
    rest = {"reconstruction": whole, "reversed": 0.3}
    assert motion_index(rest | {"static": left, "retextured": 0.1}) == pytest.approx(
        lost, nan_ok=True
    )
    assert texture_index(rest | {"static": 0.1, "retextured": left}) == pytest.approx(
        lost, nan_ok=True
    )


def test_what_is_nearest_to_the_gradient_counts_by_its_share_of_it() -> None:
    plain = {"reconstruction": 1.0, "flicker": 0.3, "appears": 0.2}
    wanted = {"wanted": 4.0, "wanted flicker": 3.6, "wanted appears": 0.4}
    found = with_wanted(plain | wanted)
    assert found == {"reconstruction": 1.0, "flicker": pytest.approx(0.9), "appears": 0.2}
    weak = {"wanted": 0.1, "wanted flicker": 0.1, "wanted appears": 0.0}
    assert with_wanted(plain | weak) == plain


def test_the_gradients_clip_has_its_pattern_and_the_reconstructions_contrast() -> None:
    parts = moving(1)
    clip = parts.render()
    gradient = 1e-6 * (clip.flip(2) - clip.mean())
    versions = controls(parts, clip, gradient, random_generators([0]))
    (wanted,) = versions["wanted"]
    away, expected = wanted - wanted.mean(), clip.flip(2) - clip.mean()
    assert functional.cosine_similarity(away.flatten(), expected.flatten(), dim=0) > 0.95
    assert away.std().item() == pytest.approx(expected.std().item(), rel=0.1)
