"""Names of interactions from responses of known combinations, and responses in natural units."""

import math

import pytest
import torch

from fvis.interactions.measures import Interaction, Natural, interactions, kind_of, varies


@pytest.mark.parametrize(
    ("combined", "kind"),
    [
        (lambda a, b: max(0.0, a + b - 10), "and"),
        (min, "and"),
        (max, "or"),
        (lambda a, b: a + b, "sum"),
        (lambda a, b: max(0.0, a - 2 * b), "inhibition"),
        (lambda a, b: a, "one"),
        (lambda a, b: a * (1 + b / 15), "synergy"),
        (lambda a, b: a - 0.04 * b * a, "less"),
        (lambda a, b: 0.1 * a, "none"),
        (lambda a, b: math.nan, "none"),
    ],
)
def test_a_combination_of_two_units_has_its_name(combined: object, kind: str) -> None:
    assert callable(combined)
    first, second, together = combined(10.0, 0.0), combined(0.0, 10.0), combined(10.0, 10.0)
    assert kind_of(first, second, together) == kind
    assert kind_of(second, first, together) == kind


def test_what_the_joint_optimum_loses_of_its_parts_is_no_inhibition() -> None:
    one = Interaction(0, 1, 2, alone=(10.0, 10.0), together=8.0, kept=(0.4, 0.4))
    assert one.parts == (4, 4)
    assert one.synergy == pytest.approx(0)
    assert one.kind == "sum"


def test_a_unit_that_takes_away_from_the_other_matters() -> None:
    assert kind_of(10.0, -4.9, 5.1) == kind_of(-4.9, 10.0, 5.1) == "sum"
    assert kind_of(10.0, -1.0, 9.0) == "one"


def test_the_inhibitor_is_the_one_that_does_not_excite() -> None:
    assert Interaction(4, 7, 2, (0.0, 9.0), 1.0, (1.0, 1.0)).inhibitor == 4
    assert Interaction(4, 7, 2, (9.0, 0.0), 1.0, (1.0, 1.0)).inhibitor == 7
    assert Interaction(4, 7, 2, (9.0, 9.0), 9.0, (1.0, 1.0)).inhibitor is None
    assert Interaction(4, 7, 2, (8.0, 7.0), 1.0, (1.0, 1.0)).inhibitor is None, "both inhibit it"
    assert Interaction(4, 7, 2, (8.0, -0.2), -0.2, (1.0, 1.0)).inhibitor == 7


def test_deviations_are_from_the_natural_mean() -> None:
    scores = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 2.0]])
    natural = Natural.of(scores)
    deviations = natural.deviations(scores)
    torch.testing.assert_close(deviations.mean(0), torch.zeros(2).double())
    torch.testing.assert_close(deviations.std(0), torch.ones(2).double())
    torch.testing.assert_close(natural.correlation, torch.corrcoef(scores.T.double()))


def test_every_other_unit_is_told_and_the_greatest_synergy_comes_first() -> None:
    alone = torch.tensor([[8.0, 0, 0, 8], [0, 8.0, 0, 8], [0, 0, 8.0, 0], [4, 4, 0, 8.0]])
    together = {(0, 1): torch.tensor([4.0, 8.0, 30.0, 8.0])}
    first, second = interactions(alone.double(), together)
    assert (first.unit, first.kind, first.kept) == (2, "and", (0.5, 1.0))
    assert (second.unit, second.kind, second.synergy) == (3, "or", -4)


@pytest.mark.parametrize("constant", [0.3, -7.1, 0.0])
def test_a_constant_of_many_photographs_does_not_vary(constant: float) -> None:
    scores = torch.full((40, 3), constant)
    scores[:, 1] += 1e-3 * torch.randn(40, generator=torch.Generator().manual_seed(0))
    assert varies(scores).tolist() == [False, True, False]
