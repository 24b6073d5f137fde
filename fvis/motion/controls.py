"""Control clips, which separate what a unit owes to the texture from what it owes to the motion."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from fvis.motion.decomposition import Decomposition
from fvis.motion.warp import warp
from fvis.randomness import normal

TINY = 1e-30  # keeps 0/0 of a clip without contrast at 0
WANTED = "wanted"  # the clip that the gradient asks for; see `with_wanted`
DRAWS = 4  # clips per random control; their activations are averaged
STRONGEST = ("flicker", "appears")  # controls of several clips, of which the strongest counts
PERIODS = (2, 3, 4, 6, 8)  # frames in which contrast that reverses is back where it was


def controls(
    parts: Decomposition, optimal: Tensor, gradient: Tensor, generators: Sequence[Generator]
) -> dict[str, list[Tensor]]:
    """The control clips of decompositions and of free clips `optimal` (B, 3, T, H, W), by name.

    `gradient` is that of the score at the decompositions' clips: the change that raises it most.

    Each is (B, 3, T, H, W) in [0, 1].

    `reconstruction`: the moving texture itself. `static`: its middle frame, repeated;
    `held`: that of the free clip. `reversed`: played backwards. `mirrored`: flipped left to right.
    `shuffled`: its frames in random order.
    `retextured`: a texture with the same amplitude spectrum and random phases, moved the same way.
    `blank`: the middle frame's mean colour.
    `flicker`: the separable clips, one pattern in place whose contrast has one course in time, that
    are nearest to the reconstruction and to the free clip (see `separable`), and the middle frame
    with contrast that reverses again and again: units of any change respond to that most of all.
    `appears`: the same patterns, whose contrast changes but once.
    `wanted`, `wanted flicker`, `wanted appears`: the gradient as a clip, and what is nearest to it.

    `shuffled` and `retextured` are random. Each has `DRAWS` clips, whose row b is drawn by
    generator b. Of those in `STRONGEST` the one counts that excites its unit most.
    """
    clip = parts.render()
    middle = clip.shape[2] // 2
    still = clip[:, :, middle : middle + 1]
    blank = still.mean((3, 4), keepdim=True)
    wanted = gradient / gradient.abs().amax((1, 2, 3, 4), keepdim=True).clamp_min(TINY)
    constant = torch.ones_like(wanted[:, :1, :, :1, :1])
    separated = [(*separable(clip), clip), (*separable(optimal), optimal)]
    pattern, course = separable(wanted)[1:]
    return {
        "reconstruction": [clip],
        "static": [still.expand_as(clip)],
        "held": [optimal[:, :, middle : middle + 1].expand_as(optimal)],
        "reversed": [clip.flip(2)],
        "mirrored": [clip.flip(4)],
        "shuffled": [_shuffled(clip, generators) for _ in range(DRAWS)],
        "retextured": [
            warp(_rephased(parts.texture, generators), parts.displacement, parts.offset)
            for _ in range(DRAWS)
        ],
        "blank": [blank.expand_as(clip)],
        "flicker": [
            *(in_place(*parted) for parted in separated),
            *(in_place(blank, still - blank, course, clip) for course in _reversals(clip)),
        ],
        "appears": [
            in_place(mean, pattern, _step(course), like)
            for mean, pattern, course, like in separated
        ],
        WANTED: [in_place(blank, wanted, constant, clip)],
        f"{WANTED} flicker": [in_place(blank, pattern, course, clip)],
        f"{WANTED} appears": [in_place(blank, pattern, _step(course), clip)],
    }


def with_wanted(answers: Mapping[str, float]) -> dict[str, float]:
    """The answers to the controls, those to the gradient's clips taken into account.

    The gradient has no grain that the unit does not see, and excites it more at the same contrast
    than a reconstruction. So its separable clips count by what they keep of its own activation.
    """
    found = {name: answer for name, answer in answers.items() if not name.startswith(WANTED)}
    kept = found["reconstruction"]
    whole = max(answers[WANTED], kept)
    for name in STRONGEST:
        if whole > 0:
            found[name] = max(found[name], kept * answers[f"{WANTED} {name}"] / whole)
    return found


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


def separable(clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best approximation of clips (B, 3, T, H, W) by a pattern with one course in time.

    A unit that is excited as much by it needs no motion: what moves cannot be separated into space
    and time (Adelson & Bergen 1985, "Spatiotemporal energy models for the perception of motion").

    Returns:
        mean colours (B, 3, 1, 1, 1), patterns (B, 3, 1, H, W) and courses (B, 1, T, 1, 1) of length
        1, whose product with the pattern, plus the mean, is the approximation.
    """
    mean = clips.mean((2, 3, 4), keepdim=True)
    away = (clips - mean).transpose(1, 2).flatten(2)  # (B, T, 3 H W)
    _, courses = torch.linalg.eigh(away @ away.transpose(1, 2))
    course = courses[:, :, -1]
    pattern = torch.einsum("bt,btp->bp", course, away).view(len(clips), 3, 1, *clips.shape[-2:])
    return mean, pattern, course[:, None, :, None, None]


def in_place(mean: Tensor, pattern: Tensor, course: Tensor, like: Tensor) -> Tensor:
    """The clips (B, 3, T, H, W) of patterns with courses, of the same contrast as clips `like`.

    Mean, pattern and course are as `separable` gives them. The contrast is the standard deviation.
    """
    away = pattern * course
    scale = _contrast(like) / _contrast(away).clamp_min(TINY)
    return (mean + away * scale).clamp(0, 1)


def _contrast(clips: Tensor) -> Tensor:
    """The standard deviations (B, 1, 1, 1, 1) of clips about the mean colours of their channels."""
    away = clips - clips.mean((2, 3, 4), keepdim=True)
    return away.square().mean((1, 2, 3, 4), keepdim=True).sqrt()


def _step(course: Tensor) -> Tensor:
    """The course (B, 1, T, 1, 1) that changes but once, from one level to another, most like it.

    Both levels are those of the course's mean before and after.
    """
    flat = course.flatten(1)
    t = flat.shape[1]
    before = flat.cumsum(1)[:, :-1] / torch.arange(1, t, device=flat.device)
    after = flat.flip(1).cumsum(1).flip(1)[:, 1:] / torch.arange(t - 1, 0, -1, device=flat.device)
    frame = torch.arange(t, device=flat.device)
    steps = torch.where(frame <= frame[:-1, None], before[..., None], after[..., None])
    best = (steps - flat[:, None]).square().sum(2).argmin(1)
    return steps[torch.arange(len(flat), device=flat.device), best].view_as(course)


def _reversals(clip: Tensor) -> list[Tensor]:
    """Courses (1, 1, T, 1, 1) of contrast that reverses: cosines and sines of `PERIODS`."""
    turns = 2 * math.pi * torch.arange(clip.shape[2]).to(clip).view(1, 1, -1, 1, 1)
    waves = [wave(turns / period) for period in PERIODS for wave in (torch.cos, torch.sin)]
    return [course for course in waves if course.abs().max() > 0.5]  # not the sine of 2 frames


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
