"""`parametrization=fourier`: a spectrum whose frequencies start and move as natural images' do.

Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from fvis.parametrizations.base import PARAMETRIZATIONS, Parametrization, leaf
from fvis.parametrizations.colour import correlate
from fvis.randomness import normal
from fvis.schema import FourierConfig

GAIN = 0.25  # with Adam's steps of 0.05, contrast grows over tens of steps instead of a few


@PARAMETRIZATIONS.register("fourier")
def build(
    config: FourierConfig,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    device: torch.device,
) -> Parametrization:
    """Complex spectra (B, *shape) scaled by 1/f^decay, clips by 1/f_t^temporal_decay too.

    `blur` (pixels) holds the finest frequencies back as a Gaussian of that size would.
    """
    decay = 1.0 if config.decay is None else config.decay
    scale = spectrum_scale(shape[1:], decay, config.temporal_decay)
    scale = (scale * gaussian_response(shape[-2], shape[-1], config.blur or 0.0)).to(device)
    start = config.init_std * normal(generators, 3, *scale.shape, 2)
    spectrum = leaf(start, device)
    axes = tuple(range(-len(shape) + 1, 0))

    def render() -> Tensor:
        scaled = torch.view_as_complex(spectrum) * (GAIN * scale)
        signal = torch.fft.irfftn(scaled, s=shape[1:], dim=axes, norm="ortho")
        return torch.sigmoid(correlate(signal) if config.decorrelate else signal)

    return Parametrization((spectrum,), render)


def spectrum_scale(size: Sequence[int], decay: float, temporal_decay: float) -> Tensor:
    """The amplitude of each frequency of a real FFT over `size`, (H, W) or (T, H, W).

    Spatial frequencies fall as 1/f^decay from `max(H, W)` at the lowest, whatever the decay;
    temporal ones as 1/f_t^temporal_decay from 1 at the slowest.
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
    """The share of each frequency that a Gaussian of standard deviation `blur` pixels leaves."""
    return (-2 * (math.pi * blur * radial_frequency(height, width)).square()).exp()


def radial_frequency(height: int, width: int) -> Tensor:
    """Cycles per pixel (H, W // 2 + 1) of a real FFT, the constant term counted as the lowest."""
    y, x = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]
    return torch.hypot(y, x).clamp_min(1 / max(height, width))
