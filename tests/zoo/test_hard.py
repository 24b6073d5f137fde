"""The hard units respond to what their key says, and to nothing that only resembles it."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fvis.zoo import hard
from fvis.zoo.hard import FRAMES, SIZE, HardMotion

BANK = {unit.name: unit for unit in hard.bank()}


@pytest.fixture(scope="module")
def network() -> HardMotion:
    return hard.build()


def response(network: HardMotion, name: str, clip: Tensor) -> float:
    with torch.no_grad():
        return float(network(clip[None])[0, list(BANK).index(name)])


def drift(direction: float, speed: float, wavelength: float) -> Tensor:
    x, y = math.cos(math.radians(direction)), -math.sin(math.radians(direction))
    place = torch.arange(SIZE) - (SIZE - 1) / 2
    time = torch.arange(FRAMES).view(-1, 1, 1)
    across = x * place + y * place[:, None] - speed * time
    return (2 * math.pi * across / wavelength).cos().expand(3, -1, -1, -1)


@pytest.mark.parametrize("name", list(BANK))
def test_a_unit_prefers_its_own_clip_to_all_others(network: HardMotion, name: str) -> None:
    firsts = [clips[0] for clips in BANK[name].clips()]
    own = sum(firsts[:1] if BANK[name].any_of else firsts)
    assert isinstance(own, Tensor)
    best = response(network, name, own / own.abs().amax())
    reverse = own.flip(1) / own.abs().amax()
    assert best > 3 * response(network, name, torch.zeros_like(own))
    if "moving" in BANK[name].kinds and BANK[name].speed != 0.1:
        assert response(network, name, reverse) < 0.5 * best, "played backwards"


@pytest.mark.parametrize(("direction", "speed"), [(53.1, 1.0), (337.0, 2.0), (200.0, 2.0)])
def test_the_components_of_a_plaid_share_its_velocity_alone(direction: float, speed: float) -> None:
    """Both components are seen only where a single velocity fits both."""
    names = [n for n, u in BANK.items() if u.direction_deg == direction]
    assert names
    for name in names:
        for component in BANK[name].clips():
            clip = component[0]
            frame, later = clip[:, 7], clip[:, 8]
            x, y = (speed * f(math.radians(direction)) for f in (math.cos, math.sin))
            moved = _shifted(frame, x, -y)
            inner = slice(20, 44)
            apart = (moved - later)[:, inner, inner].abs().max() / later.abs().max()
            assert apart < 0.15, name


def _shifted(frame: Tensor, x: float, y: float) -> Tensor:
    fy, fx = torch.fft.fftfreq(SIZE)[:, None], torch.fft.rfftfreq(SIZE)
    turn = torch.exp(-2j * math.pi * (fx * x + fy * y))
    return torch.fft.irfft2(torch.fft.rfft2(frame) * turn, s=(SIZE, SIZE))


def test_one_grating_is_enough_for_a_unit_of_any_direction_and_not_for_a_plaid(
    network: HardMotion,
) -> None:
    any_way = [response(network, "1 px/frame any way", drift(a, 1.0, 8.0)) for a in (0, 90, 225)]
    assert max(any_way) < 1.1 * min(any_way)
    single = response(network, "plaid, 90 degrees apart", drift(53.1 + 45, math.sqrt(0.5), 8.0))
    both = drift(53.1 + 45, math.sqrt(0.5), 8.0) + drift(53.1 - 45, math.sqrt(0.5), 8.0)
    assert single < 0.5 * response(network, "plaid, 90 degrees apart", both / 2)


@pytest.mark.parametrize("name", ["isoluminant grating"])
def test_an_isoluminant_unit_does_not_see_brightness(network: HardMotion, name: str) -> None:
    grey = drift(120.0, 1.2, 8.0)
    colour = grey * torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1, 1)
    assert response(network, name, grey) < 0.1 * response(network, name, colour)


def test_gradients_are_finite_everywhere(network: HardMotion) -> None:
    clip = torch.zeros(1, 3, FRAMES, SIZE, SIZE, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(clip).sum(), clip)
    assert gradient.isfinite().all()


def test_every_unit_says_what_may_be_told_of_it() -> None:
    kinds: Callable[[str], bool] = {
        "moving", "still", "flicker", "appears", "undirected", "unexplained"
    }.__contains__  # fmt: skip
    for unit in BANK.values():
        assert unit.kinds and all(map(kinds, unit.kinds))
        assert (unit.direction_deg is not None) == ("moving" in unit.kinds)
