"""The mean amplitude spectrum of natural photographs, as one radial profile per colour axis.

`python -m fvis.parametrizations.natural_spectrum FOLDER` measures the profile on the pictures of a
folder and overwrites the stored one.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fvis.parametrizations.colour import correlation
from fvis.parametrizations.fourier import radial_frequency

PROFILE = Path(__file__).with_name("natural_spectrum.npy")
BANDS = 32  # frequency bands, spaced evenly in log frequency: about a quarter of an octave apart
LOWEST, HIGHEST = 1 / 256, 2**-0.5  # cycles per pixel, of the first and the last band
SIDE = 256  # px; pictures are resized to this square before they are measured


def amplitude(height: int, width: int) -> Tensor:
    """Mean amplitudes of photographs (3, H, W // 2 + 1), for a real FFT with norm="ortho".

    They are those of the logits of RGB, in decorrelated colour. The profile is interpolated
    linearly in log amplitude over log frequency.

    >>> amplitude(8, 8).shape
    torch.Size([3, 8, 5])
    """
    profile = torch.from_numpy(np.load(PROFILE)).float()
    place = _band(radial_frequency(height, width)).clamp(0, BANDS - 1)
    low = place.floor().long().clamp_max(BANDS - 2)
    share = place - low
    log = profile.log()
    return (log[:, low] * (1 - share) + log[:, low + 1] * share).exp()


def measure(pictures: list[Path]) -> Tensor:
    """Measure the profile (3, BANDS): mean amplitude per colour axis and frequency band.

    `pictures` are the paths of image files, which are read as RGB.
    """
    inverse = torch.linalg.inv(correlation(torch.device("cpu")))
    band = _band(radial_frequency(SIDE, SIDE)).round().long().clamp(0, BANDS - 1)
    total, count = torch.zeros(3, BANDS), torch.zeros(BANDS)
    for path in pictures:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB").resize((SIDE, SIDE)), np.float32) / 255
        logits = torch.from_numpy(pixels).permute(2, 0, 1).clamp(0.02, 0.98).logit()
        decorrelated = torch.einsum("cr,rhw->chw", inverse, logits)
        spectrum = torch.fft.rfft2(decorrelated, norm="ortho").abs()
        total.index_add_(1, band.flatten(), spectrum.flatten(1))
        count.index_add_(0, band.flatten(), torch.ones(band.numel()))
    return _filled(total / count.clamp_min(1), count)


def _band(frequency: Tensor) -> Tensor:
    """Fractional band index of frequencies in cycles per pixel, from 0 to BANDS - 1."""
    octaves = torch.log2(torch.tensor(HIGHEST / LOWEST))
    return torch.log2(frequency / LOWEST) / octaves * (BANDS - 1)


def _filled(profile: Tensor, count: Tensor) -> Tensor:
    """`profile` (3, BANDS) with empty bands, of count 0, interpolated from their neighbours."""
    seen = (count > 0).numpy()
    bands = np.arange(BANDS)
    rows = [np.exp(np.interp(bands, bands[seen], np.log(row[seen]))) for row in profile.numpy()]
    return torch.from_numpy(np.stack(rows))


if __name__ == "__main__":
    files = sorted(p for p in Path(sys.argv[1]).iterdir() if p.suffix.lower() in (".jpg", ".png"))
    np.save(PROFILE, measure(files).numpy().astype(np.float32))
