"""Units that are stuck are recognised, and gradients leak where the second attempt needs them."""

import dataclasses

import pytest
import torch
from timm.layers import QuickGELU
from torch import nn

import fvis
from fvis.capture import Network
from fvis.models.layers import survey
from fvis.objectives import resolve
from fvis.objectives.base import LinearObjective
from fvis.optimization import Trace
from fvis.randomness import random_generator
from fvis.rescue import (
    NOISES,
    NearestActivation,
    above_noise,
    nearest_activation,
    noise_pictures,
    resting_rows,
    spread,
    stuck_rows,
    unwoken_rows,
)  # fmt: skip
from fvis.schema import TargetConfig

from .test_capture import PLAIN, leaking, model_of, open_network


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.Hardswish(inplace=True)]
)
def test_leaking_keeps_the_value_and_passes_gradient_where_none_is(activation: nn.Module) -> None:
    module = nn.Sequential(nn.Identity(), activation)
    x = (-torch.rand(1, 3, 32, 32) - 4).requires_grad_(True)
    with open_network(module, "1") as network:
        plain = network(x)[0].detach()
        with leaking(network):
            (value,) = network(x)
    torch.testing.assert_close(value, plain)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(gradient, 0.5 / (1 + x.abs()))


@pytest.mark.parametrize(
    ("tail", "resting"),
    [
        ([nn.GELU()], True),
        ([QuickGELU()], True),
        ([nn.ReLU(inplace=True), nn.Dropout()], True),
        ([nn.ELU()], False),
        ([nn.SiLU(), nn.BatchNorm2d(4)], False),
        ([], False),
    ],
)
def test_what_rests_at_zero_is_known(tail: list[nn.Module], resting: bool) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), *tail).eval()
    with open_network(module, str(len(module) - 1)) as network:
        nearest = nearest_activation(network)
        assert (nearest is not None and nearest.rests_at_zero) == resting


def test_an_activation_is_read_where_frames_are_rows_of_the_batch_too() -> None:
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 8, 3), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = self.act(self.conv(x.transpose(1, 2).flatten(0, 1)))
            return rows.mean((2, 3)).view(len(x), -1, 8).mean(1)

    model = model_of(Frames(), dataclasses.replace(PLAIN, frames=4))
    layer = survey(model)["act"]
    assert layer.groups == 4
    with Network(model, [layer]) as network:
        nearest = nearest_activation(network)
    assert nearest is not None and nearest.rests_at_zero and nearest.is_never_negative


