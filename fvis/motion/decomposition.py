"""Clips taken apart into one texture and its displacement, without the network.

V_t = W(I, D_t): Li & Li, "Feature Visualization in 3D Convolutional Neural Networks", 2025
(arXiv 2505.07387). Rows of a batch are solved together and never depend on one another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fvis.ascent import cosine
from fvis.motion.warp import velocity, warp
from fvis.regularizers import total_variation
from fvis.schema import FitConfig
from fvis.streams import normal

FOLLOWING_PACE = 0.1  # px per Adam step while a frame is followed
FINEST = 4  # px between the displacement's free numbers
JOINT_PACE = 0.01  # RGB, and heights, per Adam step of the joint fit
REFINING_PACE = 0.03  # px, and RGB, per Adam step of the refinement


@dataclass(frozen=True)
class Decomposition:
    """Textures (B, 3, H', W') in [0, 1] and displacements (B, 2, T, H, W) px.

    `offset` (B, 2) px, [x, y], is where the frame's corner lies in the texture.
    """

    texture: Tensor
    offset: Tensor
    displacement: Tensor

    @property
    def velocity(self) -> Tensor:
        """Apparent velocity (B, 2, T - 1, H, W), px/frame."""
        return velocity(self.displacement)

    def render(self) -> Tensor:
        """The clips (B, 3, T, H, W) that the textures give as they move."""
        return warp(self.texture, self.displacement, self.offset)

    def rows(self) -> "list[Decomposition]":
        """Each row as a batch of one."""
        b = len(self.texture)
        parts = (self.texture.split(1), self.offset.split(1), self.displacement.split(1))
        return [Decomposition(*(part[row] for part in parts)) for row in range(b)]


def track(clip: Tensor, fit: FitConfig, margin: float = 0.5) -> Decomposition:
    """Follow the first frame of clips (B, 3, T, H, W) through them, then refine all together.

    D_t starts from 2 D_{t-1} - D_{t-2}. The texture reaches `margin` sides beyond the frame, and
    is filled there by what later frames bring into view.
    """
    b, _, t, h, w = clip.shape
    first = clip[:, :, 0]
    frames = [clip.new_zeros(b, 2, h, w)]
    for index in range(1, t):
        expected = 2 * frames[-1] - frames[-2] if index > 1 else frames[-1]
        frames.append(_follow(first, clip[:, :, index], expected, fit))
    canvas, offset = _surrounded(first, margin)
    return _refine(clip, Decomposition(canvas, offset, torch.stack(frames, 2)), fit)


def fit_jointly(clip: Tensor, fit: FitConfig, generators: Sequence[Generator]) -> Decomposition:
    """Texture and displacement of clips (B, 3, T, H, W) at once from noise, as in the paper.

    Minimises MSE(W(I, D), V) + joint_smoothness TV(D) + texture_smoothness TV(I) +
    anchor MSE(I, V_0), with D in frame heights. Row b starts from generator b alone.
    """
    b, c, t, h, w = clip.shape
    texture = torch.sigmoid(normal(generators, c, h, w)).to(clip).requires_grad_(True)
    heights = (0.01 * normal(generators, 2, t, h, w)).to(clip).requires_grad_(True)
    offset = clip.new_zeros(b, 2)

    def loss() -> Tensor:
        seen = warp(texture, h * heights, offset)
        error = (seen - clip).square().flatten(1).mean(1)
        drift = (texture - clip[:, :, 0]).square().flatten(1).mean(1)
        rough = fit.joint_smoothness * total_variation(heights)
        return (
            error + rough + fit.texture_smoothness * total_variation(texture) + fit.anchor * drift
        )

    _descend(loss, [texture, heights], JOINT_PACE, fit.joint_steps)
    with torch.no_grad():
        return Decomposition(texture.clamp(0, 1), offset, h * heights)


def _follow(texture: Tensor, frame: Tensor, start: Tensor, fit: FitConfig) -> Tensor:
    """The displacement (B, 2, H, W) from `start` under which `texture` looks like `frame`.

    What the texture does not show is left to smoothness.
    """
    b, _, h, w = frame.shape
    levels = _pyramid(b, 2, h, w, frame.device)
    limit = frame.new_tensor([w - 1, h - 1]).view(1, 2, 1, 1)
    places = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy")).to(frame)

    def loss() -> Tensor:
        moved = start + _sum(levels, h, w)
        seen = warp(texture, moved[:, :, None])[:, :, 0]
        source = (places + moved).detach()
        known = ((source >= 0) & (source <= limit)).all(1, keepdim=True)
        error = ((seen - frame).square() * known).flatten(1).mean(1)
        return error + fit.smoothness * _roughness(moved)

    _descend(loss, levels, FOLLOWING_PACE, fit.frame_steps)
    return (start + _sum(levels, h, w)).detach()


def _refine(clip: Tensor, start: Decomposition, fit: FitConfig) -> Decomposition:
    """Texture and displacement together, from `start`, against the whole clips."""
    b, _, t, h, w = clip.shape
    levels = _pyramid(b, 2 * t, h, w, clip.device)
    change = torch.zeros_like(start.texture, requires_grad=True)

    def current() -> Decomposition:
        moved = _sum(levels, h, w).view(b, 2, t, h, w)
        moved = moved - moved[:, :, :1]  # the texture stays where the first frame shows it
        texture = (start.texture + change).clamp(0, 1)
        return Decomposition(texture, start.offset, start.displacement + moved)

    def loss() -> Tensor:
        now = current()
        error = (now.render() - clip).square().flatten(1).mean(1)
        return error + fit.smoothness * _roughness(now.displacement)

    _descend(loss, [*levels, change], REFINING_PACE, fit.refine_steps)
    with torch.no_grad():
        return current()


def _descend(loss: Callable[[], Tensor], numbers: list[Tensor], lr: float, steps: int) -> None:
    """Move `numbers` down the rows' losses (B,) for Adam `steps` that shrink to nothing."""
    optimizer = torch.optim.Adam(numbers, lr=lr, betas=(0.8, 0.99), eps=1e-15)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * cosine(step, steps, 0.0)
        optimizer.zero_grad(set_to_none=True)
        loss().sum().backward()
        optimizer.step()


