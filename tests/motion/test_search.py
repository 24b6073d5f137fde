"""Every row starts from its own best pilots; what no finalist wakes is tried once more."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from fvis.motion.examination import See
from fvis.motion.factored import STARTS, Factored
from fvis.motion.search import MotionSearch
from fvis.objectives import Target
from fvis.optimization import Optimization
from fvis.schema import TextureMotionConfig
from fvis.synthesis import Attempt, Synthesizer
from tests.methods.test_texture_motion import context


def searching(**settings: Any) -> tuple[MotionSearch, list[Any]]:
    given = context(units=[0, 3])
    config = TextureMotionConfig(steps=4, pilot_steps=2, finalists=2, **settings)
    synthesizer = Synthesizer(given, config)
    return MotionSearch(given, config, synthesizer), list(synthesizer.targets.targets)


def plainly(_: str, optimization: Optimization) -> None:
    optimization.run()


@contextlib.contextmanager
def unmoved(jobs: Sequence[Target]) -> Iterator[See]:
    """No drift excites what is asked here."""
    yield lambda clips: (torch.full((len(clips),), -1e9), None)


def test_the_steps_are_those_of_all_stages() -> None:
    search, jobs = searching()
    ran: dict[str, int] = {}

    def run(stage: str, optimization: Optimization) -> None:
        optimization.run()
        ran[stage] = ran.get(stage, 0) + optimization.done

    candidates = search.candidates(jobs, torch.zeros(2, 2), run, unmoved)
    assert sum(ran.values()) == search.steps == STARTS * 2 + 2 * 4
    assert list(ran)[-2:] == ["moving-0", "moving-1"]
    assert len(candidates.parts) == 2
    assert candidates.scores.shape == (2, 2)


def test_each_row_goes_on_from_its_own_best_pilots(monkeypatch: pytest.MonkeyPatch) -> None:
    search, jobs = searching()
    starts: dict[str, Tensor] = {}
    ascent = MotionSearch.ascent

    def scored(self: MotionSearch, *arguments: Any, **named: Any) -> tuple[Attempt, Factored]:
        _, start, _, stage, _ = arguments
        starts[stage] = start
        attempt, moving = ascent(self, *arguments, **named)
        kind, _, index = stage.partition("-")
        if kind == "pilot":  # row 0 likes rotation best, then up; row 1 up, then rotation
            order = {7: (9.0, 8.0), 2: (8.0, 9.0)}.get(int(index), (0.0, float("nan")))
            attempt.final.copy_(torch.tensor(order))
        return attempt, moving

    monkeypatch.setattr(MotionSearch, "ascent", scored)
    search.candidates(jobs, torch.zeros(2, 2), plainly, unmoved)
    curl = [starts[f"moving-{rank}"][:, 1, 0] for rank in (0, 1)]
    rate = starts["pilot-7"][0, 1, 0]
    assert rate > 0
    for rank, turning, other in ((0, 0, 1), (1, 1, 0)):
        assert curl[rank][turning] == pytest.approx(rate.item(), rel=0.5)
        assert curl[rank][other].abs() < 0.5 * rate


def test_without_pilots_the_guess_is_the_only_start() -> None:
    given = context(units=[0])
    config = TextureMotionConfig(steps=3, pilot_steps=0, finalists=3)
    synthesizer = Synthesizer(given, config)
    search = MotionSearch(given, config, synthesizer)
    stages: list[str] = []

    def run(stage: str, optimization: Optimization) -> None:
        stages.append(stage)
        optimization.run()

    jobs = list(synthesizer.targets.targets)
    candidates = search.candidates(jobs, torch.tensor([[1.0, 0.0]]), run, unmoved)
    assert stages == ["moving-0"]
    assert search.steps == 3
    assert candidates.parts[0].velocity[:, 0].mean().item() == pytest.approx(1, abs=0.5)


def test_rows_that_no_finalist_wakes_get_leaking_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search, jobs = searching()
    ascent, leaked = MotionSearch.ascent, []

    def stuck(self: MotionSearch, *arguments: Any, **named: Any) -> tuple[Attempt, Factored]:
        attempt, moving = ascent(self, *arguments, **named)
        if named.get("leaking"):
            leaked.append([job.unit for job in arguments[0]])
            attempt.final.fill_(1e6)
        else:
            attempt.unwoken[-1] = True  # the last row's
        return attempt, moving

    monkeypatch.setattr(MotionSearch, "ascent", stuck)
    candidates = search.candidates(jobs, torch.zeros(2, 2), plainly, unmoved)
    assert leaked == [[3]]
    assert candidates.best[1] == 2, "the rescued one"
    assert candidates.best[0] < 2
    assert candidates.searches(0) == [0, 1], "the other row was not tried again"
    assert candidates.searches(1) == [0, 1, 2]


def test_a_texture_that_excites_more_at_rest_goes_on_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search, jobs = searching()
    ascent, ends, again = MotionSearch.ascent, [], []

    def watched(self: MotionSearch, *arguments: Any, **named: Any) -> tuple[Attempt, Factored]:
        attempt, moving = ascent(self, *arguments, **named)
        if arguments[3] == "moving-redirected":
            again.append((arguments[0], arguments[1], named["textures"]))
        elif arguments[3].startswith("moving"):
            ends.append([numbers.detach().clone() for numbers in moving.texture.parameters])
        return attempt, moving

    @contextlib.contextmanager
    def wanting_rest(asked: Sequence[Target]) -> Iterator[See]:
        """The first row's unit is excited by clips that stand, and most by the first finalist's."""
        assert list(asked) == jobs
        seen: list[int] = []

        def see(clips: Tensor) -> tuple[Tensor, Tensor | None]:
            stands = clips.diff(dim=2).abs().amax((1, 2, 3, 4)) < 1e-4
            stands[1] = False
            seen.append(1)
            return torch.where(stands, 1e6 - len(seen), -1e9), None

        yield see

    monkeypatch.setattr(MotionSearch, "ascent", watched)
    candidates = search.candidates(jobs, torch.tensor([[1.0, 0.0]] * 2), plainly, wanting_rest)
    ((rows, start, textures),) = again
    assert rows == jobs[:1]
    assert (start == 0).all() and start.shape == (1, 2, 3)
    for numbers, end in zip(textures, ends[0], strict=True):
        assert torch.equal(numbers, end[:1]), "the texture that was found"
    before, after = candidates.scores[0, 0], candidates.scores[2, 0]
    assert candidates.searches(0) == ([1, 2] if after > before else [0, 1]), "one search, one end"
    assert candidates.searches(1) == [0, 1]
