"""`parametrization=phase`: amplitudes fixed to those of natural photographs, phases free.

Fel et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained
Optimization", NeurIPS 2023 (MACO); from a photograph: Hamblin et al., "Feature Accentuation", 2024
(arXiv 2402.10039).
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from fvis.parametrizations.base import PARAMETRIZATIONS, Parametrization, leaf, unbounded
from fvis.parametrizations.colour import correlate, correlation
from fvis.parametrizations.natural_spectrum import amplitude
from fvis.randomness import uniform
from fvis.schema import PhaseConfig

WHOLE = 5.0  # its sigmoid is 0.993: amplitudes that start at 1 itself could not begin to shrink


@PARAMETRIZATIONS.register("phase")
def build(
    config: PhaseConfig,
    generators: Sequence[Generator],
    shape: tuple[int, ...],
    device: torch.device,
    start: Tensor | None = None,
) -> Parametrization:
    """Build pictures sigmoid(C irfft(A exp(i phase))) with free phases.

    A is `config.contrast` times `fixed_amplitudes`; C maps decorrelated colour to RGB. The
    parameters are the phases in radians, (B, 3, H, W // 2 + 1) or (B, 3, T, H, W // 2 + 1),
    which start uniform in [0, 2 pi). With `start` see `from_photograph`.
    """
    if start is not None:
        return from_photograph(start.to(device))
    fixed = (config.contrast * fixed_amplitudes(shape[1:], config.temporal_decay)).to(device)
    phases = leaf(2 * math.pi * uniform(generators, *fixed.shape), device)
    axes = tuple(range(-len(shape) + 1, 0))

    def render() -> Tensor:
        signal = torch.fft.irfftn(torch.polar(fixed, phases), s=shape[1:], dim=axes, norm="ortho")
        return torch.sigmoid(correlate(signal))

    return Parametrization((phases,), render)


def from_photograph(start: Tensor) -> Parametrization:
    """Pictures that start as images (B, 3, H, W) in [0, 1], with amplitudes that may only shrink.

    They are sigmoid(C irfft(sigmoid(s) A exp(i phase))), where A exp(i phase) is first the spectrum
    of C^-1 logit(start). The parameters are the phases and s, both (B, 3, H, W // 2 + 1); s starts
    at `WHOLE`, so that colours differ from `start` by less than half of 1/255.
    """
    inverse = torch.linalg.inv(correlation(start.device, start.dtype))
    signal = torch.einsum("cr,brhw->bchw", inverse, unbounded(start))
    spectrum = torch.fft.rfft2(signal, norm="ortho")
    amplitudes = spectrum.abs()
    phases, shrinkage = leaf(spectrum.angle(), start.device), torch.full_like(amplitudes, WHOLE)
    shrinkage.requires_grad_(True)

    def render() -> Tensor:
        shrunk = torch.polar(amplitudes * torch.sigmoid(shrinkage), phases)
        signal = torch.fft.irfft2(shrunk, s=start.shape[-2:], norm="ortho")
        return torch.sigmoid(correlate(signal))

    return Parametrization((phases, shrinkage), render)


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
