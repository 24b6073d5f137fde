"""Known motion is found again from the clip alone; the paper's solver lowers its own loss."""

import functools
import math

import pytest
import torch
from torch import Tensor

from fvis.motion.decomposition import (
    Decomposition,
    Descent,
    Following,
    Refinement,
    fit_jointly,
    track,
)
from fvis.motion.warp import warp
from fvis.randomness import random_generator
from fvis.regularizers import total_variation
from fvis.schema import FitConfig
from tests.motion.reference import clip_of, places, translating, turning

SIZE = (12, 48, 48)
SEEDS = 2
FINEST = 4.0  # px of the known clips' shortest wave
SMALL = (5, 20, 24)
QUICK = FitConfig(frame_steps=25, refine_steps=25, joint_steps=150)
KNOWN = {
    "right and down": translating(1.0, 0.5, SIZE),
    "left": translating(-2.0, 0.0, SIZE),
    "slow": translating(0.25, 0.0, SIZE),
    "fast": translating(-4.0, 0.0, SIZE),
    "rotating": turning(0.03, 0.0, SIZE),
    "expanding": turning(0.0, 0.02, SIZE),
    "still": translating(0.0, 0.0, SIZE),
}


@functools.cache
def tracked() -> Decomposition:
    """All known motions of all seeds, in one batch; nothing is rendered by fvis's own warp."""
    clips = [clip_of(field, seed, FINEST) for seed in range(SEEDS) for field in KNOWN.values()]
    return track(torch.stack(clips), FitConfig(frame_steps=50, refine_steps=80))


def small_clips() -> Tensor:
    fields = [translating(0.7, -0.4, SMALL), turning(0.05, 0.0, SMALL), translating(0, 1, SMALL)]
    return torch.stack([clip_of(field, seed) for seed, field in enumerate(fields)])


def error(row: int, field: Tensor) -> float:
    """Mean distance, px, from a known displacement over what the first frame shows."""
    _, h, w = SIZE
    limit = torch.tensor([w - 1, h - 1]).view(2, 1, 1, 1)
    source = places(h, w)[:, None] + field
    known = ((source >= 0) & (source <= limit)).all(0)
    # The displacement's finest numbers are 4 px apart, the outermost 1.5 px from the edge.
    inner = torch.zeros_like(known)
    inner[:, 2:-2, 2:-2] = True
    apart = (tracked().displacement[row] - field).norm(dim=0)
    return apart[known & inner].mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_known_motion_is_tracked_to_a_twentieth_of_a_pixel(name: str) -> None:
    column = list(KNOWN).index(name)
    errors = [error(len(KNOWN) * seed + column, KNOWN[name]) for seed in range(SEEDS)]
    assert max(errors) < 0.05, errors


@pytest.mark.slow
def test_the_texture_is_the_first_frame_and_what_later_frames_bring_into_view() -> None:
    """Of what moves left at 4 px/frame, frame 5 shows the 20 px right of the first."""
    (_, h, w), parts = SIZE, tracked().rows()[list(KNOWN).index("fast")]
    clip = clip_of(KNOWN["fast"], 0, FINEST)
    x, y = (int(place) for place in parts.offset[0])
    inside = parts.texture[0, :, y : y + h, x : x + w]
    beyond = parts.texture[0, :, y : y + h, x + w : x + w + 20]
    assert (inside - clip[:, 0]).abs().mean() < 0.01
    edge_drawn_out = (clip[:, 0, :, -1:] - clip[:, 5, :, -20:]).abs().mean()
    assert (beyond - clip[:, 5, :, -20:]).abs().mean() < 0.5 * edge_drawn_out
    assert (parts.render()[0] - clip).abs().mean() < 0.02


def test_displacements_start_from_the_first_frame_and_textures_stay_rgb() -> None:
    parts = tracked()
    assert (parts.displacement[:, :, 0] == 0).all()
    assert parts.texture.min() >= 0
    assert parts.texture.max() <= 1
    assert parts.velocity.shape == (len(KNOWN) * SEEDS, 2, SIZE[0] - 1, *SIZE[1:])


def test_a_row_tracked_alone_and_in_a_batch_agree() -> None:
    clips = small_clips()
    together = track(clips, QUICK).rows()
    for row, clip in enumerate(clips):
        alone = track(clip[None], QUICK)
        torch.testing.assert_close(
            alone.displacement, together[row].displacement, atol=0.02, rtol=0
        )
        torch.testing.assert_close(alone.texture, together[row].texture, atol=0.02, rtol=0)


def test_tracking_twice_gives_the_same() -> None:
    first, second = track(small_clips(), QUICK), track(small_clips(), QUICK)
    assert torch.equal(first.displacement, second.displacement)
    assert torch.equal(first.texture, second.texture)


def joint_loss(parts: Decomposition, clip: Tensor, fit: FitConfig) -> Tensor:
    """The paper's objective (B,), D in frame heights."""
    seen = warp(parts.texture, parts.displacement, parts.offset)
    heights = parts.displacement / clip.shape[3]
    return (
        (seen - clip).square().flatten(1).mean(1)
        + fit.joint_smoothness * total_variation(heights)
        + fit.texture_smoothness * total_variation(parts.texture)
        + fit.anchor * (parts.texture - clip[:, :, 0]).square().flatten(1).mean(1)
    )


