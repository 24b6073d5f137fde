"""Aims at a class and away from one: the same numbers with opposite signs."""

import pytest
import torch

from fvis.perturbation.aims import Aim, Aims

CPU = torch.device("cpu")
VALUES = torch.tensor([[0.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
BOTH = Aims.of([Aim(1), Aim(1, away=True)], CPU)  # to be taken for class 1; for any other


@pytest.mark.parametrize("name", ["margin", "logit", "cross_entropy"])
def test_what_raises_one_aim_lowers_the_other(name: str) -> None:
    towards, away = BOTH.objective(name, VALUES).tolist()
    assert towards == -away
    higher, lower = BOTH.objective(name, VALUES + torch.tensor([0.0, 1.0, 0.0])).tolist()
    assert higher > towards and lower < away


def test_the_lead_over_a_probability_is_zero_where_that_is_reached() -> None:
    chance = VALUES.softmax(1)[0, 1].item()
    reached = Aims.of([Aim(1)], CPU).lead(VALUES[:1], 0.0, chance).item()
    assert reached == pytest.approx(0, abs=1e-6)
    others = Aims.of([Aim(0, away=True)], CPU).lead(
        VALUES[:1], 0.0, 1 - VALUES.softmax(1)[0, 0].item()
    )
    assert others.item() == pytest.approx(0, abs=1e-6)


def test_the_lesser_lead_counts() -> None:
    aims = Aims.of([Aim(1)], CPU)
    assert aims.lead(VALUES[:1], 0.25, 0.0).item() == pytest.approx(0.75)
    assert aims.lead(VALUES[:1], 5.0, 0.01).item() == pytest.approx(-4)


def test_a_row_without_an_aim_has_one_all_the_same() -> None:
    batch = Aims.of([None, Aim(2, away=True)], CPU)
    assert batch.classes.tolist() == [0, 2]
    assert batch.signs.tolist() == [1, -1]