class Twice(nn.Module):
    """An activation function that runs twice; what it makes last is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.GELU()
        self.shift = 0.0
        self.end = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.act(x) - 2)
        y += self.shift
        return self.end(y)


def test_only_the_last_call_of_an_activation_leaks() -> None:
    x = torch.full((1, 3, 8, 8), -4.0).requires_grad_(True)
    with open_network(Twice(), "end") as network, leaking(network):
        for _ in range(2):  # passes
            (value,) = network(x)
            (gradient,) = torch.autograd.grad(value.sum(), x)
            (true,) = torch.autograd.grad(nn.functional.gelu(x).sum(), x)
            last = 0.5 / (1 - (nn.functional.gelu(x) - 2))
            torch.testing.assert_close(gradient, (last * true).detach())


def test_what_is_changed_in_place_after_an_activation_does_not_rest_at_zero() -> None:
    module = Twice()
    for shift in (0.0, 1.0):
        module.shift = shift
        with open_network(module, "end") as network:
            nearest = nearest_activation(network)
            assert nearest is not None
            assert nearest.rests_at_zero == (shift == 0)


def test_where_the_unit_is_awake_the_gradient_is_the_functions_own() -> None:
    module = nn.Sequential(nn.Identity(), nn.GELU())
    x = (torch.rand(1, 3, 8, 8) + 0.5).requires_grad_(True)
    with open_network(module, "1") as network:
        (true,) = torch.autograd.grad(network(x)[0].sum(), x)
        with leaking(network):
            (gradient,) = torch.autograd.grad(network(x)[0].sum(), x)
    torch.testing.assert_close(gradient, true)


def test_stuck_is_what_neither_rises_nor_moves_and_what_is_not_finite() -> None:
    scores = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.3, 2.0, torch.nan]])
    trace = Trace([0, 24, 48, 72], [scores[0], scores[1], scores[1], scores[1]])
    still = Trace([0, 24, 48, 72], [scores[0], scores[0], scores[1], scores[1]])
    spread = torch.ones(4)
    for given in (trace, still):
        late = torch.stack(given.scores[2:])
        assert (late[0] - late[1]).nan_to_num().abs().max() == 0, "nothing moves any more"
        stuck = stuck_rows(scores[0], scores[1], given, spread)
        assert stuck.tolist() == [True, True, False, True]
    moving = Trace([0, 8], [scores[0], scores[1]])
    assert stuck_rows(scores[0], scores[1], moving, spread).tolist() == [True, False, False, True]


def test_what_has_only_fallen_is_stuck_however_it_moves() -> None:
    first, late, last = torch.tensor([[0.0, 0.0], [-2.0, -2.0], [-1.0, 1.0]])
    for steps in ([0, 24, 48, 72], [0, 10, 20, 30]):
        trace = Trace(steps, [first, first, late, last])
        assert stuck_rows(first, last, trace, torch.ones(2)).tolist() == [True, False]


@pytest.mark.parametrize("steps", [[0], [0, 8, 9]])
def test_in_a_few_steps_a_unit_need_not_rise_far(steps: list[int]) -> None:
    first, last = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.3, torch.nan]])
    trace = Trace(steps, [last for _ in steps])
    assert stuck_rows(first, last, trace, torch.ones(3)).tolist() == [True, False, True]


def objective_of(*joint: dict[str, float | int | str]) -> LinearObjective:
    """The weighted sum of units of a network with two layers of four units, `0` and `1`."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)).eval()
    targets = resolve(TargetConfig(layer="0", joint=list(joint)), model_of(module), 0)
    return targets.objective(targets.targets, torch.device("cpu"))


def test_the_spread_of_a_weighted_sum_grows_with_the_length_of_its_weights() -> None:
    terms = [{"unit": 0, "weight": 3.0}, {"unit": 2, "weight": -4.0}]
    one = [torch.tensor([[1.0, 2.0, 3.0, 4.0]])[..., None, None].expand(-1, -1, 5, 5)]
    deviation = 1.25**0.5
    torch.testing.assert_close(spread(objective_of(*terms), one), torch.tensor([5 * deviation]))
    both = objective_of(*terms, {"layer": "1", "unit": 1, "weight": 2.0})
    expected = torch.tensor([5 * deviation + 2 * 10 * deviation])
    torch.testing.assert_close(spread(both, [one[0], 10 * one[0]]), expected)


def test_only_what_shall_be_excited_rests_at_zero() -> None:
    """A unit that is to be suppressed has reached its goal there."""
    excited = objective_of({"unit": 0, "weight": 1.0}, {"unit": 1, "weight": 0.5})
    opposed = objective_of({"unit": 0, "weight": 1.0}, {"unit": 1, "weight": -0.5})
    apart = objective_of({"unit": 0, "weight": 1.0}, {"layer": "1", "unit": 1, "weight": -0.5})
    unit = torch.ones(1)
    for score, resting in ((-0.2, True), (0.0, True), (0.009, True), (0.011, False)):
        final = torch.tensor([score])
        assert resting_rows(excited, final, unit).tolist() == [resting]
        assert resting_rows(opposed, final, unit).tolist() == [False]
        assert resting_rows(apart, final, unit).tolist() == [False]


