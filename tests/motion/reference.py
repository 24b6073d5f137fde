"""Moving pictures whose motion is known, made without fvis's own warp."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fvis.randomness import random_generator

LONGEST, WAVES = 20.0, 96  # px; waves per picture


def places(h: int, w: int) -> Tensor:
    """[x, y] (2, H, W) of a frame's pixels."""
    return torch.stack(torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy")).float()


def waves(seed: int, where: Tensor, shortest: float = 8.0) -> Tensor:
    """A picture (3, ...) like 1/f noise, at any places (2, ...) px: sinusoids, even by octave."""
    generator = random_generator("waves", seed)
    length = shortest * (LONGEST / shortest) ** torch.rand(WAVES, generator=generator)
    angle = 2 * math.pi * torch.rand(WAVES, generator=generator)
    phase = 2 * math.pi * torch.rand(3, WAVES, generator=generator)
    wave = 2 * math.pi / length * torch.stack([angle.cos(), angle.sin()])
    at = torch.einsum("kn,k...->...n", wave, where)
    height = 1.2 * math.sqrt(2 / WAVES)
    return torch.stack([torch.sigmoid(height * (at + one).cos().sum(-1)) for one in phase])


def clip_of(displacement: Tensor, seed: int, shortest: float = 8.0) -> Tensor:
    """The clip (3, T, H, W) of `waves` under a displacement (2, T, H, W) px."""
    return waves(seed, places(*displacement.shape[-2:])[:, None] + displacement, shortest)


def translating(vx: float, vy: float, size: tuple[int, int, int]) -> Tensor:
    """The displacement (2, *size) of what moves by (vx, vy) px/frame, zero at first."""
    time = torch.arange(size[0]).view(1, -1, 1, 1)
    return (-torch.tensor([vx, vy]).view(2, 1, 1, 1) * time).expand(2, *size)


def turning(theta: float, growth: float, size: tuple[int, int, int]) -> Tensor:
    """The displacement (2, *size) of what turns by `theta` rad and grows by `growth` per frame.

    About the frame's middle; positive is clockwise on the screen, and expanding.
    """
    t, h, w = size
    place = places(h, w) - torch.tensor([(w - 1) / 2, (h - 1) / 2]).view(2, 1, 1)
    frames = []
    for frame in range(t):
        cos, sin = math.cos(theta * frame), math.sin(theta * frame)
        back = torch.tensor([[cos, sin], [-sin, cos]]) / (1 + growth) ** frame
        frames.append(torch.einsum("ij,jhw->ihw", back, place) - place)
    return torch.stack(frames, 1)


def keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic convolution kernel of Keys 1981 with a = -0.75."""
    d, a = np.abs(distance), -0.75
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def cubic(
    texture: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A picture (3, H, W) at places in px, in [0, 1]; beyond its edge the edge goes on."""
    _, h, w = texture.shape
    x, y = x.clip(0, w - 1), y.clip(0, h - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros((len(texture), *x.shape))
    for row in range(-1, 3):
        for column in range(-1, 3):
            share = keys(y - top - row) * keys(x - left - column)
            pixel = texture[:, (top + row).clip(0, h - 1), (left + column).clip(0, w - 1)]
            total += share * pixel
    return total.clip(0, 1)


def moved(texture: Tensor, displacement: Tensor, offset: Tensor) -> NDArray[np.float64]:
    """V_t(p) = texture(p + offset + D_t(p)) of one row, (3, T, H, W), by `cubic`."""
    h, w = displacement.shape[-2:]
    where = (places(h, w)[:, None] + displacement + offset.view(2, 1, 1, 1)).double().numpy()
    return cubic(texture.double().numpy(), *where)