def test_the_joint_fit_lowers_the_papers_loss_to_a_texture_in_range() -> None:
    clips = small_clips()
    fits = [FitConfig(joint_steps=steps) for steps in (1, 150)]
    draws = [[random_generator("joint", row) for row in range(3)] for _ in fits]
    start, end = (
        fit_jointly(clips, fit, streams) for fit, streams in zip(fits, draws, strict=True)
    )
    losses = joint_loss(start, clips, fits[0]), joint_loss(end, clips, fits[1])
    assert (losses[1] < 0.3 * losses[0]).all(), losses
    flat = Decomposition(clips.mean((2, 3, 4))[:, :, None, None].expand_as(clips[:, :, 0]),
                         torch.zeros(3, 2), torch.zeros_like(end.displacement))  # fmt: skip
    assert (losses[1] < joint_loss(flat, clips, fits[1])).all(), "better than one grey"
    assert end.texture.min() >= 0
    assert end.texture.max() <= 1


@pytest.mark.slow
def test_the_joint_fit_depends_on_its_rows_own_clip_and_stream() -> None:
    clips = small_clips()
    together = fit_jointly(
        clips, QUICK, [random_generator("joint", row) for row in range(3)]
    ).rows()
    alone = fit_jointly(clips[1:2], QUICK, [random_generator("joint", 1)])
    torch.testing.assert_close(alone.texture, together[1].texture, atol=0.01, rtol=0)
    torch.testing.assert_close(alone.displacement, together[1].displacement, atol=0.05, rtol=0)
    again = fit_jointly(clips[1:2], QUICK, [random_generator("joint", 1)])
    assert torch.equal(again.texture, alone.texture)
    assert torch.equal(again.displacement, alone.displacement)
    other = fit_jointly(clips[1:2], QUICK, [random_generator("joint", 2)])
    assert not torch.allclose(other.displacement, alone.displacement, atol=0.05)


def test_a_steeper_displacement_costs_more_at_a_greater_joint_smoothness() -> None:
    clips = small_clips()[:1]
    rough, smooth = (
        fit_jointly(
            clips, FitConfig(joint_steps=150, joint_smoothness=weight), [random_generator("s")]
        )
        for weight in (0.01, 10.0)
    )
    assert total_variation(smooth.displacement) < 0.5 * total_variation(rough.displacement)


def test_the_margin_is_a_share_of_the_frames_height_below_and_of_its_width_beside() -> None:
    _, h, w = SMALL
    clip = clip_of(translating(0, 0, SMALL), 0)[None]
    parts = track(clip, FitConfig(frame_steps=1, refine_steps=1), margin=0.25)
    below, beside = h // 4, w // 4
    assert parts.texture.shape == (1, 3, h + 2 * below, w + 2 * beside)
    assert parts.offset.tolist() == [[beside, below]], "[x, y]"
    inside = parts.texture[:, :, below : below + h, beside : beside + w]
    torch.testing.assert_close(inside, clip[:, :, 0], atol=1e-4, rtol=0)


def slope(field: Tensor) -> Tensor:
    """Mean difference of neighbours in space, of fields (..., H, W)."""
    return field.diff(dim=-1).abs().mean() + field.diff(dim=-2).abs().mean()


def test_where_nothing_is_seen_to_move_displacements_become_smooth() -> None:
    """Of a grey clip every displacement is right: only its smoothness counts."""
    t, h, w = SMALL
    grey = torch.full((1, 3, *SMALL), 0.5)
    rough = 0.5 * torch.sin(places(h, w) / 4)[None, :, None].repeat(1, 1, t, 1, 1)
    rough[:, :, 0] = 0
    fit = FitConfig(frame_steps=40, refine_steps=40, smoothness=1e-3)
    follow = Following(grey[:, :, 0], grey[:, :, 1], rough[:, :, 1], fit)
    follow.descent.run()
    assert slope(follow.displacement()) < 0.3 * slope(rough[:, :, 1])
    refinement = Refinement(grey, Decomposition(grey[:, :, 0], torch.zeros(1, 2), rough), fit)
    refinement.descent.run()
    assert slope(refinement.decomposition().displacement) < 0.3 * slope(rough)


def test_a_jointly_fitted_texture_is_held_to_the_first_frame_by_its_anchor() -> None:
    clips = small_clips()[:1]
    free, held = (
        fit_jointly(
            clips, FitConfig(joint_steps=100, anchor=weight), [random_generator("anchor")]
        ).texture
        for weight in (0.0, 100.0)
    )
    first = clips[:, :, 0]
    assert (held - first).abs().mean() < 0.3 * (free - first).abs().mean()


def test_the_learning_rate_of_a_descent_falls_to_nothing() -> None:
    numbers = torch.zeros(2, 3, requires_grad=True)
    seen = [numbers.detach().clone()]
    descent = Descent(lambda: numbers.sum(1), [numbers], 0.1, 9)
    descent.run(lambda _: seen.append(numbers.detach().clone()))
    steps = -torch.stack(seen).diff(dim=0)  # of one unchanging gradient, Adam's are lr long
    expected = torch.tensor([0.05 * (1 + math.cos(math.pi * k / 8)) for k in range(9)])
    torch.testing.assert_close(steps, expected.view(9, 1, 1).expand(9, 2, 3), atol=1e-5, rtol=0)
