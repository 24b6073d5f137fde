"""The output files of one unit's texture and motion."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fvis.artifacts import Writer, clip_writers, write_npz, write_png
from fvis.motion.colours import motion_clip, speed_scale
from fvis.motion.decomposition import Decomposition
from fvis.motion.summary import Summary, write_summary
from fvis.record.motion import NaturalRecord, TuningRecord
from fvis.schema import OutputConfig

NAMES = {"optimal": "free clip"}  # what figures call a clip that files call by an older name
GAP = 4  # px of white between clips that are placed side by side


@dataclass(frozen=True)
class Portrait:
    """The data of one unit's files.

    Attributes:
        title: title of the summary figure.
        optimal: the optimal clip (3, T, H, W) in [0, 1].
        parts: texture and displacement, a batch of one.
        importance: (T, H, W), not negative: how much each pixel matters to the unit.
        activations: name -> share of the reference's activation, as in metadata.json.
        tuning: the unit's responses to the texture as it drifts.
        natural: the unit's tuning to drifting photographs.
        direction_deg: of the motion; None if none may be told.
        spread_deg: by how much the directions of the finalists deviate.
        axis_deg: the only axis along which the unit sees motion; None if it sees it along all.
        note: stands in place of arrows and directions, if they would say what is not so.
    """

    title: str
    optimal: Tensor
    parts: Decomposition
    importance: Tensor
    activations: Mapping[str, float]
    tuning: TuningRecord = field(default_factory=TuningRecord)
    natural: NaturalRecord | None = None
    direction_deg: float | None = None
    spread_deg: float = 0.0
    axis_deg: float | None = None
    note: str = ""


def writers(portrait: Portrait, output: OutputConfig) -> dict[str, Writer]:
    """Writers by file name: clips as GIF (and MP4), texture.png, summary.png and flow.npz."""
    parts = trimmed(portrait.parts)
    reconstruction = parts.render()[0]
    velocity = along(parts.velocity[0], portrait.axis_deg)
    motion = motion_clip(velocity, speed_scale(velocity), arrows=not portrait.note)
    clips = {
        "optimal": portrait.optimal,
        "reconstruction": reconstruction,
        "motion": motion,
        "side_by_side": side_by_side([portrait.optimal, reconstruction, motion]),
    }
    files: dict[str, Writer] = {}
    for name, clip in clips.items():
        files |= clip_writers(name, clip, output)
    weight = (portrait.importance[1:] + portrait.importance[:-1]) / 2
    summary = Summary(
        title=portrait.title,
        texture=parts.texture[0],
        offset=parts.offset[0],
        velocity=velocity,
        weight=weight,
        frames=reconstruction,
        activations={NAMES.get(name, name): a for name, a in portrait.activations.items()},
        tuning=portrait.tuning,
        natural=portrait.natural.tuning if portrait.natural else TuningRecord(),
        direction_deg=portrait.direction_deg,
        spread_deg=portrait.spread_deg,
        note=portrait.note,
    )
    arrays = {
        "texture": parts.texture[0],
        "offset": parts.offset[0],
        "displacement": parts.displacement[0],
        "velocity": parts.velocity[0],
        "optimal": portrait.optimal,
    }
    numbers = {key: value.float().cpu().numpy().astype(np.float32) for key, value in arrays.items()}
    files["texture.png"] = functools.partial(write_png, rgb=parts.texture[0])
    files["summary.png"] = functools.partial(write_summary, unit=summary)
    files["flow.npz"] = functools.partial(write_npz, arrays=numbers)
    return files


def along(velocity: Tensor, axis_deg: float | None) -> Tensor:
    """The part of a velocity (2, ...) along an axis, if there is one: across it nothing is seen.

    >>> [round(v, 3) for v in along(torch.tensor([1.0, -3.0]), 90.0).tolist()]
    [0.0, -3.0]
    """
    if axis_deg is None:
        return velocity
    angle = math.radians(axis_deg)
    axis = velocity.new_tensor([math.cos(angle), -math.sin(angle)])
    axis = axis.view(2, *[1] * (velocity.dim() - 1))
    return (velocity * axis).sum(0) * axis


def trimmed(parts: Decomposition) -> Decomposition:
    """Crop the texture to the part that is in view in some frame; `parts` is a batch of one."""
    assert len(parts.texture) == 1, "trim one row at a time: their textures get different sizes"
    h, w = parts.displacement.shape[-2:]
    size = parts.texture.shape[-2:]
    spans = []
    for axis, (frame, canvas) in enumerate(((w, size[1]), (h, size[0]))):
        place = torch.arange(frame, device=parts.displacement.device)
        place = place if axis == 0 else place[:, None]
        seen = parts.displacement[0, axis] + place + parts.offset[0, axis]
        # Bicubic interpolation reads one pixel more on each side.
        first, last = int(seen.min().floor()) - 1, int(seen.max().ceil()) + 1
        spans.append((min(max(first, 0), canvas - 1), max(min(last, canvas - 1), 0) + 1))
    (left, right), (top, bottom) = spans
    corner = parts.offset.new_tensor([[left, top]])
    texture = parts.texture[:, :, top:bottom, left:right]
    return Decomposition(texture, parts.offset - corner, parts.displacement)


def side_by_side(clips: list[Tensor]) -> Tensor:
    """Place clips (3, T, H, W) side by side.

    All are enlarged to the height of the tallest, and hold their last frame until the longest ends.
    """
    height = max(clip.shape[2] for clip in clips)
    frames = max(clip.shape[1] for clip in clips)
    shown = []
    for clip in clips:
        clip = torch.cat([clip, clip[:, -1:].expand(-1, frames - clip.shape[1], -1, -1)], 1).cpu()
        scale = height / clip.shape[2]
        size = (height, round(scale * clip.shape[3]))
        shown += [functional.interpolate(clip.transpose(0, 1), size).transpose(0, 1)]
        shown += [torch.ones(3, frames, height, GAP)]
    return torch.cat(shown[:-1], 3)
