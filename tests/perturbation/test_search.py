"""The search on a network whose answers are known: success, smoothness, and rows for themselves."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fvis.perturbation import measures
from fvis.perturbation.aims import Aim, Aims
from fvis.perturbation.ball import in_8_bits
from fvis.perturbation.search import Found, Search
from fvis.schema import AdversarialConfig, EngineConfig

SIDE = 24
EPSILON = 8 / 255


class Net(nn.Module):
    """A small random CNN, smooth enough that every class can be reached."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 5, 2), nn.GELU(), nn.Conv2d(12, 16, 3, 2), nn.GELU(),
            nn.Flatten(), nn.Linear(16 * 16, 7),
        ).requires_grad_(False)  # fmt: skip

    def forward(self, rgb: Tensor) -> Tensor:
        return 20 * self.layers((rgb - 0.5) * 4)


def photographs(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    smooth = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round() / 255


def towards(targets: Tensor, away: bool = False) -> Aims:
    return Aims.of([Aim(index, away) for index in targets.tolist()], targets.device)


def margin(values: Tensor, targets: Tensor) -> Tensor:
    return towards(targets).margin(values)


def search_of(
    clean: Tensor, targets: Tensor, steps: int = 30, epsilon: float = EPSILON, **settings: object
) -> Search:
    config = AdversarialConfig(**settings)
    engine = EngineConfig(steps=steps)
    return Search([Net()], [towards(targets)], clean, config, epsilon, engine)


def attack(clean: Tensor, targets: Tensor, **settings: Any) -> Found:
    search = search_of(clean, targets, **settings)
    search.run()
    return search.found()


def others(clean: Tensor) -> Tensor:
    return (Net()(clean).argmax(1) + 1) % 7


@pytest.mark.parametrize("objective", ["margin", "logit", "cross_entropy"])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", EPSILON), ("l2", 1.5), ("none", 1.0)])
def test_pictures_are_taken_for_their_targets(norm: str, epsilon: float, objective: str) -> None:
    clean = photographs()
    targets = others(clean)
    found = attack(clean, targets, norm=norm, epsilon=epsilon, objective=objective)
    assert (Net()(found.pictures).argmax(1) == targets).all()
    assert (margin(Net()(found.pictures), targets) >= 0.1).all()
    own = Net()(found.pictures).softmax(1).gather(1, targets[:, None])
    assert (own >= 0.4999).all()
    assert (found.first > 0).all()


def test_confidence_is_a_margin() -> None:
    clean = photographs()
    found = attack(clean, others(clean), confidence=2.0)
    assert (margin(Net()(found.pictures), others(clean)) >= 2.0).all()


def test_the_target_may_be_asked_to_be_the_likeliest_only() -> None:
    clean = photographs()
    targets = others(clean)
    least = []
    for probability in (0.0, 0.5, 0.9):
        found = attack(clean, targets, probability=probability, norm="none", epsilon=1.0)
        own = Net()(found.pictures).softmax(1).gather(1, targets[:, None])
        assert (Net()(found.pictures).argmax(1) == targets).all()
        assert (own >= probability - 1e-4).all()
        least.append(own.min())
    assert least[0] < least[2]


def test_a_target_that_cannot_lead_clearly_is_still_reached() -> None:
    clean = photographs()
    targets = others(clean)
    found = attack(clean, targets, probability=0.999, epsilon=1 / 255, steps=60)
    own = Net()(found.pictures).softmax(1).gather(1, targets[:, None])[:, 0]
    before = Net()(clean).softmax(1).gather(1, targets[:, None])[:, 0]
    assert (own < 0.999).any(), "the bound is too narrow for at least one"
    assert (own > before).all()


def test_later_steps_shrink_and_smooth() -> None:
    clean = photographs()
    targets = others(clean)
    sizes, variations = [], []
    for steps in (8, 60):
        delta = attack(clean, targets, steps=steps).pictures - clean
        sizes.append(delta.abs().mean())
        variations.append(measures.total_variation(delta))
    assert (variations[1] < variations[0]).all()
    assert sizes[1] < sizes[0]


def test_the_penalty_makes_it_smoother_than_signs_alone() -> None:
    clean = photographs()
    targets = others(clean)
    smooth = attack(clean, targets, probability=0.0).pictures - clean
    rough = attack(clean, targets, tv=0.0, cutoff=None, probability=0.0).pictures - clean
    assert (measures.total_variation(smooth) < 0.5 * measures.total_variation(rough)).all()
    centroids = [measures.spectral_centroid(delta) for delta in (smooth, rough)]
    assert (centroids[0] < centroids[1]).all()


def test_what_is_already_its_target_is_left_as_it_is() -> None:
    clean = photographs()
    values = Net()(clean)
    found = attack(clean, values.argmax(1), probability=0.0)
    sure = margin(values, values.argmax(1)) >= 0.1
    assert sure.any()
    torch.testing.assert_close(found.pictures[sure], clean[sure])
    assert (found.first[sure] == 0).all()


def test_what_cannot_succeed_comes_as_near_as_it_can() -> None:
    clean = photographs()
    targets = Net()(clean).argmin(1)
    found = attack(clean, targets, epsilon=1 / 255)
    failed = found.first < 0
    assert failed.any()
    nearer = margin(Net()(found.pictures), targets) - margin(Net()(clean), targets)
    assert (nearer[failed] > 0).all()
    assert ((found.pictures - clean).abs() * 255).max() < 1 + 1e-3


def test_in_an_l2_ball_a_step_goes_along_the_gradient() -> None:
    """The farthest that a linear score rises within a radius is that radius times its norm."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3 * SIDE * SIDE, generator=generator) ** 3  # a few pixels count most
    clean = torch.full((1, 3, SIDE, SIDE), 128 / 255)

    def network(rgb: Tensor) -> Tensor:
        score = (rgb - clean).flatten(1) @ weights
        return torch.stack([torch.full_like(score, 1e4), score], 1)

    config = AdversarialConfig(norm="l2", probability=0.0)
    aims, engine = [towards(torch.tensor([1]))], EngineConfig(steps=40)
    search = Search([network], aims, clean, config, 2.0, engine)
    search.run()
    pictures = search.found().pictures
    assert (pictures - clean).norm() <= 2 + 1e-4
    assert network(pictures)[0, 1] > 0.95 * 2 * weights.norm(), "signs reach 0.4 of it"


def test_rows_do_not_depend_on_one_another() -> None:
    clean = photographs()
    targets = others(clean)
    together = attack(clean, targets)
    alone = attack(clean[2:3], targets[2:3])
    torch.testing.assert_close(alone.pictures[0], together.pictures[2], atol=1.5 / 255, rtol=0)
    assert alone.first[0] == together.first[2]


def test_the_same_search_finds_the_same_picture() -> None:
    clean = photographs(2)
    runs = [attack(clean, others(clean)).pictures for _ in range(2)]
    assert torch.equal(*runs)


def test_traces_are_of_the_targets_value() -> None:
    clean = photographs()
    targets = others(clean)
    trace = search_of(clean, targets).run()
    assert trace.steps == [0, 8, 16, 24, 29]
    torch.testing.assert_close(trace.scores[0], Net()(clean).gather(1, targets[:, None])[:, 0])


def test_long_searches_stay_finite() -> None:
    clean = photographs(2)
    found = attack(clean, others(clean), steps=400)
    assert found.pictures.isfinite().all()
    assert (Net()(found.pictures).argmax(1) == others(clean)).all()
    short = attack(clean, others(clean), steps=40).pictures - clean
    assert measures.total_variation(found.pictures - clean).mean() < (
        measures.total_variation(short).mean()
    )


def test_momentum_carries_steps_on_where_there_is_no_gradient() -> None:
    clean = torch.full((1, 3, 8, 8), 0.5)
    clean = (clean * 255).round() / 255
    calls = [0]

    def values(rgb: Tensor) -> Tensor:
        calls[0] += 1
        pull = rgb.mean((1, 2, 3)) if calls[0] == 1 else 0 * rgb.mean((1, 2, 3))
        return torch.stack([0 * pull, pull - 1], 1)

    config = AdversarialConfig(norm="none", cutoff=None, tv=0.0, size=0.0)
    search = Search(
        [values], [towards(torch.tensor([1]))], clean, config, 1.0, EngineConfig(steps=3)
    )
    moved = []
    for _ in range(3):
        search.step()
        moved.append(search._now["delta"].mean().item())
    assert moved[0] > 0
    assert moved[1] > 1.5 * moved[0], "the second step has no gradient of its own"


def ramp(rgb: Tensor, gain: float = 1.0, bias: float = 0.0) -> Tensor:
    """Two values: nothing, and one that rises with every pixel."""
    value = gain * rgb.sum((1, 2, 3)) + bias
    return torch.stack([torch.zeros_like(value), value], 1)


def grey() -> tuple[Tensor, Tensor]:
    """A grey picture, 100/255 everywhere, and its target, the value that rises."""
    return torch.full((1, 3, 8, 8), 100 / 255), torch.tensor([1])


@pytest.mark.parametrize("step", [2.0, 5.0])
def test_the_first_step_is_step_levels_long_and_the_last_a_tenth(step: float) -> None:
    clean, targets = grey()
    config = AdversarialConfig(step=step, cutoff=None, tv=0.0, size=0.0)
    values = functools.partial(ramp, bias=-1e6)  # never reached
    search = Search([values], [towards(targets)], clean, config, 1.0, EngineConfig(steps=12))
    seen = [torch.zeros_like(clean)]
    search.run(lambda _: seen.append(search._now["delta"].clone()))
    lengths = torch.stack(seen).diff(dim=0) * 255
    torch.testing.assert_close(lengths[0], torch.full_like(clean, step))
    torch.testing.assert_close(lengths[-1], torch.full_like(clean, step / 10))
    torch.testing.assert_close(search.found().pictures, in_8_bits(clean, seen[-1], "linf", 1.0))


def test_what_is_surely_its_target_gets_no_further_push() -> None:
    clean, targets = grey()
    config = AdversarialConfig(cutoff=None, tv=0.0, size=0.0, confidence=0.5)
    for margin_at_first, pushed in ((3.4, True), (3.6, False)):
        bias = margin_at_first - clean.sum().item()
        values = functools.partial(ramp, bias=bias)
        trace = Search(
            [values], [towards(targets)], clean, config, 1.0, EngineConfig(steps=4, log_every=1)
        ).run()
        assert trace.scores[0].item() == pytest.approx(margin_at_first, abs=1e-3)
        assert (trace.scores[-1].item() > margin_at_first + 0.1) == pushed


def test_of_all_successes_the_one_with_the_least_penalty_is_kept() -> None:
    clean, targets = grey()
    config = AdversarialConfig(cutoff=None, tv=0.0, size=1.0)
    values = functools.partial(ramp, gain=0.01, bias=0.5 - 0.01 * clean.sum().item())
    search = Search([values], [towards(targets)], clean, config, 1.0, EngineConfig(steps=5))
    search.run()
    assert (search._now["delta"] > 0).all(), "it went on, to greater margins"
    torch.testing.assert_close(search.found().pictures, clean)


class Other(Net):
    """The same network with its classes in another order and its values on another scale."""

    def forward(self, rgb: Tensor) -> Tensor:
        return 0.3 * super().forward(rgb.flip(3)).roll(2, 1)


def test_several_networks_are_convinced_at_once() -> None:
    clean = photographs()
    targets = others(clean)
    aims = [towards(targets), towards((targets + 2) % 7)]
    config = AdversarialConfig(norm="none", probability=0.0)
    search = Search([Net(), Other()], aims, clean, config, 1.0, EngineConfig(steps=60))
    search.run()
    found = search.found()
    assert (found.first > 0).all()
    for network, aim in zip((Net(), Other()), aims, strict=True):
        assert (aim.margin(network(found.pictures)) >= 0.1).all()
    alone = attack(clean, targets, norm="none", epsilon=1.0, probability=0.0, steps=60)
    fooled = aims[1].margin(Other()(alone.pictures)) > 0
    assert not fooled.all(), "attacking one network alone does not convince the other"


def test_one_network_twice_is_attacked_as_once() -> None:
    clean = photographs(2)
    aims = towards(others(clean))
    config, engine = AdversarialConfig(), EngineConfig(steps=20)
    search = Search([Net(), Net()], [aims, aims], clean, config, EPSILON, engine)
    search.run()
    assert torch.equal(search.found().pictures, attack(clean, others(clean), steps=20).pictures)


def test_any_other_class_will_do_away_from_the_first() -> None:
    clean = photographs()
    seen = Net()(clean).argmax(1)
    config = AdversarialConfig()
    search = Search(
        [Net()], [towards(seen, away=True)], clean, config, EPSILON, EngineConfig(steps=30)
    )
    search.run()
    found = search.found()
    after = Net()(found.pictures)
    assert (after.argmax(1) != seen).all()
    assert (after.softmax(1).gather(1, seen[:, None]) <= 0.5001).all()
    towards_one = attack(clean, Net()(clean).argmin(1), steps=30)
    assert (found.first <= towards_one.first.where(towards_one.first >= 0, 99)).all()


class Flicker(nn.Module):
    """Two values of clips: nothing, and how well their frames' brightness follows a pattern."""

    def forward(self, clips: Tensor) -> Tensor:
        pattern = torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0, -1.0])
        value = 40 * (clips.mean((1, 3, 4)) - 0.5) @ pattern - 0.5
        return torch.stack([0 * value, value], 1)


def test_clips_are_smooth_along_time_too() -> None:
    clean = (photographs(2)[:, :, None].expand(-1, -1, 6, -1, -1) * 255).round() / 255
    targets = torch.tensor([1, 1])
    changes = []
    for settings in ({}, {"tv": 0.0, "cutoff": None}):
        config = AdversarialConfig(norm="none", probability=0.0, **settings)
        search = Search([Flicker()], [towards(targets)], clean, config, 1.0, EngineConfig(steps=40))
        search.run()
        found = search.found()
        assert (Flicker()(found.pictures).argmax(1) == targets).all()
        delta = found.pictures - clean
        assert delta.shape == clean.shape
        changes.append(delta.diff(dim=2).abs().mean())
    assert changes[0] < changes[1]
