"""Decomposition of clips into one texture and its displacement, without the network.

V_t = W(I, D_t): Li & Li, "Feature Visualization in 3D Convolutional Neural Networks", 2025
(arXiv 2505.07387). Rows of a batch are solved together and never depend on one another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fvis.motion.warp import velocity, warp
from fvis.optimization import AdamOptimization, RunStage, cosine, run_stage
from fvis.randomness import normal
from fvis.regularizers import total_variation
from fvis.schema import FitConfig

FOLLOWING_LR = 0.1  # learning rate of `Following`: px per Adam step
FINEST_SPACING = 4  # px between the free parameters of a displacement, on the finest grid
JOINT_LR = 0.01  # learning rate of the joint fit: RGB, and frame heights, per Adam step
REFINING_LR = 0.03  # learning rate of the refinement: px, and RGB, per Adam step
BETAS, EPSILON = (0.8, 0.99), 1e-15  # Adam's


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

    def drifting(self, velocity: Tensor) -> "Decomposition":
        """The same, all of it drifting besides with velocities (B, 2) px/frame."""
        time = torch.arange(self.displacement.shape[2], device=velocity.device)
        time = (time - len(time) // 2)[:, None, None]
        return replace(
            self, displacement=self.displacement - velocity[..., None, None, None] * time
        )

    def with_rows(self, rows: list[int], others: "Decomposition") -> "Decomposition":
        """A copy that has those of `others` in these rows."""
        texture, displacement = self.texture.clone(), self.displacement.clone()
        texture[rows], displacement[rows] = others.texture, others.displacement
        return Decomposition(texture, self.offset, displacement)


def chosen(candidates: Sequence[Decomposition], index: Tensor) -> Decomposition:
    """Of each row b of equally large decompositions, the one of candidate `index[b]`."""
    rows = torch.arange(len(index), device=index.device)
    columns = ("texture", "offset", "displacement")
    stacks = (torch.stack([getattr(parts, name) for parts in candidates]) for name in columns)
    return Decomposition(*(stack[index, rows] for stack in stacks))


class Descent(AdamOptimization):
    """Adam steps of `parameters` down the losses (B,) of the rows; the learning rate falls to 0.

    `loss` must give each row a loss that depends on its own row of the parameters alone.
    """

    quantity = "loss"

    def __init__(
        self, loss: Callable[[], Tensor], parameters: list[Tensor], lr: float, steps: int
    ) -> None:
        self._optimizer = torch.optim.Adam(parameters, lr=lr, betas=BETAS, eps=EPSILON)
        super().__init__(parameters, [self._optimizer], steps)
        self._loss, self._lr = loss, lr

    def _advance(self) -> Tensor:
        self._optimizer.param_groups[0]["lr"] = self._lr * cosine(self.done, self.steps, 0.0)
        self._optimizer.zero_grad(set_to_none=True)
        losses = self._loss()
        losses.sum().backward()
        self._optimizer.step()
        return losses


def track(
    clip: Tensor, fit: FitConfig, margin: float = 0.5, run: RunStage = run_stage
) -> Decomposition:
    """Follow the first frame of clips through all others, then refine texture and displacement.

    The displacement D_t starts from 2 D_{t-1} - D_{t-2}, so that constant motion is predicted.

    Args:
        clip: RGB in [0, 1], (B, 3, T, H, W).
        fit: steps and smoothness.
        margin: how far the texture reaches beyond the frame, in frame sides. It is filled there by
            what later frames bring into view.
        run: runs the stages `follow-1` to `follow-{T-1}` and `refine`.
    """
    b, _, t, h, w = clip.shape
    first = clip[:, :, 0]
    frames = [clip.new_zeros(b, 2, h, w)]
    for index in range(1, t):
        expected = 2 * frames[-1] - frames[-2] if index > 1 else frames[-1]
        follow = Following(first, clip[:, :, index], expected, fit)
        run(f"follow-{index}", follow.descent)
        frames.append(follow.displacement())
    canvas, offset = _surrounded(first, margin)
    refinement = Refinement(clip, Decomposition(canvas, offset, torch.stack(frames, 2)), fit)
    run("refine", refinement.descent)
    with torch.no_grad():
        return refinement.decomposition()


def fit_jointly(
    clip: Tensor, fit: FitConfig, generators: Sequence[Generator], run: RunStage = run_stage
) -> Decomposition:
    """Fit texture and displacement to clips at once from noise, as in the paper.

    Minimises MSE(W(I, D), V) + joint_smoothness TV(D) + texture_smoothness TV(I) +
    anchor MSE(I, V_0), with D in frame heights.

    Args:
        clip: RGB in [0, 1], (B, 3, T, H, W).
        fit: steps and weights.
        generators: one per row; row b starts from generator b alone.
        run: runs the stage `joint`.
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

    run("joint", Descent(loss, [texture, heights], JOINT_LR, fit.joint_steps))
    with torch.no_grad():
        return Decomposition(texture.clamp(0, 1), offset, h * heights)


