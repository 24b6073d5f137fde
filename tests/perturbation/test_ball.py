"""Nothing leaves its ball, nor what 8 bits can hold."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fvis.errors import RequestError
from fvis.perturbation.ball import in_8_bits, projected, radius

USUAL = (8 / 255, (3, 8, 16))  # bound of each value, shape of a picture


def clean(seed: int = 0) -> Tensor:
    levels = torch.randint(0, 256, (2, 3, 9, 7), generator=torch.Generator().manual_seed(seed))
    return levels / 255


def change(scale: float, seed: int = 1) -> Tensor:
    return scale * torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(seed))


@given(
    st.sampled_from(["linf", "l2", "none"]),
    st.floats(1 / 255, 1.0),
    st.floats(1e-4, 2.0),
    st.integers(0, 1000),
)
def test_a_file_is_whole_levels_in_range_and_in_the_ball(
    norm: str, epsilon: float, scale: float, seed: int
) -> None:
    start = clean(seed)
    file = in_8_bits(start, projected(start, change(scale, seed), norm, epsilon), norm, epsilon)
    levels = file.double() * 255
    assert (levels - levels.round()).abs().max() < 1e-4
    assert levels.min() >= 0 and levels.max() <= 255 + 1e-4
    delta = (levels.round() - (start.double() * 255).round()) / 255
    if norm == "linf":
        assert delta.abs().max() <= epsilon + 1e-6
    if norm == "l2":
        assert (delta.flatten(1).norm(dim=1) <= epsilon + 1e-6).all()


def test_what_is_inside_stays_as_it_is() -> None:
    start = torch.full((2, 3, 9, 7), 100 / 255)
    inside = change(0.5 / 255).clamp(-2 / 255, 2 / 255)
    for norm, epsilon in (("linf", 2 / 255), ("l2", inside.flatten(1).norm(dim=1).max().item())):
        torch.testing.assert_close(projected(start, inside, norm, epsilon), inside)


def test_an_l2_ball_is_used_to_its_edge() -> None:
    start = torch.full((2, 3, 9, 7), 0.5)
    file = in_8_bits(start, projected(start, change(1.0), "l2", 0.5), "l2", 0.5)
    lengths = (file - (start * 255).round() / 255).flatten(1).norm(dim=1)
    assert (lengths > 0.45).all()


@pytest.mark.parametrize(
    ("spec", "norm", "expected"),
    [("8/255", "linf", 8 / 255), (0.03, "linf", 0.03), (" 2 / 255", "l2", 2 / 255), (3, "l2", 3.0),
     ("1", "linf", 1.0), ("2.5/255", "linf", 2.5 / 255), ("anything", "none", math.inf),
     (None, "linf", 8 / 255), (None, "l2", 2 / 255 * 384**0.5), (None, "none", math.inf)],
)  # fmt: skip
def test_bounds_are_read(spec: object, norm: str, expected: float) -> None:
    assert radius(spec, norm, *USUAL) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spec", "norm"),
    [("eight", "linf"), ("8/0", "linf"), ("0.5/255", "linf"), (2, "linf"), (-1, "linf"),
     (0, "l2"), ("nan", "linf"), ("inf", "l2"), ("null", "linf")],
)  # fmt: skip
def test_bad_bounds_are_refused(spec: object, norm: str) -> None:
    with pytest.raises(RequestError, match=r"method\.epsilon"):
        radius(spec, norm, *USUAL)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_level_written_with_few_digits_is_one_level(norm: str) -> None:
    assert radius("0.0039215", norm, *USUAL) == 0.0039215
    with pytest.raises(RequestError, match=f"method.norm={norm}"):
        radius("0.0038", norm, *USUAL)
