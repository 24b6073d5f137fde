"""Replayed steps are the steps themselves: what a graph freezes changes no picture."""

import contextlib
import itertools
import logging
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fvis import ascent as ascents
from fvis.ascent import Ascent, Penalty
from fvis.coarse import CoarseViews
from fvis.compose import compose
from fvis.context import prepare
from fvis.errors import RequestError
from fvis.graph import WARM_UP, CudaGraphs
from fvis.methods import METHODS
from fvis.optimization import run_stage
from fvis.parametrizations import PARAMETRIZATIONS, Parametrization
from fvis.progress import LastScore
from fvis.randomness import random_generator
from fvis.regularizers import l2, total_variation
from fvis.schema import PARAMETRIZATIONS as CONFIGS
from fvis.schema import EngineConfig, TransformsConfig, parse
from fvis.transforms import Transforms

CPU = torch.device("cpu")
STEPS = 20
VIEWS = TransformsConfig(
    views=2, crop=[0.5, 1.0], rotate=5, flip=True, noise=0.1, gain=0.1, offset=0.1,
    time_scale=0.1, settle=0.3, settle_noise=0.5,
)  # fmt: skip
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")


class Frozen:
    """Does captured work again with all its Python numbers as they were: no more than CUDA does."""

    def __init__(self) -> None:
        self.captures = 0

    def aside(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def capture(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.captures += 1
        return work


class Failing(Frozen):
    """Cannot capture."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def capture(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise self._error


class Spoiling(Frozen):
    """Gives a score that is no number from one of its captures on, the first being 0."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self._first = first

    def capture(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.captures += 1
        if self.captures <= self._first:
            return work
        return lambda: work().index_fill(0, torch.tensor(0), math.nan)


def ascent_of(
    name: str = "fourier",
    shape: tuple[int, ...] = (3, 12, 12),
    device: torch.device = CPU,
    *,
    periodic: bool = False,
    coarse: bool = False,
) -> tuple[Parametrization, Ascent]:
    generators = [random_generator(row) for row in range(2)]
    views: Transforms | CoarseViews = Transforms(
        VIEWS, generators, STEPS, shape, device, periodic=periodic
    )
    if coarse:
        views = CoarseViews(views, (7, 8), STEPS // 2)
    picture = PARAMETRIZATIONS[name](CONFIGS[name](), generators, shape, device)
    kernels = torch.randn(4, *shape, generator=random_generator("kernels")).to(device)

    def score(rgb: Tensor) -> Tensor:
        h, w = rgb.shape[-2:]
        return (kernels[..., :h, :w] * rgb).flatten(1).sum(1)

    pulls = [Penalty(0.1, total_variation), Penalty(0.05, l2)]
    engine = EngineConfig(steps=STEPS, log_every=3, graph=False)
    return picture, Ascent(picture, score, views, pulls, engine)


def same(one: tuple[Parametrization, Ascent], other: tuple[Parametrization, Ascent]) -> bool:
    """Whether two ascents end at the same bytes, by the same ones."""
    pairs = zip(one[0].parameters, other[0].parameters, strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one[1].trace.rows() == other[1].trace.rows()


@pytest.mark.parametrize(
    ("shape", "periodic"), [((3, 12, 12), False), ((3, 11, 13), True), ((3, 4, 12, 12), False)]
)
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_replayed_steps_give_the_bytes_of_the_plain_loop(
    name: str, shape: tuple[int, ...], periodic: bool
) -> None:
    plain = ascent_of(name, shape, periodic=periodic)
    plain[1].run()
    replayed, graphs = ascent_of(name, shape, periodic=periodic), Frozen()
    replayed[1].replay(graphs, required=True)
    replayed[1].run()
    assert same(plain, replayed)
    assert graphs.captures == 2, "of the views, and of those that have settled"


def test_coarse_views_are_replayed_apart_from_the_others() -> None:
    plain, replayed, graphs = ascent_of(coarse=True), ascent_of(coarse=True), Frozen()
    plain[1].run()
    replayed[1].replay(graphs, required=True)
    replayed[1].run()
    assert same(plain, replayed)
    assert graphs.captures == 3, "of coarse views, of the picture's own, and of settled ones"


@pytest.mark.parametrize("stop", [1, WARM_UP + 1, STEPS - 2])
def test_a_replayed_ascent_goes_on_from_its_state(stop: int) -> None:
    whole, begun, resumed = (ascent_of() for _ in range(3))
    for _, one in (whole, begun, resumed):
        one.replay(Frozen(), required=True)
    whole[1].run()
    for _ in range(stop):
        begun[1].step()
    resumed[1].load_state_dict(begun[1].state_dict())
    resumed[1].run()
    assert same(whole, resumed)


@pytest.mark.parametrize("frozen", [False, True])
def test_what_cannot_be_replayed_is_made_plainly(
    frozen: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Either the capture fails, or the draws are those of the captured step."""
    plain = ascent_of()
    plain[1].run()
    for required in (False, True):
        one = ascent_of()
        one[1].replay(Frozen() if frozen else Failing(ValueError("a wait")), required=required)
        if frozen:
            views = one[1]._views
            assert isinstance(views, Transforms)
            views._counter = None
        reason = "something else" if frozen else "a wait"
        if required:
            with pytest.raises(RequestError, match=reason):
                one[1].run()
            continue
        with caplog.at_level(logging.WARNING):
            one[1].run()
        assert len(caplog.messages) == 1
        assert reason in caplog.messages[0]
        if not frozen:
            assert same(plain, one)


@pytest.mark.parametrize("first", [0, 1])
def test_a_replay_that_gives_no_number_is_not_used(
    first: int, caplog: pytest.LogCaptureFixture
) -> None:
    (_, plain), (_, one) = ascent_of(), ascent_of()
    plain.run()
    one.replay(Spoiling(first))
    with caplog.at_level(logging.WARNING):
        one.run()
    assert "something else" in caplog.text
    assert torch.equal(one.trace.scores[-1], plain.trace.scores[-1])


class Damaging(Frozen):
    """Makes the first replay of each capture spoil a tensor of the state."""

    def __init__(self, state: Tensor) -> None:
        super().__init__()
        self._state = state

    def capture(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.captures += 1
        calls = itertools.count()

        def replay() -> Tensor:
            scores = work()
            if next(calls) == 0:
                with torch.no_grad():
                    self._state.add_(1000)
            return scores

        return replay


def test_a_first_replay_that_spoils_the_picture_is_undone() -> None:
    plain, one = ascent_of(), ascent_of()
    plain[1].run()
    one[1].replay(Damaging(one[0].parameters[0]))
    one[1].run()
    assert same(plain, one)


def test_memory_that_runs_out_in_a_capture_halves_the_batch_as_elsewhere() -> None:
    _, one = ascent_of()
    one.replay(Failing(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        one.run()


def test_pictures_of_a_network_are_the_same_when_steps_are_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("model=glyph_cnn", "target.layer=layer2", "target.units=[0]", "target.repeats=2")
    context = prepare(parse(compose([*words, "engine.steps=12", "engine.device=cpu"])))
    pictures, graphs = [], Frozen()
    for given in (None, graphs):
        monkeypatch.setattr(ascents, "graphs_of", lambda setting, device, given=given: given)
        method = METHODS["activation_maximization"](context)
        results = method.solve([job for group in method.groups for job in group], run_stage)
        pictures.append([result.encoded().files["image.png"] for result in results])
    assert graphs.captures >= 2
    contents = [[one.keywords["content"] for one in files] for files in pictures]  # type: ignore[attr-defined]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("engine.device=cpu",), "needs CUDA"),
        (("method=adversarial", "method.images=[x.png]"), "method=adversarial"),
        (("prior=denoiser", "prior.factory=x.py:f"), "prior=denoiser"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        prepare(parse(compose(["engine.graph=true", *words])))
    assert "\n" not in str(caught.value)


@on_cuda
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_cuda_graph_gives_the_pictures_of_the_plain_loop_without_waiting(name: str) -> None:
    device = torch.device("cuda")
    plain, replayed = ascent_of(name, device=device), ascent_of(name, device=device)
    plain[1].run()
    replayed[1].replay(CudaGraphs(device), required=True)
    for _ in range(WARM_UP + 2):  # made, captured, compared
        replayed[1].step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(WARM_UP):  # the views have not settled yet
            replayed[1].step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    replayed[1].run()
    with torch.no_grad():  # not parameters: rounding moves those that hardly show
        one, other = (picture.render() - 0.5 for picture in (plain[0], replayed[0]))
    assert one.isfinite().all()
    assert (one - other).norm() <= 2e-2 * one.norm()


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=on_cuda)])
def test_the_score_that_is_shown_is_the_last_one_that_is_there(kind: str) -> None:
    _, one = ascent_of(device=torch.device(kind))
    last, shown = LastScore(), list[str]()
    one.run(lambda _: shown.append(last.read(one)) if one.logged else None)
    means = [f"activation {scores.mean().item():.4g}" for scores in one.trace.scores]
    assert shown == (means if kind == "cpu" else ["", *means[:-1]])
