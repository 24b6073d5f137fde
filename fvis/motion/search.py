"""The search for the texture and motion that excite a unit most: several starts, few finalists."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from fvis.context import Context
from fvis.motion import factored
from fvis.motion.examination import Candidates
from fvis.motion.factored import STARTS, Factored, starting_motions
from fvis.objectives import Target
from fvis.optimization import RunStage
from fvis.schema import FourierConfig, ParametrizationConfig, TextureMotionConfig
from fvis.synthesis import Attempt, Synthesizer


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

    def candidates(self, jobs: Sequence[Target], guess: Tensor, run: RunStage) -> Candidates:
        """The finalists of every row, which start from its best pilots and textures of their own.

        `guess` (B, 2) px/frame is one of the velocities to start from. A row that no finalist has
        woken is tried once more, with gradients that leak through its activation function.
        """
        settings, shape = self._settings, self._context.model.preprocessing.shape
        starts = starting_motions(guess, shape)
        starts = self._best_starts(jobs, starts, run) if settings.pilot_steps else starts[:1]
        parts, scores, stuck = [], [], [True] * len(jobs)
        for rank, start in enumerate(starts):
            attempt, moving = self.ascent(jobs, start, settings.steps, f"moving-{rank}", run)
            with torch.no_grad():
                parts.append(moving.decomposition())
            scores.append(attempt.final)
            stuck = [a and b for a, b in zip(stuck, attempt.stuck, strict=True)]
        candidates = Candidates(parts, torch.stack(scores))
        if any(stuck) and settings.rescue:
            rows = [row for row, is_stuck in enumerate(stuck) if is_stuck]
            return self._rescued(jobs, rows, starts[0], candidates, run)
        return candidates

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

    def _rescued(
        self,
        jobs: Sequence[Target],
        rows: list[int],
        start: Tensor,
        candidates: Candidates,
        run: RunStage,
    ) -> Candidates:
        """One candidate more, in which these rows have had leaking gradients."""
        attempt, moving = self.ascent(
            [jobs[row] for row in rows],
            start[rows],
            self._settings.steps,
            "moving-rescue",
            run,
            leaking=True,
        )
        scores = torch.full_like(candidates.scores[0], -torch.inf)
        scores[rows] = attempt.final
        with torch.no_grad():
            woken = moving.decomposition()
        parts = candidates.parts[0].with_rows(rows, woken)
        return Candidates([*candidates.parts, parts], torch.cat([candidates.scores, scores[None]]))

    def ascent(
        self,
        jobs: Sequence[Target],
        start: Tensor,
        steps: int,
        stage: str,
        run: RunStage,
        *,
        leaking: bool = False,
    ) -> tuple[Attempt, Factored]:
        """One ascent of textures whose motions start as `start` (B, 2, 3) says."""
        context, settings, synthesizer = self._context, self._settings, self._synthesizer
        moving = factored.build(
            self._parametrization(),
            settings.velocity,
            settings.margin,
            start,
            synthesizer.random_generators(jobs, f"texture of {stage}"),
            context.model.preprocessing.shape,
            context.device,
        )
        lr = settings.lr_scale * context.config.engine.lr
        engine = dataclasses.replace(context.config.engine, steps=steps, lr=lr)
        attempt = synthesizer.attempt(
            jobs, moving.picture, stage, run, engine=engine, purpose=stage, leaking=leaking
        )
        return attempt, moving

    def _parametrization(self) -> ParametrizationConfig:
        """The config's, with the method's own spectrum."""
        given, decay = self._context.config.parametrization, self._settings.decay
        if isinstance(given, FourierConfig) and decay is not None:
            return dataclasses.replace(given, decay=decay)
        return given
