"""`parametrization=phase`: amplitudes fixed to those of natural photographs, phases free.

Fel et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained
Optimization", NeurIPS 2023 (MACO).
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from fvis.parametrizations.base import PARAMETRIZATIONS, Parametrization, leaf
from fvis.parametrizations.colour import correlate
from fvis.parametrizations.natural_spectrum import amplitude
from fvis.randomness import uniform
from fvis.schema import PhaseConfig


@PARAMETRIZATIONS.register("phase")
def build(
    config: PhaseConfig,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    device: torch.device,
) -> Parametrization:
    """Build pictures sigmoid(C irfft(A exp(i phase))) with free phases.

    A is `config.contrast` times `fixed_amplitudes`; C maps decorrelated colour to RGB. The
    parameters are the phases in radians, (B, 3, H, W // 2 + 1) or (B, 3, T, H, W // 2 + 1),
    which start uniform in [0, 2 pi).
    """
    fixed = (config.contrast * fixed_amplitudes(shape[1:], config.temporal_decay)).to(device)
    phases = leaf(2 * math.pi * uniform(generators, *fixed.shape), device)
    axes = tuple(range(-len(shape) + 1, 0))

    def render() -> Tensor:
        signal = torch.fft.irfftn(torch.polar(fixed, phases), s=shape[1:], dim=axes, norm="ortho")
        return torch.sigmoid(correlate(signal))

    return Parametrization((phases,), render)


def fixed_amplitudes(size: Sequence[int], temporal_decay: float) -> Tensor:
    """Amplitudes (3, H, W // 2 + 1) for `size` (H, W), (3, T, H, W // 2 + 1) for (T, H, W).

    Images have the mean amplitudes of photographs. Clips have these times f_t^-temporal_decay
    (zero counts as the lowest frequency), normalized so that the mean energy of a frame is that of
    an image.

    >>> fixed_amplitudes((4, 8, 8), temporal_decay=1.0).shape
    torch.Size([3, 4, 8, 5])
    """
    spatial = amplitude(*size[-2:])
    if len(size) == 2:
        return spatial
    frames = size[0]
    temporal = (torch.fft.fftfreq(frames).abs() * frames).clamp_min(1).pow(-temporal_decay)
    length: Tensor = temporal.norm()
    temporal = temporal * math.sqrt(frames) / length
    amplitudes: Tensor = spatial[:, None] * temporal[None, :, None, None]
    return amplitudes