def _pyramid(b: int, channels: int, h: int, w: int, device: torch.device) -> list[Tensor]:
    """Zeros (B, C, ...) at sizes halved from 1 / FINEST down to one number a row, finest first."""
    sizes = [(1 - (-h // FINEST), 1 - (-w // FINEST))]
    while max(sizes[-1]) > 1:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return [torch.zeros(b, channels, *size, device=device, requires_grad=True) for size in sizes]


def _sum(levels: list[Tensor], h: int, w: int) -> Tensor:
    """The pyramid's levels added up at (h, w): what moves together moves as one."""
    total = levels[-1]
    for level in reversed(levels[:-1]):
        total = level + functional.interpolate(
            total, level.shape[-2:], mode="bilinear", align_corners=True
        )
    return functional.interpolate(total, (h, w), mode="bilinear", align_corners=True)


def _surrounded(first: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Frames (B, 3, H, W) with their edges drawn out by `margin` sides, and the frames' offset."""
    h, w = first.shape[-2:]
    y, x = round(margin * h), round(margin * w)
    canvas = functional.pad(first, (x, x, y, y), mode="replicate")
    return canvas, first.new_tensor([[x, y]]).expand(len(first), 2)


def _roughness(field: Tensor) -> Tensor:
    """Mean length (B,) of the spatial gradient of (B, C, ..., H, W), rounded off near zero."""
    down = field.diff(dim=-2)[..., :-1]
    right = field.diff(dim=-1)[..., :-1, :]
    return (down.square() + right.square() + 1e-6).sqrt().flatten(1).mean(1)
