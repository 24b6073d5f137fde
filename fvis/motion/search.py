"""The search for the texture and motion that excite a unit most: several starts, few finalists."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from fvis.context import Context
from fvis.motion import factored
from fvis.motion.decomposition import chosen
from fvis.motion.examination import Candidates, See, above_grey
from fvis.motion.factored import STARTS, Factored, starting_motions
from fvis.motion.tuning import SLOWEST, best_drift, best_grating
from fvis.objectives import Target
from fvis.optimization import RunStage
from fvis.schema import PARAMETRIZATIONS, FourierConfig, ParametrizationConfig, TextureMotionConfig
from fvis.synthesis import Attempt, Synthesizer

# Lends the network, for questions about jobs.
Seeing = Callable[[Sequence[Target]], AbstractContextManager[See]]
GAIN = 0.1  # a drift must excite so much more than an even motion, or it is not pursued
OTHERWISE = 0.15  # of the speed; a grating whose velocity differs by less is not pursued
EXPLAINED = 0.8  # of the free clip's activation, without which no grating is pursued
EVEN = 0.98  # |mean velocity| / mean speed; what moves less as one is uneven


class MotionSearch:
    """Ascents of moving textures: short ones from many motions, long ones from the best of them."""

    def __init__(
        self, context: Context, settings: TextureMotionConfig, synthesizer: Synthesizer
    ) -> None:
        self._context, self._settings, self._synthesizer = context, settings, synthesizer

    @property
    def steps(self) -> int:
        """Steps of all stages, as far as they are known beforehand."""
        settings = self._settings
        pilots = STARTS * settings.pilot_steps
        return pilots + (settings.finalists if pilots else 1) * settings.steps

    def candidates(
        self,
        jobs: Sequence[Target],
        guess: Tensor,
        run: RunStage,
        seeing: Seeing,
        free: Tensor | None = None,
    ) -> Candidates:
        """The finalists of every row, which start from its best pilots and textures of their own.

        `guess` (B, 2) px/frame is one of the velocities to start from; `seeing` asks the network.
        Units that the `free` clips (B, 3, T, H, W) excite far more are not asked about gratings.
        A row that no finalist has woken is tried once more, with gradients that leak through its
        activation function; so is one whose texture excites more as it drifts otherwise.
        """
        settings, shape = self._settings, self._context.model.preprocessing.shape
        starts = starting_motions(guess, shape)
        starts = self._best_starts(jobs, starts, run) if settings.pilot_steps else starts[:1]
        found = [
            self.ascent(jobs, start, settings.steps, f"moving-{rank}", run)
            for rank, start in enumerate(starts)
        ]
        attempts, finalists = zip(*found, strict=True)
        with torch.no_grad():
            parts = [moving.decomposition() for moving in finalists]
        candidates = Candidates(parts, torch.stack([attempt.final for attempt in attempts]))
        if settings.rescue:
            unwoken = [all(each) for each in zip(*(a.unwoken for a in attempts), strict=True)]
            rows = [row for row, is_asleep in enumerate(unwoken) if is_asleep]
            candidates = self._with_another(
                candidates, "moving-rescue", jobs, rows, starts[0], run, leaking=True
            )
        candidates = self._redirected(jobs, candidates, finalists, run, seeing)
        return self._from_gratings(jobs, candidates, free, run, seeing)

    def _redirected(
        self,
        jobs: Sequence[Target],
        candidates: Candidates,
        finalists: Sequence[Factored],
        run: RunStage,
        seeing: Seeing,
    ) -> Candidates:
        """Adds a candidate for rows whose texture excites more when it drifts otherwise, or rests.

        An ascent that settles on a wrong motion seldom leaves it, though its texture may be right:
        that texture goes on from the uniform motion in which it excites the unit most. An uneven
        motion must excite clearly more than a uniform one, or that is pursued too. Both are one
        search with one texture, of which only the better end counts.
        """
        with seeing(jobs) as see, torch.no_grad():
            above, grey = above_grey(see, candidates.parts[0].render())
            drifts = [
                best_drift(lambda clips: above(clips)[0], moving.decomposition())
                for moving in finalists
            ]
        responses = torch.stack([response for response, _ in drifts])
        best, each = responses.argmax(0), torch.arange(len(jobs), device=responses.device)
        reached = candidates.scores.nan_to_num(-torch.inf).amax(0) - grey
        gain = torch.where(_evenness(candidates) < EVEN, -GAIN, GAIN)
        better = responses[best, each] > reached + gain * reached.abs()
        uniform = torch.stack([velocity for _, velocity in drifts])[best, each]
        start = torch.cat([uniform.new_zeros(len(jobs), 2, 2), uniform[..., None]], 2)
        numbers = zip(*(moving.texture.parameters for moving in finalists), strict=True)
        textures = [torch.stack(same).detach()[best, each] for same in numbers]
        rows = better.nonzero().flatten().tolist()
        found = self._with_another(
            candidates, "moving-redirected", jobs, rows, start, run, textures=textures
        )
        return _without_worse(found, rows, best)

    def _from_gratings(
        self,
        jobs: Sequence[Target],
        candidates: Candidates,
        free: Tensor | None,
        run: RunStage,
        seeing: Seeing,
    ) -> Candidates:
        """Adds a candidate for rows that move, and that a drifting grating excites clearly more.

        It goes on from that grating. One that moves otherwise than the row's best is pursued where
        it excites about as much. Both are one search, of which only the better end counts. Where
        the free clip excites far more, no moving texture explains the unit, and none is pursued.
        """
        if self._synthesizer.targets.readers[0].index is not None:
            return candidates  # it sees a part of the clip, of which a grating would fill all
        if self._context.config.parametrization.name not in PARAMETRIZATIONS:
            return candidates  # one of another package may not take textures to start from
        best = candidates.best
        each = torch.arange(len(jobs), device=best.device)
        with seeing(jobs) as see, torch.no_grad():
            parts = chosen(candidates.parts, best)
            above, grey = above_grey(see, parts.render())
            responses, gratings, velocity = best_grating(lambda clips: above(clips)[0], parts)
            reached = candidates.scores[best, each] - grey
            least = -torch.inf if free is None else EXPLAINED * above(free)[0]
        before = parts.velocity.flatten(2).mean(2)
        speed = before.norm(dim=1)
        otherwise = (velocity - before).norm(dim=1) > OTHERWISE * speed
        gain = torch.where(otherwise, -GAIN, GAIN)
        pursued = responses > reached + gain * reached.abs()
        pursued &= (speed > SLOWEST) & (reached > least)
        rows = pursued.nonzero().flatten().tolist()
        start = torch.cat([velocity.new_zeros(len(jobs), 2, 2), velocity[..., None]], 2)
        found = self._with_another(
            candidates, "moving-grating", jobs, rows, start, run, pictures=gratings.texture
        )
        return dataclasses.replace(_without_worse(found, rows, best), unaided=reached)

    def _best_starts(
        self, jobs: Sequence[Target], starts: Sequence[Tensor], run: RunStage
    ) -> list[Tensor]:
        """Where each row's best pilots have got to, the best first."""
        scores, ends = [], []
        for index, start in enumerate(starts):
            attempt, moving = self.ascent(
                jobs, start, self._settings.pilot_steps, f"pilot-{index}", run
            )
            scores.append(attempt.final)
            ends.append(moving.motion)
        found = torch.stack(scores).nan_to_num(-torch.inf)
        order = found.argsort(stable=True, dim=0, descending=True)
        rows = torch.arange(len(jobs), device=order.device)
        return [torch.stack(ends)[ranked, rows] for ranked in order[: self._settings.finalists]]

    def _with_another(
        self,
        candidates: Candidates,
        stage: str,
        jobs: Sequence[Target],
        rows: list[int],
        start: Tensor,
        run: RunStage,
        *,
        textures: Sequence[Tensor] = (),
        pictures: Tensor | None = None,
        leaking: bool = False,
    ) -> Candidates:
        """Adds a candidate, if there are `rows`: an ascent of these from their `start`."""
        if not rows:
            return candidates
        attempt, moving = self.ascent(
            [jobs[row] for row in rows],
            start[rows],
            self._settings.steps,
            stage,
            run,
            textures=[numbers[rows] for numbers in textures],
            pictures=None if pictures is None else pictures[rows],
            leaking=leaking,
        )
        scores = candidates.scores[0].clone()
        searched = torch.zeros_like(scores, dtype=torch.bool)
        scores[rows], searched[rows] = attempt.final, True
        with torch.no_grad():
            found = moving.decomposition()
        before = candidates.searched
        if before is None:
            before = torch.ones_like(candidates.scores, dtype=torch.bool)
        return Candidates(
            [*candidates.parts, candidates.parts[0].with_rows(rows, found)],
            torch.cat([candidates.scores, scores[None]]),
            torch.cat([before, searched[None]]),
        )

    def ascent(
        self,
        jobs: Sequence[Target],
        start: Tensor,
        steps: int,
        stage: str,
        run: RunStage,
        *,
        textures: Sequence[Tensor] = (),
        pictures: Tensor | None = None,
        leaking: bool = False,
    ) -> tuple[Attempt, Factored]:
        """One ascent of textures whose motions start as `start` (B, 2, 3) says.

        `textures` are the parameters to start from, or `pictures` what the textures show; without
        either, they are drawn at random.
        """
        context, settings, synthesizer = self._context, self._settings, self._synthesizer
        height, width = synthesizer.canvas.shape[-2:]
        moving = factored.build(
            self._parametrization(),
            settings.velocity,
            settings.margin,
            start,
            synthesizer.random_generators(jobs, f"texture of {stage}"),
            synthesizer.canvas.frame,
            (height, width),
            context.device,
            pictures,
        )
        with torch.no_grad():
            for parameter, numbers in zip(moving.texture.parameters, textures, strict=False):
                parameter.copy_(numbers)
        lr = settings.lr_scale * context.config.engine.lr
        engine = dataclasses.replace(context.config.engine, steps=steps, lr=lr)
        picture = moving.picture(settings.mirror_steps)
        attempt = synthesizer.attempt(
            jobs, picture, stage, run, engine=engine, purpose=stage, leaking=leaking
        )
        return attempt, moving

    def _parametrization(self) -> ParametrizationConfig:
        """The config's, with the method's own spectrum."""
        given, decay = self._context.config.parametrization, self._settings.decay
        if isinstance(given, FourierConfig) and decay is not None:
            return dataclasses.replace(given, decay=decay)
        return given


def _without_worse(candidates: Candidates, rows: Sequence[int], best: Tensor) -> Candidates:
    """The candidates, of which only the better one counts in `rows`: the last, or `best` (B,)."""
    for row in rows:
        assert candidates.searched is not None, "not all rows were searched for again"
        gained = candidates.scores[-1, row] > candidates.scores[best[row], row]
        candidates.searched[best[row] if gained else -1, row] = False
    return candidates


def _evenness(candidates: Candidates) -> Tensor:
    """|mean velocity| / mean speed (B,) of each row's best candidate; 1 for one that stands."""
    velocity = chosen(candidates.parts, candidates.best).velocity.flatten(2)
    speed = velocity.norm(dim=1).mean(1)
    evenness = velocity.mean(2).norm(dim=1) / speed.clamp_min(SLOWEST)
    return torch.where(speed < SLOWEST, torch.ones_like(speed), evenness)
