"""Every parametrization gives RGB in [0, 1], each row from its own stream alone."""

import dataclasses
import math
import socket
from typing import Any

import pytest
import torch
from torch import Tensor

from fvis.parametrizations import PARAMETRIZATIONS, Parametrization
from fvis.parametrizations.colour import correlate
from fvis.parametrizations.fourier import gaussian_response, spectrum_scale
from fvis.parametrizations.natural_spectrum import amplitude
from fvis.randomness import random_generator
from fvis.schema import PARAMETRIZATIONS as CONFIGS
from fvis.schema import FourierConfig

CPU = torch.device("cpu")
SHAPES = [(3, 32, 32), (3, 33, 47), (3, 8, 16, 24), (3, 5, 15, 9)]


def build(name: str, shape: tuple[int, ...], rows: list[int]) -> Parametrization:
    return PARAMETRIZATIONS[name](
        CONFIGS[name](), [random_generator(row) for row in rows], shape, CPU
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_pictures_have_the_asked_shape_and_range(name: str, shape: tuple[int, ...]) -> None:
    rgb = build(name, shape, [1, 2]).render()
    assert rgb.shape == (2, *shape)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    assert rgb[0].std() > 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_row_depends_on_its_own_stream_alone(name: str, shape: tuple[int, ...]) -> None:
    together, alone = build(name, shape, [7, 1, 2]).render(), build(name, shape, [1]).render()
    torch.testing.assert_close(together[1], alone[0])
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_picture_starts_as_a_photograph_to_the_bit_and_can_leave_it(
    name: str, size: tuple[int, int]
) -> None:
    levels = torch.randint(0, 256, (2, 3, *size), generator=random_generator("levels"))
    levels[0, :, :2], levels[0, :, 2:4] = 0, 255
    levels[1] = levels[1].float().mean((1, 2), keepdim=True).round()  # of a single colour
    config = dataclasses.replace(CONFIGS[name](), start="photo.jpg")
    if name == "fourier":
        config.blur = 1.0  # a filter that cannot be undone in single precision
    generators = [random_generator(row) for row in (1, 2)]
    picture = PARAMETRIZATIONS[name](config, generators, (3, *size), CPU, levels / 255)
    assert torch.equal((picture.render() * 255).round(), levels.float())
    (picture.render()[0] * torch.rand(3, *size)).sum().backward()
    for numbers in picture.parameters:
        assert numbers.grad is not None
        assert numbers.grad[0].abs().sum() > 0
        assert numbers.grad[1].abs().sum() == 0


def test_the_amplitudes_of_a_photograph_may_only_shrink() -> None:
    photograph = torch.rand(1, 3, 16, 16)
    picture = PARAMETRIZATIONS["phase"](CONFIGS["phase"](), [], (3, 16, 16), CPU, photograph)
    before = torch.fft.rfft2(picture.render().logit()).abs()
    with torch.no_grad():
        picture.parameters[1].add_(torch.randn(picture.parameters[1].shape) * 20)
    after = torch.fft.rfft2(picture.render().logit()).abs()
    assert (after <= 1.01 * before.sum(1, keepdim=True) + 1e-2).all()
    assert after.sum() < before.sum()


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_gradients_do_not_cross_rows(name: str) -> None:
    picture = build(name, (3, 16, 16), [1, 2])
    picture.render()[0].sum().backward()
    for numbers in picture.parameters:
        assert numbers.grad is not None
        assert numbers.grad[0].abs().sum() > 0
        assert numbers.grad[1].abs().sum() == 0


@pytest.mark.parametrize("shape", [(3, 24, 40), (3, 4, 24, 40)])
def test_fourier_amplitudes_fall_as_one_over_frequency(shape: tuple[int, ...]) -> None:
    scale = spectrum_scale(shape[1:], 1.0, 1.0)
    first = scale if scale.dim() == 2 else scale[0]
    assert first[0, 4] == pytest.approx(float(first[0, 2]) / 2)
    assert first[3, 0] == pytest.approx(float(first[6, 0]) * 2), "the same on the other axis"


def test_fourier_movement_falls_as_one_over_temporal_frequency() -> None:
    scale = spectrum_scale((16, 24, 24), 1.0, 2.0)
    assert scale[4, 3, 3] == pytest.approx(float(scale[2, 3, 3]) / 4)
    torch.testing.assert_close(scale[-4], scale[4])


def test_phase_keeps_every_amplitude_whatever_the_ascent_does() -> None:
    picture = build("phase", (3, 32, 32), [3])
    with torch.no_grad():
        picture.parameters[0].add_(torch.randn_like(picture.parameters[0]))
    logits = picture.render().logit()
    decorrelated = torch.linalg.solve(correlate(torch.eye(3)[None])[0], logits.flatten(2))
    spectrum = torch.fft.rfft2(decorrelated.view(1, 3, 32, 32), norm="ortho").abs()[0]
    inner = (slice(None), slice(1, 16), slice(1, 16))  # the real FFT's edges fold
    torch.testing.assert_close(spectrum[inner], amplitude(32, 32)[inner], rtol=1e-2, atol=1e-2)


def test_the_natural_spectrum_ships_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("no parametrization may ask the network for anything")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert build("phase", (3, 16, 16), [0]).render().isfinite().all()


def test_fourier_blur_holds_back_what_a_gaussian_would() -> None:
    left = gaussian_response(64, 64, 2.0)
    expected = math.exp(-2 * (math.pi * 2.0 * 8 / 64) ** 2)
    assert left[0, 8] == pytest.approx(expected, rel=1e-5)
    assert left[8, 0] == pytest.approx(expected, rel=1e-5)
    assert (gaussian_response(64, 64, 0.0) == 1).all()


def test_the_natural_spectrum_falls_with_frequency_in_every_colour() -> None:
    spectrum = amplitude(64, 64)
    assert (spectrum[:, 0, 1:30:4].diff(dim=1) < 0).all()
    assert (spectrum[0] > spectrum[1]).float().mean() > 0.5, "most of it is lightness"


def test_a_pyramid_can_make_its_finest_and_its_coarsest_pattern() -> None:
    picture = build("pyramid", (3, 16, 16), [0])
    fine, coarse = picture.parameters[0], picture.parameters[-1]
    assert fine.shape == (1, 3, 16, 16)
    assert coarse.shape == (1, 3, 4, 4)
    flat = picture.render()
    with torch.no_grad():
        coarse.add_(5)
    assert (picture.render() - flat).abs().mean() > 0.1


def test_a_step_of_a_coefficient_changes_the_contrast_by_a_quarter_of_its_scale() -> None:
    picture = build("fourier", (3, 16, 16), [0])
    (spectrum,) = picture.parameters
    with torch.no_grad():
        spectrum.zero_()
        spectrum[0, 0, 2, 3, 0] = 1e-3
    contrast = correlate(torch.eye(3)[None])[0, 0, 0]  # red of the first colour axis
    scale = 16 * (16 * (13**0.5) / 16) ** -1.0  # at 2 and 3 cycles per frame
    amplitude = 2 * 0.25 * 1e-3 * scale / 16  # a wave of a real, orthonormal transform
    swing = picture.render()[0, 0].logit()
    assert swing.max().item() == pytest.approx(amplitude * contrast.item(), rel=0.05)


PLAIN = FourierConfig(init_std=0.01, decay=1.0, temporal_decay=1.0, blur=0.0, decorrelate=False)


def spectrum(shape: tuple[int, ...], **settings: Any) -> Tensor:
    """The spectrum of a Fourier picture's logits at its start, without the real FFT's edges."""
    config = dataclasses.replace(PLAIN, **settings)
    picture = PARAMETRIZATIONS["fourier"](config, [random_generator("spectrum")], shape, CPU)
    logits = picture.render().detach().double().logit()[0]
    axes = tuple(range(1, len(shape)))
    return torch.fft.rfftn(logits, dim=axes, norm="ortho")[..., 1 : shape[-1] // 2]


def test_every_setting_of_fourier_scales_the_spectrum_as_it_says() -> None:
    height, width, frames = 16, 24, 6
    y = torch.fft.fftfreq(height)[:, None]
    f = torch.hypot(y, torch.fft.rfftfreq(width)[1 : width // 2])
    f_t = torch.fft.fftfreq(frames).abs().clamp_min(1 / frames)[:, None, None]
    still, clip = (3, height, width), (3, frames, height, width)
    for shape, settings, factor in (
        (still, {"init_std": 0.02}, torch.tensor(2.0)),
        (still, {"decay": 2.0}, 1 / (width * f)),
        (still, {"blur": 1.5}, (-2 * (math.pi * 1.5 * f) ** 2).exp()),
        (clip, {"temporal_decay": 2.0}, 1 / (frames * f_t)),
    ):
        expected = factor * spectrum(shape)
        torch.testing.assert_close(
            spectrum(shape, **settings), expected.to(torch.complex128), rtol=1e-2, atol=1e-4
        )


@pytest.mark.parametrize("decorrelate", [True, False])
def test_without_decorrelation_a_coefficient_changes_one_colour_alone(decorrelate: bool) -> None:
    config = dataclasses.replace(PLAIN, init_std=0.0, decorrelate=decorrelate)
    picture = PARAMETRIZATIONS["fourier"](config, [random_generator(0)], (3, 8, 8), CPU)
    with torch.no_grad():
        picture.parameters[0][0, 0, 1, 1] = 1.0
    changed = (picture.render()[0] - 0.5).abs().amax((1, 2)) > 1e-3
    assert changed.tolist() == [True, decorrelate, decorrelate]
