"""Control clips, which separate what a unit owes to the texture from what it owes to the motion."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from fvis.motion.decomposition import Decomposition
from fvis.motion.warp import warp
from fvis.randomness import normal

DRAWS = 4  # clips per random control; their activations are averaged


def controls(parts: Decomposition, generators: Sequence[Generator]) -> dict[str, list[Tensor]]:
    """The control clips by name, each (B, 3, T, H, W) in [0, 1].

    `reconstruction`: the moving texture itself. `static`: its middle frame, repeated.
    `reversed`: played backwards. `mirrored`: flipped left to right.
    `shuffled`: its frames in random order.
    `retextured`: a texture with the same amplitude spectrum and random phases, moved the same way.

    The last two are random. Each has `DRAWS` clips, whose row b is drawn by generator b.
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
    """How much the unit depends on motion: 1 - static / reconstruction, clipped to [0, 1].

    0 for a unit that responds to the texture alone, 1 for a unit that does not respond to a still
    picture. NaN if the reconstruction does not activate the unit.

    >>> motion_index({"reconstruction": 0.8, "static": 0.2})
    0.75
    """
    return _lost(activations["static"], activations["reconstruction"])


def texture_index(activations: Mapping[str, float]) -> float:
    """How much the unit depends on its texture: 1 - retextured / reconstruction, in [0, 1].

    0 for a unit that responds as well to any other texture of the same spectrum, 1 for a unit that
    does not respond to them. NaN if the reconstruction does not activate the unit.
    """
    return _lost(activations["retextured"], activations["reconstruction"])


def _lost(left: float, whole: float) -> float:
    """The share 1 - left / whole, clipped to [0, 1]; NaN unless `whole` is positive."""
    if not whole > 0 or math.isnan(left):
        return math.nan
    return min(1.0, max(0.0, 1 - left / whole))


def _shuffled(clip: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Clips (B, 3, T, H, W) with each row's frames in random order."""
    t = clip.shape[2]
    orders = [torch.randperm(t, generator=generator).to(clip.device) for generator in generators]
    return torch.stack([row[:, order] for row, order in zip(clip, orders, strict=True)])


def _rephased(texture: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Textures (B, 3, H, W) with the same amplitude spectrum and randomly shifted phases.

    A frequency's phase is shifted alike in all three channels, which keeps their correlations.
    """
    h, w = texture.shape[-2:]
    noise = normal(generators, 1, h, w).to(texture)
    mean = texture.mean((2, 3), keepdim=True)
    turn = torch.exp(1j * torch.fft.rfft2(noise).angle())
    rephased = torch.fft.irfft2(torch.fft.rfft2(texture - mean) * turn, s=(h, w))
    mixed: Tensor = (rephased + mean).clamp(0, 1)
    return mixed
