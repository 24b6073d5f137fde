"""What the network says of the moving textures that were found for a batch of units."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from fvis.motion import tuning
from fvis.motion.confidence import confidence
from fvis.motion.controls import STRONGEST, WANTED, controls, with_wanted
from fvis.motion.decomposition import Decomposition, chosen
from fvis.motion.kinds import MOVING, NOTES, UNDIRECTED, UNMEASURED, doubt, kind_of
from fvis.motion.measures import Motion, along_axis, measure
from fvis.motion.tuning import Score
from fvis.record.motion import TuningRecord

# Clips (B, 3, T, H, W) -> scores (B,) and, where the target is a logit, all logits (B, K).
See = Callable[[Tensor], tuple[Tensor, Tensor | None]]
GREY = 0.5  # of the uniform clip from whose activation all others are counted
# A rise above grey of a smaller share of the activation may be rounding, and nothing is read in it.
LEAST_RISE = 1e-4


@dataclass(frozen=True)
class Candidates:
    """Several decompositions of a batch of B rows, and the scores (N, B) of their clips.

    `searched` (N, B) says which rows each decomposition was searched for; None: all. The others
    fill their places. `unaided` (B,), counted from grey, are the best scores before gratings.
    """

    parts: Sequence[Decomposition]
    scores: Tensor
    searched: Tensor | None = None
    unaided: Tensor | None = None

    @property
    def best(self) -> Tensor:
        """The index (B,) of each row's decomposition with the highest score."""
        scores = self.scores.nan_to_num(-torch.inf, neginf=-torch.inf)
        if self.searched is not None:
            scores = scores.masked_fill(~self.searched, -torch.inf)
        return scores.argmax(0)

    def searches(self, row: int) -> list[int]:
        """The indices of the decompositions that were searched for a row."""
        if self.searched is None:
            return list(range(len(self.parts)))
        return self.searched[:, row].nonzero().flatten().tolist()


@dataclass(frozen=True)
class Examination:
    """What is known of one unit's motion.

    Attributes:
        parts: the best decomposition, a batch of one.
        importance: |da/dV| (T, H, W) at its clip.
        motion: of that clip; no direction unless the unit needs motion in one.
        kind: see `kinds`.
        note: the kind in a few words, with the reason; None of a unit whose direction is told.
        confidence: how far the finalists agree.
        grey: the activation of a uniform mid-grey clip. All others are counted from it: a constant
            that the network adds to a unit, as a bias does, is no answer to a clip.
        activations: of the free clip (`optimal`) and of the controls, as shares of the reference:
            of the free clip's activation or the reconstruction's, whichever is higher. NaN if
            neither exceeds that of grey.
        tuning: the unit's responses to the texture as it drifts.
        classes: what each of these clips is taken for; empty unless the target is a logit.
        error: the root of the mean squared difference between reconstruction and free clip.
    """

    parts: Decomposition
    importance: Tensor
    motion: Motion
    kind: str
    note: str | None
    confidence: Mapping[str, float]
    grey: float
    activations: dict[str, float]
    classes: dict[str, int]
    tuning: TuningRecord
    error: float


def examine(
    see: See, optimal: Tensor, candidates: Candidates, generators: Sequence[Generator]
) -> list[Examination]:
    """Ask the network about the decompositions of free clips `optimal` (B, 3, T, H, W).

    Generator b draws the random controls of row b.
    """

    see, grey = above_grey(see, optimal)

    def score(clips: Tensor) -> Tensor:
        return see(clips)[0]

    best = candidates.best
    parts = chosen(candidates.parts, best)
    seen = [_gradient(score, each) for each in candidates.parts]
    with torch.no_grad():
        motions = [
            measure(each.render(), each.displacement, gradient.abs().sum(1))
            for each, (_, gradient) in zip(candidates.parts, seen, strict=True)
        ]
        shown = [motions[index][row] for row, index in enumerate(best.tolist())]
        velocity = optimal.new_tensor([motion.velocity for motion in shown])
        speed = optimal.new_tensor([motion.speed for motion in shown])
        axes = tuning.visible_axes(score, parts, velocity, speed)
        drifts = [
            _drifts(score, each, found)
            for each, found in zip(candidates.parts, motions, strict=True)
        ]
        gradient = torch.stack([seen[index][1][row] for row, index in enumerate(best.tolist())])
        versions = {"optimal": [optimal], **controls(parts, optimal, gradient, generators)}
        answers, classes = _answers(see, versions)
        errors = (parts.render() - optimal).square().flatten(1).mean(1).sqrt().tolist()
    return [
        _examination(
            one,
            (own := candidates.searches(row)).index(index),
            importance=gradient[row].abs().sum(0),
            motions=[along_axis(motions[i][row], axes[row]) for i in own],
            scores=[seen[i][0][row].item() for i in own],
            unaided=None if candidates.unaided is None else candidates.unaided[row].item(),
            grey=grey[row].item(),
            answers=with_wanted({name: values[row] for name, values in answers.items()}),
            classes={name: c[row] for name, c in classes.items() if not name.startswith(WANTED)},
            drifts=[(drifts[i][0][row].tolist(), drifts[i][1][row].tolist()) for i in own],
            error=errors[row],
        )
        for row, (index, one) in enumerate(zip(best.tolist(), parts.rows(), strict=True))
    ]


