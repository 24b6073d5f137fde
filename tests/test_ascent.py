"""The ascent finds optima known in closed form, each row for itself."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fvis.adam import unit_length
from fvis.ascent import Ascent, Penalty, _downhill
from fvis.models import Preprocessing
from fvis.optimization import Trace
from fvis.parametrizations import PARAMETRIZATIONS, Parametrization
from fvis.parametrizations.base import UpdateRule
from fvis.randomness import random_generator
from fvis.regularizers import l2, total_variation
from fvis.schema import PARAMETRIZATIONS as CONFIGS
from fvis.schema import EngineConfig, FourierConfig, TransformsConfig
from fvis.transforms import Transforms

CPU = torch.device("cpu")
SHAPE = (3, 12, 12)


def picture_of(name: str, rows: list[int]) -> Parametrization:
    return PARAMETRIZATIONS[name](
        CONFIGS[name](), [random_generator(row) for row in rows], SHAPE, CPU
    )


def still(rows: int, steps: int) -> Transforms:
    return Transforms(TransformsConfig(), [random_generator(0)] * rows, steps, SHAPE, CPU)


def kernels(rows: int) -> Tensor:
    """Smooth zero-mean patterns: a Fourier picture can follow them in few steps."""
    noise = torch.randn(rows, *SHAPE, generator=random_generator("kernels"))
    smooth = nn.functional.avg_pool2d(noise, 5, 1, 2, count_include_pad=False)
    return smooth - smooth.mean((1, 2, 3), keepdim=True)


def linear(weights: Tensor, views: Tensor) -> Tensor:
    return (weights * views).flatten(1).sum(1)


def climb(name: str, weights: Tensor, penalties: list[Penalty], steps: int) -> tuple[Tensor, Trace]:
    rows = len(weights)
    picture = picture_of(name, list(range(rows)))
    engine = EngineConfig(steps=steps, log_every=10)
    score = functools.partial(linear, weights)
    trace = Ascent(picture, score, still(rows, steps), penalties, engine).run()
    return picture.render().detach(), trace


@pytest.mark.parametrize("name", ["pixel", "fourier", "pyramid"])
def test_a_linear_units_optimum_is_its_kernels_direction(name: str) -> None:
    # max w.x - lambda/2 |x - grey|^2 has its optimum along w: the balanced penalty keeps x inside.
    weights = kernels(3)
    rgb, _ = climb(name, weights, [Penalty(1.0, l2)], 400)
    found = (rgb - 0.5).flatten(1)
    cosine = torch.cosine_similarity(found, weights.flatten(1))
    assert cosine.min() > 0.95, cosine


@pytest.mark.parametrize("name", ["pixel", "fourier", "pyramid"])
def test_unpenalised_a_linear_unit_drives_pixels_to_its_kernels_sign(name: str) -> None:
    weights = kernels(2)
    rgb, _ = climb(name, weights, [], 600)
    strong = weights.abs() > weights.abs().flatten(1).median(1).values.view(-1, 1, 1, 1)
    agree = ((rgb > 0.5) == (weights > 0))[strong].float().mean()
    assert agree > 0.97


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_score_rises(name: str) -> None:
    _, trace = climb(name, kernels(3), [], 60)
    for row in trace.rows():
        assert row[-1][1] > row[0][1]
        assert row[0][0] == 0
        assert row[-1][0] == 59


def test_rows_do_not_depend_on_their_batch_mates() -> None:
    weights = kernels(4) + 0.01  # with a mean of zero, rounding would choose the mean's direction
    together, _ = climb("fourier", weights, [Penalty(0.3, total_variation)], 50)
    alone, _ = climb("fourier", weights[:1], [Penalty(0.3, total_variation)], 50)
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)


def test_one_penalty_weight_means_the_same_at_every_scale_of_the_score() -> None:
    weights = kernels(1)
    penalties = [Penalty(0.5, l2)]
    small, _ = climb("fourier", weights * 1e-6, penalties, 80)
    large, _ = climb("fourier", weights * 1e6, penalties, 80)
    torch.testing.assert_close(small, large, atol=1e-3, rtol=0)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20])
def test_a_direction_has_length_1_whatever_the_gradients(scale: float) -> None:
    """Even where their squares are zero, or infinite, in float32: of a probability, say."""
    gradient = torch.randn(3, 3, 8, 8, generator=random_generator("direction"))
    expected = gradient / gradient.flatten(1).norm(dim=1).view(3, 1, 1, 1)
    given = scale * gradient
    given[1, 0, 0, 0] = torch.nan
    found = unit_length(given)
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]], atol=1e-6, rtol=0)
    assert (found[1] == 0).all(), "no direction is known"
    assert (unit_length(torch.zeros(1, 3, 2, 2)) == 0).all()


def test_total_variation_smooths() -> None:
    weights = kernels(1) + torch.randn(1, *SHAPE, generator=random_generator("rough"))
    rough, _ = climb("pixel", weights, [], 60)
    smooth, _ = climb("pixel", weights, [Penalty(0.9, total_variation)], 60)
    assert total_variation(smooth) < 0.7 * total_variation(rough)


def test_what_the_score_does_not_see_falls_back_to_grey_under_weight_decay() -> None:
    only_red = kernels(1) * torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    contrasts = {}
    for decay in (0.0, 0.5):
        config = FourierConfig(init_std=3.0, decorrelate=False, weight_decay=decay)
        picture = PARAMETRIZATIONS["fourier"](config, [random_generator(0)], SHAPE, CPU)
        score, engine = functools.partial(linear, only_red), EngineConfig(steps=100)
        before = picture.render().detach().std((2, 3))[0]
        Ascent(picture, score, still(1, 100), [], engine).run()
        contrasts[decay] = picture.render().detach().std((2, 3))[0] / before
    torch.testing.assert_close(contrasts[0.0][1:], torch.ones(2))
    assert (contrasts[0.5][1:] < 0.4).all()
    assert contrasts[0.5][0] > 2 * contrasts[0.5][1:].max(), "what is asked for stays"


def test_a_row_that_is_not_finite_leaves_the_others_alone() -> None:
    weights = kernels(2)
    broken = weights.clone()
    broken[0, 0, 0, 0] = torch.nan
    whole, _ = climb("fourier", weights, [], 30)
    half, _ = climb("fourier", broken, [], 30)
    start = picture_of("fourier", [0, 1]).render().detach()
    torch.testing.assert_close(half[0], start[0], msg="what has no gradient stays")
    torch.testing.assert_close(half[1], whole[1])


def test_views_are_averaged_per_row() -> None:
    weights = kernels(2)
    picture = picture_of("fourier", [0, 1])
    config = TransformsConfig(views=3, noise=0.1)
    views = Transforms(config, [random_generator(1), random_generator(2)], 5, SHAPE, CPU)
    seen: list[Tensor] = []

    def score(rgb: Tensor) -> Tensor:
        seen.append(linear(weights.repeat_interleave(3, 0), rgb))
        return seen[-1]

    trace = Ascent(picture, score, views, [], EngineConfig(steps=5, log_every=1)).run()
    first = trace.scores[0]
    assert seen[0].shape == (6,)
    torch.testing.assert_close(first, seen[0].detach().view(2, 3).mean(1))


def test_a_score_that_bins_its_pixels_sees_none_outside_of_its_bins() -> None:
    config = TransformsConfig(views=2, gain=0.5, offset=0.3, noise=0.5)
    views = Transforms(config, [random_generator(1)], 30, SHAPE, CPU)
    seen = torch.linspace(0, 1, 9)

    def score(rgb: Tensor) -> Tensor:
        brighter = seen[(rgb * 8).long()] + (rgb - rgb.detach())  # no such bin: an IndexError
        return brighter.flatten(1).mean(1)

    picture = picture_of("fourier", [0])
    before = picture.render().mean().item()
    Ascent(picture, score, views, [], EngineConfig(steps=30)).run()
    assert picture.render().mean().item() > before + 0.05


def test_the_trace_is_read_every_log_every_steps_and_at_the_end() -> None:
    _, trace = climb("fourier", kernels(1), [], 25)
    assert trace.steps == [0, 10, 20, 24]


class Operations(TorchDispatchMode):
    """Notes the names of all operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("shape", "periodic"), [((3, 12, 12), False), ((3, 12, 12), True), ((3, 4, 12, 12), False)]
)
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_no_step_makes_a_tensor_of_python_numbers(
    name: str, shape: tuple[int, ...], periodic: bool
) -> None:
    """Such a tensor is copied to the device at each step, and the device waits for it."""
    generators = [random_generator(row) for row in range(2)]
    config = TransformsConfig(
        crop=[0.5, 1.0], rotate=5, flip=True, noise=0.1, gain=0.1, offset=0.1, time_scale=0.1
    )
    views = Transforms(config, generators, 4, shape, CPU, periodic=periodic)
    picture = PARAMETRIZATIONS[name](CONFIGS[name](), generators, shape, CPU)
    size = Preprocessing(12, 12, None, (0.5,) * 3, (0.25,) * 3)

    def score(rgb: Tensor) -> Tensor:
        return size.normalise(rgb).flatten(1).sum(1)

    ascent = Ascent(picture, score, views, [Penalty(0.1, total_variation)], EngineConfig(steps=4))
    ascent.step()
    with Operations() as operations:
        ascent.step()
    assert "grid_sampler_2d" in operations.names
    assert not operations.names & {"lift_fresh", "lift_fresh_copy", "is_nonzero", "nonzero"}


