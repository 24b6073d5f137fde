"""What is told of a moving texture is what the network answers, for each row by itself."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fvis.motion.decomposition import Decomposition
from fvis.motion.examination import Candidates, Examination, See, examine
from fvis.motion.kinds import FLICKER, MOVING, STILL, UNDIRECTED, UNEXPLAINED
from fvis.randomness import random_generator
from tests.motion.reference import places, waves

SIZE = (8, 20, 24)
MARGIN = 16


def moving(*velocities: tuple[float, float]) -> Decomposition:
    """Textures, one per row, that move at these velocities."""
    _, h, w = SIZE
    sides = places(h + 2 * MARGIN, w + 2 * MARGIN)
    textures = torch.stack([0.5 + 0.2 * waves(3, 3 * sides) for _ in velocities])
    offset = torch.full((len(velocities), 2), float(MARGIN))
    still = Decomposition(textures, offset, torch.zeros(len(velocities), 2, *SIZE))
    return still.drifting(torch.tensor(velocities))


def projected(wanted: Tensor) -> See:
    """Units that respond to their own clip (B, 3, T, H, W) by likeness, never below zero."""
    away = wanted - wanted.mean((2, 3, 4), keepdim=True)

    def see(clips: Tensor) -> tuple[Tensor, Tensor | None]:
        likeness = (clips * away).sum((1, 2, 3, 4)) / away.square().sum((1, 2, 3, 4))
        return torch.nn.functional.softplus(20 * likeness) / 20, None

    return see


def ask(see: See, optimal: Tensor, *parts: Decomposition) -> list[Examination]:
    scores = torch.stack([see(each.render())[0] for each in parts])
    rows = [random_generator("controls", row) for row in range(len(optimal))]
    return examine(see, optimal, Candidates(parts, scores), rows)


def test_the_best_candidate_is_shown_and_the_activations_are_shares_of_the_best_clip() -> None:
    right, other = moving((1.5, 0.0)), moving((0.0, 1.5))
    grey = torch.full_like(right.render(), 0.5)
    for parts in ((right, other), (other, right)):
        (found,) = ask(projected(right.render()), grey, *parts)
        assert torch.equal(found.parts.displacement, right.displacement)
        assert found.activations["reconstruction"] == 1
        assert found.activations["optimal"] < 0.2
        assert found.classes == {}
    expected = (right.render() - grey).square().mean().sqrt().item()
    assert found.error == pytest.approx(expected)


def test_a_unit_that_wants_a_moving_texture_has_its_direction() -> None:
    right = moving((1.5, 0.0))
    (found,) = ask(projected(right.render()), right.render(), right, moving((1.4, 0.1)))
    assert found.kind == MOVING
    assert found.note is None
    assert found.motion.direction_deg == pytest.approx(0, abs=1)
    assert found.confidence["finalists"] == 2
    assert found.tuning.preferred_deg is not None
    assert min(found.tuning.preferred_deg, 360 - found.tuning.preferred_deg) < 20
    assert found.importance.shape == SIZE


def test_no_direction_where_no_second_search_confirms_it() -> None:
    right = moving((1.5, 0.0))
    other = replace(moving((0.0, 1.5)), texture=1 - right.texture)
    (found,) = ask(projected(right.render()), right.render(), right, other)
    assert found.kind == UNDIRECTED
    assert found.note == "undirected: searches disagree on the direction"
    assert found.motion.direction_deg is None


def test_a_row_that_was_not_searched_for_again_does_not_confirm_itself() -> None:
    both = moving((1.5, 0.0), (0.0, -1.0))
    see, optimal = projected(both.render()), both.render()
    scores = torch.stack([see(optimal)[0]] * 2)
    searched = torch.tensor([[True, True], [False, True]])
    rows = [random_generator("controls", row) for row in range(2)]
    once, twice = examine(see, optimal, Candidates([both, both], scores, searched), rows)
    assert [found.confidence["searches"] for found in (once, twice)] == [1, 2]
    assert [found.confidence["agreeing"] for found in (once, twice)] == [0, 1]


def test_units_that_want_stillness_flicker_or_another_clip_are_told_so() -> None:
    still, right = moving((0.0, 0.0)), moving((1.5, 0.0))
    (found,) = ask(projected(still.render()), still.render(), still)
    assert (found.kind, found.motion.direction_deg) == (STILL, None)
    assert found.note == "still: motion adds nothing"
    wave = torch.tensor([(-1.0) ** (t // 2) for t in range(SIZE[0])]).view(1, 1, -1, 1, 1)
    flicker = 0.5 + (still.render() - 0.5) * wave
    (found,) = ask(projected(flicker), flicker, right)
    assert (found.kind, found.motion.direction_deg) == (FLICKER, None)
    noise = torch.rand(1, 3, *SIZE, generator=random_generator("noise"))
    (found,) = ask(projected(noise), noise, right)
    assert (found.kind, found.motion.direction_deg) == (UNEXPLAINED, None)


def test_rows_do_not_depend_on_one_another() -> None:
    both, alone = moving((1.5, 0.0), (0.0, -1.0)), moving((0.0, -1.0))
    together = ask(projected(both.render()), both.render(), both)[1]
    (single,) = ask(projected(alone.render()), alone.render(), alone)
    # The random controls are drawn by the row's own generator, which differs here.
    for name in ("optimal", "reconstruction", "static", "flicker", "appears", "blank"):
        assert together.activations[name] == pytest.approx(single.activations[name], abs=1e-4)
    assert together.motion.velocity == pytest.approx(single.motion.velocity)
    assert together.motion.direction_deg == pytest.approx(single.motion.direction_deg)
    assert together.tuning.preferred_deg == pytest.approx(single.tuning.preferred_deg)


@pytest.mark.parametrize("bias", [-40.0, 100.0])
def test_a_constant_that_is_added_to_the_unit_changes_nothing_that_is_told(bias: float) -> None:
    right = moving((1.5, 0.0))
    plain = projected(right.render())

    def biased(clips: Tensor) -> tuple[Tensor, Tensor | None]:
        return plain(clips)[0] + bias, None

    asked = (right.render(), right, moving((1.4, 0.1)))
    (one,), (other,) = ask(plain, *asked), ask(biased, *asked)
    assert (one.kind, other.kind) == (MOVING, MOVING)
    assert other.motion.direction_deg == pytest.approx(one.motion.direction_deg)
    assert other.grey == pytest.approx(one.grey + bias)
    assert other.activations == pytest.approx(one.activations, abs=1e-3)
    assert other.tuning.direction_index == pytest.approx(one.tuning.direction_index, abs=1e-3)


def test_a_unit_that_grey_excites_most_has_nothing_to_be_measured() -> None:
    def wants_grey(clips: Tensor) -> tuple[Tensor, Tensor | None]:
        return 3 - (clips - 0.5).abs().mean((1, 2, 3, 4)), None

    parts = moving((1.0, 0.0))
    (found,) = ask(wants_grey, parts.render(), parts)
    assert (found.kind, found.motion.direction_deg) == (UNEXPLAINED, None)
    assert found.note == "unexplained: no clip was found that excites more than plain grey"


def test_a_unit_that_nothing_excites_has_no_shares() -> None:
    def silent(clips: Tensor) -> tuple[Tensor, Tensor | None]:
        return 0 * clips.sum((1, 2, 3, 4)), None

    parts = moving((1.0, 0.0))
    (found,) = ask(silent, parts.render(), parts)
    assert all(math.isnan(share) for share in found.activations.values())
    assert found.kind == UNEXPLAINED


def test_a_candidate_without_a_finite_score_is_never_the_best() -> None:
    scores = torch.tensor([[math.nan, 1.0], [0.5, math.nan], [0.2, 2.0]])
    assert Candidates([moving((0, 0))] * 3, scores).best.tolist() == [1, 2]