def above_grey(see: See, like: Tensor) -> tuple[See, Tensor]:
    """`see`, whose scores are counted from those of uniform mid-grey clips, and the latter (B,).

    `like` (B, 3, T, H, W) are clips of the rows.
    """
    with torch.no_grad():
        grey = see(torch.full_like(like, GREY))[0]

    def above(clips: Tensor) -> tuple[Tensor, Tensor | None]:
        scores, logits = see(clips)
        return scores - grey, logits

    return above, grey


def _examination(
    parts: Decomposition,
    best: int,
    *,
    importance: Tensor,
    motions: Sequence[Motion],
    scores: Sequence[float],
    unaided: float | None,
    grey: float,
    answers: Mapping[str, float],
    classes: dict[str, int],
    drifts: Sequence[tuple[list[float], list[list[float]]]],
    error: float,
) -> Examination:
    """What one row's numbers mean: scores become shares of the reference, and a kind."""
    better = (answers["optimal"], answers["reconstruction"])
    reference = max(filter(math.isfinite, better), default=math.nan)
    if not reference > LEAST_RISE * abs(grey):
        reference = math.nan
    activations = {name: _share(value, reference) for name, value in answers.items()}
    curves = [
        tuning.tuning(
            speeds,
            [[_share(value, reference) for value in curve] for curve in responses],
            activations["blank"],
            tuning.LEAST_SHARE,
        )
        for speeds, responses in drifts
    ]
    kept = [_share(score, reference) for score in scores]
    before = None if unaided is None else _share(unaided, reference)
    sure = confidence(motions, curves, kept, best, before)
    kind, motion = kind_of(activations), motions[best]
    note = NOTES.get(kind) if math.isfinite(reference) else UNMEASURED
    if kind == MOVING and (why := doubt(motion.direction_deg, sure, curves[best])):
        kind, note = UNDIRECTED, f"{UNDIRECTED}: {why}"
    if kind != MOVING:
        motion = replace(motion, direction_deg=None)
    return Examination(
        parts, importance, motion, kind, note, sure, grey, activations, classes, curves[best], error
    )


def _drifts(score: Score, parts: Decomposition, motions: Sequence[Motion]) -> tuple[Tensor, Tensor]:
    """Speeds (B, S) about those that were found, and the responses (B, S, D) to such drifts."""
    speeds = tuning.tuning_speeds(parts.texture.new_tensor([motion.speed for motion in motions]))
    return speeds, tuning.responses_to_drifts(score, parts, speeds)


def _gradient(score: Score, parts: Decomposition) -> tuple[Tensor, Tensor]:
    """The scores (B,) of the clips, and da/dV (B, 3, T, H, W) at them."""
    clip = parts.render().detach().requires_grad_(True)
    scores = score(clip)
    (gradient,) = torch.autograd.grad(scores.sum(), clip)
    return scores.detach(), gradient.nan_to_num(0, 0, 0)


def _answers(
    see: See, versions: Mapping[str, Sequence[Tensor]]
) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    """By the names of its clips: each row's mean score, or the strongest clip's; and its class."""
    answers, classes = {}, {}
    for name, clips in versions.items():
        seen = [see(clip) for clip in clips]
        scores = torch.stack([score for score, _ in seen])
        answers[name] = (scores.amax(0) if name in STRONGEST else scores.mean(0)).tolist()
        logits = [values for _, values in seen if values is not None]
        if logits:
            classes[name] = torch.stack(logits).mean(0).argmax(1).tolist()
    return answers, classes


def _share(value: float, reference: float) -> float:
    return value / reference
