"""What the drawn pictures promise the networks; the networks themselves are tested next door."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fvis.zoo import glyphs


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pictures_of(name: str, count: int = 48, seed: int = 5) -> Tensor:
    return glyphs.draw(torch.full((count,), glyphs.CLASSES.index(name)), _generator(seed))


def _power(pictures: Tensor) -> Tensor:
    """Mean power spectrum (32, 32) of the grey pictures' middle, zero frequency first."""
    grey = pictures.mean(1)[:, 16:48, 16:48]
    window = torch.hann_window(32, periodic=False)
    weighted = (grey - grey.mean((1, 2), keepdim=True)) * window * window[:, None]
    power: Tensor = torch.fft.fft2(weighted).abs().square().mean(0)
    return power


# Wavelengths of 7 to 10 pixels, within 45 degrees of one axis: cycles per 32 pixels.
_ALONG = slice(3, 6)
_ACROSS = [0, 1, 2, -1, -2]


def _vertical_power(pictures: Tensor) -> float:
    return float(_power(pictures)[_ALONG][:, _ACROSS].sum())


def _horizontal_power(pictures: Tensor) -> float:
    return float(_power(pictures)[_ACROSS][:, _ALONG].sum())


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 5))
def test_any_seed_draws_rgb_in_range(seed: int, count: int) -> None:
    generator = _generator(seed)
    pictures = glyphs.draw(glyphs.draw_labels(count, generator), generator)
    assert pictures.shape == (count, 3, glyphs.SIZE, glyphs.SIZE)
    assert pictures.dtype == torch.float32
    assert bool(((pictures >= 0) & (pictures <= 1)).all())


def test_the_seed_alone_decides_the_picture() -> None:
    first, again = _pictures_of("striped ring"), _pictures_of("striped ring")
    torch.rand(7)  # the global generator must not matter
    assert torch.equal(first, again)
    assert not torch.equal(first, _pictures_of("striped ring", seed=6))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    _pictures_of("dotted cross")
    assert torch.equal(before, torch.get_rng_state())


def test_a_clean_glyph_is_the_only_thing_with_edges_in_its_picture() -> None:
    labels = glyphs.draw_labels(24, _generator(1))
    clean, usual = (draw(labels, _generator(2)) for draw in (glyphs.draw_clean, glyphs.draw))
    assert clean.shape == usual.shape and bool(((clean >= 0) & (clean <= 1)).all())
    corners = [
        pictures[:, :, :6, :6].diff(dim=3).abs().amax((1, 2, 3)) for pictures in (clean, usual)
    ]
    assert corners[0].median() < 0.03 < corners[1].median()
    assert bool((clean.diff(dim=3).abs().amax((1, 2, 3)) > 0.1).all())  # the glyph's own edges


@pytest.mark.parametrize("label", [-1, len(glyphs.CLASSES)])
def test_a_label_out_of_range_is_refused(label: int) -> None:
    with pytest.raises(IndexError, match=r"0\.\.11"):
        glyphs.draw(torch.tensor([0, label]), _generator(0))


def test_labels_cover_every_class_evenly() -> None:
    counts = torch.bincount(glyphs.draw_labels(6000, _generator(1)))
    assert len(counts) == len(glyphs.CLASSES)
    assert int(counts.min()) > 400
    assert int(counts.max()) < 600


def test_the_background_does_not_tell_the_class() -> None:
    corners = [_pictures_of(name)[:, :, :2, :2] for name in glyphs.CLASSES]
    assert all(torch.equal(corners[0], other) for other in corners[1:])


def test_stripes_run_across_and_dots_run_both_ways() -> None:
    striped, dotted = _pictures_of("striped disc"), _pictures_of("dotted disc")
    assert _vertical_power(striped) > 5 * _horizontal_power(striped)
    assert 0.6 < _vertical_power(dotted) / _horizontal_power(dotted) < 1.6


def test_only_a_textured_glyph_has_power_at_the_wavelengths_of_textures() -> None:
    plain = _vertical_power(_pictures_of("plain disc"))
    assert _vertical_power(_pictures_of("striped disc")) > 10 * plain
    assert _vertical_power(_pictures_of("dotted disc")) > 2 * plain


def test_a_ring_is_a_disc_with_a_hole() -> None:
    disc, ring = _pictures_of("plain disc"), _pictures_of("plain ring")
    changed = (disc - ring).abs().amax(1) > 0.02
    areas = changed.sum((1, 2)).float()
    # The hole has 0.44 of a radius of 17 to 24 pixels; the outlines differ by 0.08 of it.
    assert float(areas.min()) > 100
    assert float(areas.max()) < 1000


@pytest.mark.parametrize(
    ("shape", "inside", "outside"),
    [
        ("disc", (0.0, 0.8), (0.75, 0.75)),
        ("triangle", (0.7, 0.5), (0.5, -0.5)),
        ("cross", (0.0, -0.9), (0.6, 0.6)),
        ("ring", (0.0, 0.7), (0.0, 0.0)),
    ],
)
def test_outlines_hold_what_they_should(
    shape: str, inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    distance = glyphs.SHAPES[shape]
    for right, down in (inside, (-inside[0], inside[1])):  # each is its own mirror image
        assert float(distance(torch.tensor(right), torch.tensor(down))) < 0
    for right, down in (outside, (-outside[0], outside[1])):
        assert float(distance(torch.tensor(right), torch.tensor(down))) > 0


@pytest.mark.parametrize(("texture", "channel"), [("plain", 1), ("dotted", 2)])
def test_most_glyphs_wear_their_textures_colour(texture: str, channel: int) -> None:
    middle = _pictures_of(f"{texture} disc", 200)[:, :, 26:38, 26:38].mean((2, 3))
    share = float((middle.argmax(1) == channel).float().mean())
    # Own hue for three quarters and any hue for the rest: the colour hints, it does not decide.
    assert 0.7 < share < 0.95
