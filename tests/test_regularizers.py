"""Penalties measure what they say, whatever the picture's size."""

import pytest
import torch

from fvis.regularizers import group_similarity, l2, style, total_variation


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 3, 64, 32), (1, 3, 4, 8, 8)])
def test_total_variation_of_a_ramp_is_its_slope(shape: tuple[int, ...]) -> None:
    ramp = (0.01 * torch.arange(shape[-1])).expand(shape)
    assert total_variation(ramp).item() == pytest.approx(0.01, rel=1e-5)


def test_total_variation_counts_every_axis_of_a_clip() -> None:
    clip = torch.zeros(1, 3, 4, 8, 8)
    clip[:, :, 2:] = 1
    assert total_variation(clip).item() == pytest.approx(1 / 3)


def test_an_axis_of_length_one_has_no_variation() -> None:
    ramp = torch.linspace(0, 1, 5).expand(2, 3, 1, 4, 5).requires_grad_()
    variation = total_variation(ramp)
    torch.testing.assert_close(variation, total_variation(ramp[:, :, 0]))
    assert torch.autograd.grad(variation.sum(), ramp)[0].isfinite().all()


def test_l2_is_zero_at_grey_and_largest_at_the_ends() -> None:
    assert l2(torch.full((2, 3, 4, 4), 0.5)).tolist() == [0, 0]
    assert l2(torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])).tolist() == [0.25, 0.25]


def test_similarity_compares_within_groups_alone() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    groups = torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(
        group_similarity(features, groups), torch.tensor([0.5, 0.5, 0.0, 0.0])
    )


def test_style_is_blind_to_place() -> None:
    values = torch.rand(1, 4, 6, 6)
    shuffled = values.flatten(2)[:, :, torch.randperm(36)].view_as(values)
    torch.testing.assert_close(style(shuffled), style(values))
