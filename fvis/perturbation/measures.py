"""The size, smoothness and visibility of perturbations."""

import math
import statistics

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from fvis import regularizers

LEVELS = 255  # grey levels above zero of an 8-bit channel
SSIM_WINDOW = 7  # px; scikit-image's default


def total_variation(delta: Tensor) -> Tensor:
    """Mean absolute difference of neighbours (B,), in grey levels (1/255).

    `delta` (B, 3, H, W), or (B, 3, T, H, W) for clips, is the change of RGB in [0, 1]. The means of
    the axes, time among them, are added.
    """
    return LEVELS * regularizers.total_variation(delta)


def linf(delta: Tensor) -> Tensor:
    """The largest absolute change (B,) of `delta` (B, 3, ...), a change of RGB in [0, 1]."""
    return delta.abs().flatten(1).amax(1)


def l2(delta: Tensor) -> Tensor:
    """Euclidean norm (B,), over all values, of `delta` (B, 3, ...), a change of RGB in [0, 1].

    >>> l2(torch.full((1, 3, 2, 2), 0.5)) == 0.5 * 12**0.5
    tensor([True])
    """
    length: Tensor = delta.flatten(1).norm(dim=1)
    return length


def spectral_centroid(delta: Tensor) -> Tensor:
    """Mean spatial frequency (B,) of `delta` (B, 3, H, W), weighted by power, in cycles per pixel.

    White noise has about 0.38, and a constant change 0. NaN if nothing is changed. For clips
    (B, 3, T, H, W), each frame is a picture, and the power of all frames counts.
    """
    power = torch.fft.fft2(delta).abs().square().sum(1)
    rows = torch.fft.fftfreq(delta.shape[-2], device=delta.device)
    columns = torch.fft.fftfreq(delta.shape[-1], device=delta.device)
    frequency = torch.hypot(rows[:, None], columns[None, :])
    centroid: Tensor = (power * frequency).flatten(1).sum(1) / power.flatten(1).sum(1)
    return centroid


def ssim(clean: Tensor, changed: Tensor) -> float:
    """Structural similarity of two pictures (3, H, W) in [0, 1], averaged over channels.

    For clips (3, T, H, W) it is the mean over frames. 1 for equal pictures; NaN if a side is below
    3 px. Wang et al., "Image quality assessment: from error visibility to structural similarity",
    2004, as scikit-image computes it.
    """
    if clean.dim() == 4:
        frames = zip(clean.unbind(1), changed.unbind(1), strict=True)
        return statistics.fmean(ssim(*pair) for pair in frames)
    window = min(SSIM_WINDOW, *clean.shape[1:])
    window -= 1 - window % 2  # scikit-image needs an odd window
    if window < 3:
        return math.nan
    pair = (clean.cpu().numpy(), changed.cpu().numpy())
    return float(structural_similarity(*pair, data_range=1, channel_axis=0, win_size=window))
