"""How large, how smooth and how visible a perturbation is."""

import math

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from fvis import regularizers

LEVELS = 255  # of an 8-bit channel
SSIM_WINDOW = 7  # px, Wang et al. 2004 in scikit-image's form


def total_variation(delta: Tensor) -> Tensor:
    """Mean absolute difference (B,) of neighbours of (B, 3, H, W), in 1/255, both axes' added."""
    return LEVELS * regularizers.total_variation(delta)


def linf(delta: Tensor) -> Tensor:
    """The largest change of any channel (B,), in RGB of [0, 1]."""
    return delta.abs().flatten(1).amax(1)


def l2(delta: Tensor) -> Tensor:
    """Euclidean length (B,) of all changes, in RGB of [0, 1]."""
    length: Tensor = delta.flatten(1).norm(dim=1)
    return length


def spectral_centroid(delta: Tensor) -> Tensor:
    """Mean spatial frequency (B,), weighed by power, in cycles per pixel; nan for no change.

    White noise has 0.38, a change that is everywhere the same 0.
    """
    power = torch.fft.fft2(delta).abs().square().sum(1)
    rows = torch.fft.fftfreq(delta.shape[2], device=delta.device)
    columns = torch.fft.fftfreq(delta.shape[3], device=delta.device)
    frequency = torch.hypot(rows[:, None], columns[None, :])
    centroid: Tensor = (power * frequency).flatten(1).sum(1) / power.flatten(1).sum(1)
    return centroid


def ssim(clean: Tensor, changed: Tensor) -> float:
    """SSIM of two pictures (3, H, W) in [0, 1], mean over channels; nan below 3 px a side."""
    window = min(SSIM_WINDOW, *clean.shape[1:])
    window -= 1 - window % 2
    if window < 3:
        return math.nan
    pair = (clean.cpu().numpy(), changed.cpu().numpy())
    return float(structural_similarity(*pair, data_range=1, channel_axis=0, win_size=window))