class Following:
    """The fit of a displacement (B, 2, H, W), px, that warps a texture into one frame.

    It starts from `start`. Where it points outside the texture, only smoothness determines it.
    """

    def __init__(self, texture: Tensor, frame: Tensor, start: Tensor, fit: FitConfig) -> None:
        b, _, h, w = frame.shape
        self._texture, self._frame, self._start = texture, frame, start
        self._smoothness = fit.smoothness
        self._levels = _pyramid(b, 2, h, w, frame.device)
        self._limit = frame.new_tensor([w - 1, h - 1]).view(1, 2, 1, 1)
        grid = torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy")
        self._places = torch.stack(grid).to(frame)
        self.descent = Descent(self._loss, self._levels, FOLLOWING_LR, fit.frame_steps)

    def displacement(self) -> Tensor:
        """The displacement found so far."""
        return self._moved().detach()

    def _moved(self) -> Tensor:
        h, w = self._frame.shape[-2:]
        return self._start + _sum(self._levels, h, w)

    def _loss(self) -> Tensor:
        moved = self._moved()
        seen = warp(self._texture, moved[:, :, None])[:, :, 0]
        source = (self._places + moved).detach()
        known = ((source >= 0) & (source <= self._limit)).all(1, keepdim=True)
        error = ((seen - self._frame).square() * known).flatten(1).mean(1)
        return error + self._smoothness * _roughness(moved)


class Refinement:
    """Texture and displacement optimized together, from `start`, to match whole clips."""

    def __init__(self, clip: Tensor, start: Decomposition, fit: FitConfig) -> None:
        b, _, t, h, w = clip.shape
        self._clip, self._begun, self._smoothness = clip, start, fit.smoothness
        self._levels = _pyramid(b, 2 * t, h, w, clip.device)
        self._change = torch.zeros_like(start.texture, requires_grad=True)
        parameters = [*self._levels, self._change]
        self.descent = Descent(self._loss, parameters, REFINING_LR, fit.refine_steps)

    def decomposition(self) -> Decomposition:
        """Texture and displacement as they are now."""
        b, _, t, h, w = self._clip.shape
        moved = _sum(self._levels, h, w).view(b, 2, t, h, w)
        moved = moved - moved[:, :, :1]  # the texture stays where the first frame shows it
        texture = (self._begun.texture + self._change).clamp(0, 1)
        return Decomposition(texture, self._begun.offset, self._begun.displacement + moved)

    def _loss(self) -> Tensor:
        now = self.decomposition()
        error = (now.render() - self._clip).square().flatten(1).mean(1)
        return error + self._smoothness * _roughness(now.displacement)


def _pyramid(b: int, channels: int, h: int, w: int, device: torch.device) -> list[Tensor]:
    """Grids of zeros (B, C, h, w), the finest first, each half as large as the one before.

    The finest has a parameter every `FINEST_SPACING` px. The coarsest is 1 x 1.
    """
    sizes = [(1 - (-h // FINEST_SPACING), 1 - (-w // FINEST_SPACING))]
    while max(sizes[-1]) > 1:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return [torch.zeros(b, channels, *size, device=device, requires_grad=True) for size in sizes]


def _sum(levels: list[Tensor], h: int, w: int) -> Tensor:
    """The sum of all grids, upsampled to (h, w): coarse grids move large parts together."""
    total = levels[-1]
    for level in reversed(levels[:-1]):
        total = level + functional.interpolate(
            total, level.shape[-2:], mode="bilinear", align_corners=True
        )
    return functional.interpolate(total, (h, w), mode="bilinear", align_corners=True)


def _surrounded(first: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Frames padded with their edge pixels by `margin` frame sides, and the offset (B, 2) px."""
    h, w = first.shape[-2:]
    y, x = round(margin * h), round(margin * w)
    canvas = functional.pad(first, (x, x, y, y), mode="replicate")
    return canvas, first.new_tensor([[x, y]]).expand(len(first), 2)


def _roughness(field: Tensor) -> Tensor:
    """Mean length (B,) of the spatial gradient of fields (B, C, ..., H, W), smooth at zero."""
    down = field.diff(dim=-2)[..., :-1]
    right = field.diff(dim=-1)[..., :-1, :]
    return (down.square() + right.square() + 1e-6).sqrt().flatten(1).mean(1)
