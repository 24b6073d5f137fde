"""The factored clip is a texture moving by its velocity's cosine series, row by row."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fvis.motion.factored import (
    SLOPES,
    STARTS,
    Factored,
    build,
    cosines,
    starting_motions,
    term_scales,
)
from fvis.motion.measures import direction_deg
from fvis.parametrizations.base import UpdateRule
from fvis.randomness import random_generator
from fvis.schema import FourierConfig, VelocityConfig
from tests.motion.reference import moved

SHAPE = (3, 7, 12, 16)  # one clip's
CPU = torch.device("cpu")
SETTINGS = VelocityConfig(terms=3, scale=2.0, decay=1.5)


def factored(
    guess: Tensor,
    rows: list[int],
    margin: float = 0.5,
    settings: VelocityConfig = SETTINGS,
    size: tuple[int, int] = (SHAPE[2], SHAPE[3]),
) -> Factored:
    draws = [random_generator("texture", row) for row in rows]
    start = guess if guess.dim() == 3 else uniform(guess)
    pictures = FourierConfig(init_std=1.0)
    return build(pictures, settings, margin, start, draws, SHAPE, size, CPU)


def uniform(velocity: Tensor) -> Tensor:
    """Motions (B, 2, 3) of nothing but a velocity (B, 2)."""
    return torch.cat([torch.zeros(len(velocity), 2, 2), velocity[..., None]], 2)


def set_terms(moving: Factored, terms: Tensor) -> None:
    """Set the coefficients (B, 2, T - 1, K, K) of the cosine series."""
    with torch.no_grad():
        moving.coefficients[:, SLOPES:] = terms.flatten(1)


def shaken(rows: list[int]) -> Factored:
    """With random terms: velocities that vary over place and time."""
    moving = factored(torch.zeros(len(rows), 2), rows)
    shape = moving.terms.shape[1:]
    noise = [torch.randn(shape, generator=random_generator("terms", row)) for row in rows]
    set_terms(moving, torch.stack(noise))
    return moving


def with_term(*index: int) -> Tensor:
    """The velocity (2, T - 1, H, W) that one term of the series gives."""
    moving = factored(torch.zeros(1, 2), [0])
    terms = torch.zeros_like(moving.terms)
    terms[(0, *index)] = 1.0
    set_terms(moving, terms)
    return moving.decomposition().velocity[0].detach()


def test_the_clip_is_the_texture_seen_through_the_displacement() -> None:
    moving = shaken([0, 1])
    with torch.no_grad():
        parts, clip = moving.decomposition(), moving.picture().render()
    assert clip.shape == (2, *SHAPE)
    assert clip.std() > 0.05
    for row in range(2):
        expected = moved(parts.texture[row], parts.displacement[row], parts.offset[row])
        np.testing.assert_allclose(clip[row].numpy(), expected, atol=2e-5)


def test_the_texture_reaches_margin_sides_beyond_the_frame_on_all_sides() -> None:
    parts = factored(torch.zeros(2, 2), [0, 1], margin=0.25).decomposition()
    _, _, h, w = SHAPE
    assert parts.texture.shape == (2, 3, h + 2 * 3, w + 2 * 4)
    assert parts.offset.tolist() == [[4, 3], [4, 3]], "[x, y]"


def test_a_small_clip_is_the_middle_of_the_one_that_fills_the_input() -> None:
    """Its texture is as fine, and the same coefficients give the same motion, px for px."""
    whole, small = shaken([0, 1]), factored(torch.zeros(2, 2), [0, 1], size=(6, 8))
    with torch.no_grad():
        slopes = torch.randn(2, SLOPES, generator=random_generator("slopes"))
        whole.coefficients[:, :SLOPES] = 0.3 * slopes
        small.coefficients.copy_(whole.coefficients)
        clips, parts = whole.picture().render(), small.decomposition()
        seen = small.picture().render()
    assert parts.texture.shape == (2, 3, 24, 32), "as for the whole input"
    assert parts.displacement.abs().amax() > 1
    torch.testing.assert_close(seen, clips[..., 3:9, 4:12], atol=1e-5, rtol=0)


def test_the_middle_frame_is_not_displaced() -> None:
    displacement = shaken([0]).decomposition().displacement
    assert (displacement[:, :, SHAPE[1] // 2] == 0).all()
    assert displacement[:, :, 0].abs().amax() > 0.1


def test_at_first_each_row_moves_as_guessed_everywhere_and_always() -> None:
    guess = torch.tensor([[1.5, -0.5], [0.0, 2.0]])
    velocity = factored(guess, [0, 1]).decomposition().velocity
    expected = guess.view(2, 2, 1, 1, 1).expand_as(velocity)
    torch.testing.assert_close(velocity.detach(), expected, atol=1e-5, rtol=0)


def test_the_velocity_is_the_series_of_its_terms() -> None:
    moving = shaken([3])
    t, h, w = (size - step for size, step in zip(SHAPE[1:], (1, 0, 0), strict=True))
    coefficients = moving.coefficients[:, SLOPES:].view_as(moving.terms)
    terms = coefficients[0].detach().double().numpy()
    expected = np.zeros((2, t, h, w))
    for f, y, x in np.ndindex(*terms.shape[1:]):
        amplitude = 2.0 / ((1 + f) * (1 + math.hypot(y, x))) ** 1.5
        waves = [
            np.cos(math.pi * k * (np.arange(n) + 0.5) / n) for k, n in ((f, t), (y, h), (x, w))
        ]
        shape = np.einsum("t,y,x->tyx", *waves)
        expected += amplitude * terms[:, f, y, x, None, None, None] * shape
    found = moving.decomposition().velocity[0].detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_first_term_moves_all_alike_and_others_their_axis_alone() -> None:
    uniform = with_term(1, 0, 0, 0)
    torch.testing.assert_close(uniform[1], torch.full_like(uniform[1], SETTINGS.scale))
    assert (uniform[0] == 0).all()
    for axis, index in enumerate([(0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]):
        field = with_term(*index)[0]
        assert abs(field.mean()) < 1e-5, "no mean motion"
        assert field.diff(dim=axis).abs().amin() > 1e-3
        for other in {0, 1, 2} - {axis}:
            assert field.diff(dim=other).abs().amax() < 1e-5


def test_finer_terms_have_smaller_amplitudes() -> None:
    scales = term_scales(VelocityConfig(terms=4, scale=3.0, decay=2.0), 5)
    assert scales.shape == (5, 4, 4)
    assert scales[0, 0, 0] == 3.0
    for axis in range(3):
        assert (scales.diff(dim=axis) < 0).all()
    torch.testing.assert_close(scales[1, 0, 0], torch.tensor(3.0 / 4))


@pytest.mark.parametrize(("places", "terms"), [(16, 6), (7, 7), (15, 4)])
def test_the_cosines_are_orthogonal(places: int, terms: int) -> None:
    basis = cosines(places, terms).double()
    gram = basis.T @ basis
    norms = torch.full((terms,), places / 2).double()
    norms[0] = places
    torch.testing.assert_close(gram, torch.diag(norms), atol=1e-5, rtol=0)


def test_a_row_depends_on_its_own_stream_guess_and_numbers_alone() -> None:
    together, alone = shaken([4, 5]), shaken([5])
    with torch.no_grad():
        torch.testing.assert_close(
            together.picture().render()[1:], alone.picture().render(), atol=1e-6, rtol=0
        )
    numbers = together.picture().parameters
    gradients = torch.autograd.grad(together.picture().render()[0].square().sum(), numbers)
    for gradient in gradients:
        assert gradient[0].abs().sum() > 0
        assert gradient[1].abs().sum() == 0


def test_first_steps_mirror_the_texture_and_not_its_motion() -> None:
    moving = shaken([4])
    picture, parts = moving.picture(mirror_steps=3), moving.decomposition()
    back = parts.displacement.flip(4) * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1, 1)
    mirrored = dataclasses.replace(parts, displacement=back).render().flip(4)
    for step in range(6):
        expected = mirrored if step in (0, 2) else picture.render()
        torch.testing.assert_close(picture.climbing(step), expected, atol=1e-4, rtol=0)
    assert (mirrored - picture.render()).abs().mean() > 0.05


def test_all_numbers_move_the_terms_as_one_and_shrinking() -> None:
    moving = factored(torch.zeros(1, 2), [0], settings=VelocityConfig(weight_decay=0.3))
    picture = moving.picture()
    assert picture.parameters[-1] is moving.coefficients
    texture, motion = picture.update_rules
    assert texture == UpdateRule() and motion.rowwise
    decays = torch.as_tensor(motion.weight_decay).expand(moving.coefficients.shape[1])
    assert (decays[:SLOPES] == 0).all(), "growth and turns stay"
    assert torch.equal(decays[SLOPES:], torch.full_like(decays[SLOPES:], 0.3))


def test_starts_are_the_guess_ways_across_rest_a_slow_drift_and_turns() -> None:
    guess = torch.tensor([[0.3, -0.4], [1.0, 1.0]])
    starts = starting_motions(guess, SHAPE)
    assert len(starts) == STARTS
    assert all(start.shape == (2, 2, 3) for start in starts)
    drifts, flows = starts[:7], starts[7:]
    assert torch.equal(drifts[0], uniform(guess))
    for start, angle in zip(drifts[1:5], (0, 90, 180, 270), strict=True):
        for slopes, velocity in zip(start[..., :2], start[..., 2], strict=True):
            assert direction_deg(*velocity.tolist()) == angle
            assert velocity.norm() * SHAPE[1] == pytest.approx(SHAPE[2] / 2), "half the height"
            assert (slopes == 0).all()
    assert (drifts[5] == 0).all()
    slow = drifts[6][0, :, 2]
    assert slow.norm() * SHAPE[1] == pytest.approx(SHAPE[2] / 40)
    assert direction_deg(*(30 * slow).tolist()) == pytest.approx(direction_deg(0.3, -0.4))
    assert all(torch.equal(flow[..., 2], guess) for flow in flows)
    divergence = [float(flow[0, 0, 0] + flow[0, 1, 1]) for flow in flows]
    curl = [float(flow[0, 1, 0] - flow[0, 0, 1]) for flow in flows]
    rate = 2 * 0.75 / SHAPE[1]
    assert divergence == pytest.approx([0, 0, rate, -rate])
    assert curl == pytest.approx([rate, -rate, 0, 0]), "clockwise first"


@pytest.mark.parametrize("index", range(STARTS))
def test_a_start_is_the_motion_that_the_clip_begins_with(index: int) -> None:
    start = starting_motions(torch.tensor([[0.3, -0.2]]), SHAPE)[index]
    moving = factored(start, [0])
    torch.testing.assert_close(moving.motion, start, atol=1e-6, rtol=1e-5)


def test_rotation_and_growth_keep_the_textures_shape_at_any_angle() -> None:
    rate, t = 0.3, SHAPE[1]
    for flow, growth, turn in (
        ([[0, -rate], [rate, 0]], 0.0, rate),
        ([[rate, 0], [0, rate]], rate, 0.0),
    ):
        start = torch.cat([torch.tensor([flow]), torch.zeros(1, 2, 1)], 2)
        displacement = factored(start, [0]).decomposition().displacement[0].detach()
        h, w = SHAPE[2:]
        y, x = torch.meshgrid(
            torch.arange(h) - (h - 1) / 2, torch.arange(w) - (w - 1) / 2, indexing="ij"
        )
        for frame in range(t):
            time = frame - t // 2
            angle, scale = -turn * time, math.exp(-growth * time)
            expected = torch.stack(
                [
                    scale * (math.cos(angle) * x - math.sin(angle) * y) - x,
                    scale * (math.sin(angle) * x + math.cos(angle) * y) - y,
                ]
            )
            torch.testing.assert_close(displacement[:, frame], expected, atol=1e-4, rtol=1e-4)
