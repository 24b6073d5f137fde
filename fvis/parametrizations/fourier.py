"""`parametrization=fourier`: a spectrum scaled to fall with frequency like natural images' spectra.

Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from fvis.parametrizations.base import (
    PARAMETRIZATIONS,
    Parametrization,
    UpdateRule,
    leaf,
    unbounded,
)
from fvis.parametrizations.colour import correlate
from fvis.randomness import normal
from fvis.schema import FourierConfig

GAIN = 0.25  # slows Adam down, so that contrast grows over tens of steps instead of a few


@PARAMETRIZATIONS.register("fourier")
def build(
    config: FourierConfig,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    device: torch.device,
    start: Tensor | None = None,
) -> Parametrization:
    """Build pictures sigmoid(C irfft(GAIN * scale * z)) with free complex spectra z.

    `scale` is `spectrum_scale`, times the response of a Gaussian blur of standard deviation
    `config.blur` px, which holds back the finest frequencies. C maps decorrelated colour to RGB;
    without `config.decorrelate` it is left out. The parameters are z as real pairs: of shape
    (B, 3, H, W // 2 + 1, 2), or (B, 3, T, H, W // 2 + 1, 2) for clips. With `start` they are those
    of the difference from logit(start), and start at zero.
    """
    decay = 1.0 if config.decay is None else config.decay
    scale = spectrum_scale(shape[1:], decay, config.temporal_decay)
    scale = scale * gaussian_response(shape[-2], shape[-1], config.blur or 0.0)
    noise = config.init_std * normal(generators, 3, *scale.shape, 2)
    base = 0.0 if start is None else unbounded(start).to(device)
    scale = (GAIN * scale).to(device)
    spectrum = leaf(noise if start is None else torch.zeros_like(noise), device)
    axes = tuple(range(-len(shape) + 1, 0))

    def render() -> Tensor:
        scaled = torch.view_as_complex(spectrum) * scale
        signal = torch.fft.irfftn(scaled, s=shape[1:], dim=axes, norm="ortho")
        return torch.sigmoid(base + (correlate(signal) if config.decorrelate else signal))

    return Parametrization((spectrum,), render, (UpdateRule(config.weight_decay),))


def spectrum_scale(size: Sequence[int], decay: float, temporal_decay: float) -> Tensor:
    """Scale of each frequency of a real FFT over `size`, (H, W) or (T, H, W).

    With L = max(H, W), f in cycles per pixel and f_t in cycles per frame, the scale is
    L (L f)^-decay for images, and that times sqrt(T) (T f_t)^-temporal_decay for clips. Zero
    frequencies count as the lowest ones, f = 1 / L and f_t = 1 / T.

    >>> spectrum_scale((8, 8), decay=1.0, temporal_decay=1.0)[0].tolist()
    [8.0, 8.0, 4.0, 2.6666667461395264, 2.0]
    """
    height, width = size[-2:]
    longest = max(height, width)
    scale: Tensor = longest * (longest * radial_frequency(height, width)).pow(-decay)
    if len(size) == 2:
        return scale
    frames = size[0]
    temporal = torch.fft.fftfreq(frames).abs().clamp_min(1 / frames) * frames
    slower: Tensor = math.sqrt(frames) * temporal.pow(-temporal_decay)
    return slower[:, None, None] * scale


def gaussian_response(height: int, width: int, blur: float) -> Tensor:
    """Frequency response (H, W // 2 + 1) of a Gaussian blur of standard deviation `blur` px.

    It is exp(-2 (pi blur f)^2), with f in cycles per pixel.
    """
    return (-2 * (math.pi * blur * radial_frequency(height, width)).square()).exp()


def radial_frequency(height: int, width: int) -> Tensor:
    """Frequencies (H, W // 2 + 1) of a real FFT in cycles per pixel.

    The constant term, whose frequency is 0, is given the lowest one, 1 / max(H, W).
    """
    y, x = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]
    return torch.hypot(y, x).clamp_min(1 / max(height, width))