@pytest.mark.parametrize(("sign", "module", "unwoken"), [
    (-1, nn.ReLU(), False), (1, nn.ReLU(), True), (-1, nn.GELU(), True),
])  # fmt: skip
def test_a_unit_that_shall_be_silent_has_reached_its_goal_at_zero_behind_a_relu(
    sign: int, module: nn.Module, unwoken: bool
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), module).eval()
    targets = resolve(TargetConfig(layer="1", units=[2], sign=sign), model_of(network), 0)
    objective = targets.objective(targets.targets, torch.device("cpu"))
    start = torch.rand(1, 4, 5, 5, generator=random_generator("start"))
    start[:, 2] *= 1e-3  # so near zero that reaching it is no rise of the score
    zero = torch.zeros(1)
    still = Trace([0, 8, 16, 24], [objective.scores([start]), zero, zero, zero])
    nearest = NearestActivation(module, 1, is_read=True)
    assert unwoken_rows(objective, [start], zero, still, nearest).tolist() == [unwoken]


class Neighbours(nn.Module):
    """Three equal units, one of them tiny, one of them saturating, and others beside them.

    Those are one with a large bias, one whose values are large, and one that never changes.
    """

    def __init__(self) -> None:
        super().__init__()
        wave = torch.sin(torch.arange(11) * 1.2)
        self.weight = nn.Parameter((wave * torch.ones(11, 1)).expand(1, 3, 11, 11) / 363)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own = nn.functional.conv2d(x - 0.5, self.weight)[:, :, 11, 11]
        full = (9 * own - 2).sigmoid()
        return torch.cat([own, 1e-6 * own, full, 2000 + own, 1e6 * own, 0 * own + 3], 1)


def test_no_neighbour_decides_whether_a_unit_is_dead() -> None:
    shown = fvis.visualize(Neighbours(), input={"height": 32, "width": 32}, engine={"steps": 60})
    told = [(one.metadata["unit"], one.metadata["status"]) for one in shown]
    assert told == [(0, "ok"), (1, "ok"), (2, "ok"), (3, "ok"), (4, "ok"), (5, "dead")]
    risen = [one.metadata["activation"]["final"] for one in shown]
    assert risen[1] / risen[0] == pytest.approx(1e-6, rel=0.3)


@pytest.mark.parametrize(
    ("initial", "final", "above"),
    [
        (0.0, 1.2, True),
        (0.0, 1.05, False),  # above all noise, but within two of its standard deviations
        (0.0, 0.9, False),
        (1.3, 1.2, False),
        (1.0, 1.2, False),  # as grey may excite a unit more than any noise: that is no rise
        (1.2, 1.2 + 1e-6, False),
        (0.0, float("nan"), False),
        (0.0, float("inf"), False),
    ],
)
def test_a_unit_is_awake_that_rises_above_noise(
    initial: float, final: float, *, above: bool
) -> None:
    noise = torch.linspace(0, 1, NOISES)
    given = torch.tensor([initial, final])
    assert above_noise(given[0], given[1], noise, rests_at_zero=False) == above


def test_a_unit_that_noise_silences_is_not_awake_at_zero() -> None:
    noise = -torch.linspace(0.05, 0.06, NOISES)  # on the left side of GELU, say
    given = torch.tensor([-0.05, -1e-6, 0.1])
    assert above_noise(given[0], given[1], noise, rests_at_zero=False)
    assert not above_noise(given[0], given[1], noise, rests_at_zero=True)
    assert above_noise(given[0], given[2], noise, rests_at_zero=True)


@pytest.mark.parametrize("shape", [(3, 16, 24), (3, 6, 16, 16)])
def test_noises_are_like_photographs_and_are_the_same_each_time(shape: tuple[int, ...]) -> None:
    noises, again = (torch.cat([*noise_pictures(shape)]) for _ in range(2))
    assert noises.shape == (NOISES, *shape)
    torch.testing.assert_close(noises, again)
    assert noises.min() >= 0 and noises.max() <= 1
    assert 0.15 < noises.std() < 0.25
    beside = (noises[..., 1:] - noises[..., :-1]).std()
    assert beside < noises.std(), "neighbouring pixels are alike"
    assert (noises[0] - noises[1]).abs().mean() > 0.1
