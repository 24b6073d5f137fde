"""Altered versions of a moving texture, by which a network tells its texture from its motion."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from fvis.motion.decomposition import Decomposition
from fvis.motion.warp import warp
from fvis.streams import normal

DRAWS = 4  # versions of what is random, averaged over


def controls(parts: Decomposition, generators: Sequence[Generator]) -> dict[str, list[Tensor]]:
    """Clips (B, 3, T, H, W) per name; of what is random several, drawn from the row's generator.

    `reconstruction` is the moving texture itself; `static` its middle frame standing; `reversed`
    runs backwards; `mirrored` is flipped left to right; `shuffled` has its frames in any order;
    `retextured` is another texture of the same spectrum, its phases random, moved the same way.
    """
    clip = parts.render()
    middle = clip.shape[2] // 2
    return {
        "reconstruction": [clip],
        "static": [clip[:, :, middle : middle + 1].expand_as(clip)],
        "reversed": [clip.flip(2)],
        "mirrored": [clip.flip(4)],
        "shuffled": [_shuffled(clip, generators) for _ in range(DRAWS)],
        "retextured": [
            warp(_rephased(parts.texture, generators), parts.displacement, parts.offset)
            for _ in range(DRAWS)
        ],
    }


def motion_index(activations: Mapping[str, float]) -> float:
    """The share of the reconstruction's activation that is lost when it stands still, in [0, 1].

    1 - static / reconstruction: 0 for a unit that cares for the texture alone, 1 for one that a
    still picture leaves cold. NaN where the reconstruction does not activate the unit.
    """
    return _lost(activations["static"], activations["reconstruction"])


def texture_index(activations: Mapping[str, float]) -> float:
    """The share of the reconstruction's activation that is lost with its texture, in [0, 1].

    1 - retextured / reconstruction: 0 for a unit that answers to the motion of any texture with
    that spectrum, 1 for one that no other texture satisfies. NaN as for `motion_index`.
    """
    return _lost(activations["retextured"], activations["reconstruction"])


def _lost(left: float, whole: float) -> float:
    if not whole > 0 or math.isnan(left):
        return math.nan
    return min(1.0, max(0.0, 1 - left / whole))


def _shuffled(clip: Tensor, generators: Sequence[Generator]) -> Tensor:
    t = clip.shape[2]
    orders = [torch.randperm(t, generator=generator).to(clip.device) for generator in generators]
    return torch.stack([row[:, order] for row, order in zip(clip, orders, strict=True)])


def _rephased(texture: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Textures of the same amplitudes and random phases, the colours' relations kept."""
    h, w = texture.shape[-2:]
    noise = normal(generators, 1, h, w).to(texture)
    mean = texture.mean((2, 3), keepdim=True)
    turn = torch.exp(1j * torch.fft.rfft2(noise).angle())
    rephased = torch.fft.irfft2(torch.fft.rfft2(texture - mean) * turn, s=(h, w))
    mixed: Tensor = (rephased + mean).clamp(0, 1)
    return mixed
