"""Measures of perturbations, against what is known of them."""

import math

import pytest
import torch

from fvis.perturbation import measures


def test_total_variation_is_in_levels_and_adds_the_axes() -> None:
    stripes = torch.zeros(1, 3, 8, 8)
    stripes[..., ::2] = 3 / 255
    assert measures.total_variation(stripes).item() == pytest.approx(3)
    both = stripes + stripes.transpose(2, 3)
    assert measures.total_variation(both).item() == pytest.approx(6)


def test_lengths_are_in_rgb_units() -> None:
    delta = torch.zeros(2, 3, 4, 4)
    delta[0, 0, 0, 0], delta[0, 1, 2, 2] = 3 / 255, -4 / 255
    assert measures.linf(delta).tolist() == pytest.approx([4 / 255, 0])
    assert measures.l2(delta).tolist() == pytest.approx([5 / 255, 0])


@pytest.mark.parametrize("cycles", [1, 4, 8])
def test_a_gratings_centroid_is_its_frequency(cycles: int) -> None:
    wave = torch.sin(2 * math.pi * cycles * torch.arange(32) / 32).expand(1, 3, 32, 32)
    assert measures.spectral_centroid(wave).item() == pytest.approx(cycles / 32, abs=1e-6)
    across = wave.transpose(2, 3)
    assert measures.spectral_centroid(across).item() == pytest.approx(cycles / 32, abs=1e-6)


def test_an_even_change_has_no_frequency_and_none_has_no_centroid() -> None:
    assert measures.spectral_centroid(torch.full((1, 3, 8, 8), 0.1)).item() == pytest.approx(0)
    assert math.isnan(measures.spectral_centroid(torch.zeros(1, 3, 8, 8)).item())


def test_white_noise_has_the_centroid_of_all_frequencies() -> None:
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert measures.spectral_centroid(noise).item() == pytest.approx(0.38, abs=0.01)


def test_similarity_is_one_for_the_same_and_falls_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(3, 32, 32, generator=generator)
    noise = torch.randn(3, 32, 32, generator=generator)
    values = [measures.ssim(picture, picture + s * noise) for s in (0, 0.02, 0.2)]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2]


def test_small_pictures_have_a_similarity_as_far_as_they_can() -> None:
    assert measures.ssim(torch.zeros(3, 4, 5), torch.zeros(3, 4, 5)) == pytest.approx(1)
    assert math.isnan(measures.ssim(torch.zeros(3, 1, 1), torch.zeros(3, 1, 1)))


def test_clips_are_measured_along_time_too_and_frame_by_frame() -> None:
    flicker = torch.zeros(1, 3, 6, 8, 8)
    flicker[:, :, ::2] = 2 / 255
    assert measures.total_variation(flicker).item() == pytest.approx(2)
    wave = torch.sin(2 * math.pi * 4 * torch.arange(32) / 32).expand(1, 3, 5, 32, 32)
    assert measures.spectral_centroid(wave).item() == pytest.approx(4 / 32, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    clip = torch.rand(3, 2, 16, 16, generator=generator)
    changed = clip.clone()
    changed[:, 1] += 0.1 * torch.randn(3, 16, 16, generator=generator)
    frames = [measures.ssim(clip[:, t], changed[:, t]) for t in range(2)]
    assert measures.ssim(clip, changed) == pytest.approx((1 + frames[1]) / 2)
