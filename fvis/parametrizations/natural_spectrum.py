"""The mean amplitude spectrum of natural photographs, one radial profile per colour axis.

`python -m fvis.parametrizations.natural_spectrum FOLDER` measures it again on a folder of pictures.
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
BANDS = 32  # octave-spaced from 1/256 to 0.71 cycles per pixel: a quarter of an octave each
LOWEST, HIGHEST = 1 / 256, 2**-0.5
SIDE = 256  # px


def amplitude(height: int, width: int) -> Tensor:
    """Amplitudes (3, H, W // 2 + 1) of an orthonormal real FFT, in decorrelated logit colour."""
    profile = torch.from_numpy(np.load(PROFILE)).float()
    place = _band(radial_frequency(height, width)).clamp(0, BANDS - 1)
    low = place.floor().long().clamp_max(BANDS - 2)
    share = place - low
    log = profile.log()
    return (log[:, low] * (1 - share) + log[:, low + 1] * share).exp()


def measure(pictures: list[Path]) -> Tensor:
    """The profile (3, BANDS): mean amplitude per colour axis and band over RGB picture files."""
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
    octaves = torch.log2(torch.tensor(HIGHEST / LOWEST))
    return torch.log2(frequency / LOWEST) / octaves * (BANDS - 1)


def _filled(profile: Tensor, count: Tensor) -> Tensor:
    """`profile` with bands that no frequency fell into interpolated from their neighbours."""
    seen = (count > 0).numpy()
    bands = np.arange(BANDS)
    rows = [np.exp(np.interp(bands, bands[seen], np.log(row[seen]))) for row in profile.numpy()]
    return torch.from_numpy(np.stack(rows))


if __name__ == "__main__":
    files = sorted(p for p in Path(sys.argv[1]).iterdir() if p.suffix.lower() in (".jpg", ".png"))
    np.save(PROFILE, measure(files).numpy().astype(np.float32))