SLOPE = torch.tensor([1.0, 0.1, 0.0])  # of a score of three numbers, one of which it ignores


def updated(
    start: Tensor,
    rule: UpdateRule,
    score: Callable[[Tensor], Tensor],
    steps: int,
    gains: tuple[float, ...] = (50.0,),
    betas: tuple[float, float] = (0.5, 0.99),
) -> Tensor:
    """Rows (steps + 1, B, 3) of three numbers that climb a score at lr 0.1, beside idle ones.

    The picture is the numbers times their row's gain, so that gradients differ in length.
    """
    gain = torch.tensor(gains)[:, None]
    numbers = start.clone().requires_grad_(True)
    idle = torch.zeros_like(start).requires_grad_(True)
    seen = [start]

    def render() -> Tensor:
        return (gain * numbers + 0 * idle).view(-1, 3, 1, 1)

    ascent = Ascent(
        Parametrization((numbers, idle), render, (rule, UpdateRule())),
        score,
        Transforms(TransformsConfig(), [random_generator(0)] * len(start), steps, (3, 1, 1), CPU),
        [],
        EngineConfig(steps=steps, lr=0.1, betas=list(betas)),
    )
    ascent.run(lambda _: seen.append(numbers.detach().clone()))
    return torch.stack(seen)


def along(slopes: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda rgb: (rgb.flatten(1) * slopes).sum(1)


def test_rowwise_parameters_follow_the_gradient_in_steps_of_the_learning_rate() -> None:
    start = torch.zeros(1, 3)
    steps = updated(start, UpdateRule(rowwise=True), along(SLOPE), 20).diff(dim=0)[:, 0]
    lengths = steps.norm(dim=1)
    assert lengths[0] == pytest.approx(0.1, rel=1e-3)
    assert (lengths <= 0.1 * 1.001).all()
    assert (lengths[:10] > 0.05).all(), "nor do they crawl"
    assert torch.cosine_similarity(steps, SLOPE[None]).min() > 0.999
    each = updated(start, UpdateRule(), along(SLOPE), 20).diff(dim=0)[:, 0]
    torch.testing.assert_close(each[:, 0], each[:, 1], msg="alone, each moves as fast as any")


def test_a_picture_may_have_nothing_but_rowwise_parameters() -> None:
    numbers = torch.zeros(2, 3, requires_grad=True)
    picture = Parametrization(
        (numbers,), lambda: numbers.view(-1, 3, 1, 1), (UpdateRule(rowwise=True),)
    )
    views = Transforms(TransformsConfig(), [random_generator(0)] * 2, 5, (3, 1, 1), CPU)
    Ascent(picture, along(SLOPE), views, [], EngineConfig(steps=5, lr=0.1)).run()
    assert torch.cosine_similarity(numbers.detach(), SLOPE[None]).min() > 0.999


def test_a_turn_of_the_gradient_makes_no_jump_of_the_numbers() -> None:
    turn = torch.tensor([0.0, 0.0, -1.0])

    steps = itertools.count()

    def score(rgb: Tensor) -> Tensor:
        return along(SLOPE if next(steps) % 7 else turn)(rgb)

    seen = updated(torch.zeros(1, 3), UpdateRule(rowwise=True), score, 40)
    assert seen.diff(dim=0).norm(dim=2).max() < 0.1 * 1.05


@pytest.mark.parametrize("rowwise", [True, False])
def test_what_the_score_does_not_hold_up_shrinks_to_nothing(rowwise: bool) -> None:
    start = torch.tensor([[0.5, 0.5, 2.0]])
    kept = updated(start, UpdateRule(rowwise=rowwise), along(SLOPE), 200)[-1]
    shrunk = updated(start, UpdateRule(weight_decay=1.0, rowwise=rowwise), along(SLOPE), 200)[-1]
    assert kept[0, 2] == 2, "without it what has no gradient stays"
    assert 0 < shrunk[0, 2] < 0.01
    assert shrunk[0, 0] > 0.5, "what the score asks for goes on"


def test_rows_of_rowwise_parameters_do_not_depend_on_one_another() -> None:
    start = torch.tensor([[0.0, 1.0, 0.0], [0.3, 0.0, 0.2]])
    slopes = torch.tensor([[1.0, 0.1, 0.0], [-1e3, 2e3, 5.0]])
    rule, gains = UpdateRule(weight_decay=0.2, rowwise=True), (50.0, 0.02)
    together = updated(start, rule, along(slopes), 30, gains)[-1]
    for row in range(2):
        one = slice(row, row + 1)
        alone = updated(start[one], rule, along(slopes[one]), 30, gains[one])[-1]
        torch.testing.assert_close(together[one], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("rule", "final"), [(UpdateRule(), 0.2), (UpdateRule(rowwise=True), 0.02)])
def test_the_learning_rate_decays_to_its_final_share(rule: UpdateRule, final: float) -> None:
    steps = updated(torch.zeros(1, 3), rule, along(SLOPE), 60).diff(dim=0)[:, 0].norm(dim=1)
    assert steps[-1] / steps[0] == pytest.approx(final, rel=0.05)
    assert (steps.diff() < 1e-6).all(), "it only falls"


@pytest.mark.parametrize("rule", [UpdateRule(), UpdateRule(rowwise=True)])
@pytest.mark.parametrize(("beta", "turns"), [(0.0, True), (0.95, False)])
def test_the_first_beta_says_how_long_an_old_gradient_lasts(
    rule: UpdateRule, beta: float, turns: bool
) -> None:
    steps = itertools.count()

    def score(rgb: Tensor) -> Tensor:
        return along(SLOPE if next(steps) < 10 else -SLOPE)(rgb)

    moves = updated(torch.zeros(1, 3), rule, score, 30, betas=(beta, 0.99)).diff(dim=0)[:, 0, 0]
    assert (moves[:10] > 0).all()
    assert (moves[10] < 0) == turns


@pytest.mark.parametrize("rule", [UpdateRule(), UpdateRule(rowwise=True)])
@pytest.mark.parametrize("beta", [0.5, 0.99])
def test_the_second_beta_says_how_long_a_large_gradient_slows_the_steps(
    rule: UpdateRule, beta: float
) -> None:
    """Of two gradients, of length 1 and 0.5, the second makes the step of Adam's formula."""
    numbers = torch.zeros(1, 3, requires_grad=True)
    lengths = iter([1.0, 0.5])

    def render() -> Tensor:
        return (next(lengths) * numbers).view(-1, 3, 1, 1)

    views = Transforms(TransformsConfig(), [random_generator(0)], 2, (3, 1, 1), CPU)
    engine = EngineConfig(steps=2, lr=0.1, betas=[0.0, beta])
    picture = Parametrization((numbers,), render, (rule,))
    slope = torch.tensor([1.0, 0.0, 0.0])
    seen: list[Tensor] = []
    Ascent(picture, along(slope), views, [], engine).run(
        lambda _: seen.append(numbers.detach().clone())
    )
    second = (beta * (1 - beta) + (1 - beta) / 4) / (1 - beta**2)
    final = 0.02 if rule.rowwise else engine.lr_final
    assert seen[0][0, 0] == pytest.approx(0.1, rel=1e-4)
    assert (seen[1] - seen[0])[0, 0] == pytest.approx(0.1 * final * 0.5 / second**0.5, rel=1e-4)


def test_a_penalty_that_yields_lowers_no_score_and_fades() -> None:
    leaf = torch.zeros(2, 3, 2, 2, requires_grad=True)
    uphill = torch.zeros(2, 3, 2, 2)
    uphill[:, 0, 0, 0] = 1.0
    slopes = torch.tensor([0.6, -0.6])  # the first opposes the score, the second does not

    def value(rgb: Tensor) -> Tensor:
        return 0.5 + slopes * rgb[:, 0, 0, 0] + 0.8 * rgb[:, 1, 0, 0]

    moved = _downhill(Penalty(1.0, value, yields=True), leaf, 0, uphill)
    assert moved[:, 0, 0, 0].tolist() == pytest.approx([0.0, -0.3])
    assert moved[:, 1, 0, 0].tolist() == pytest.approx([0.4, 0.4])
    plain = _downhill(Penalty(1.0, value), leaf, 0, uphill)
    assert plain[:, 0, 0, 0].tolist() == pytest.approx([0.6, -0.6])
