"""Tuning curves say what the network answers; and across which axis it is blind to motion."""

import math

import pytest
import torch
from torch import Tensor

from fvis.motion.confidence import angle_deg
from fvis.motion.decomposition import Decomposition
from fvis.motion.tuning import (
    DIRECTIONS,
    SPEEDS,
    best_grating,
    preferred_direction_deg,
    responses_to_drifts,
    tuning,
    tuning_speeds,
    visible_axes,
)
from tests.motion.reference import places, waves

SIZE = (8, 20, 24)


def moving(velocities: list[tuple[float, float]]) -> Decomposition:
    """Coloured textures that move at these velocities, larger than the frame by 16 px around."""
    _, h, w = SIZE
    textures = [0.5 + 0.2 * waves(3, 3 * places(h + 32, w + 32)) for _ in velocities]
    offset = torch.full((len(velocities), 2), 16.0)
    still = Decomposition(torch.stack(textures), offset, torch.zeros(len(velocities), 2, *SIZE))
    return still.drifting(torch.tensor(velocities))


def likeness(parts: Decomposition, sharpness: float = 20.0) -> "Likes":
    return Likes(parts.render(), sharpness)


class Likes:
    """A unit that responds to one clip per row, and less to what differs from it."""

    def __init__(self, clips: Tensor, sharpness: float) -> None:
        self._clips, self._sharpness = clips, sharpness

    def __call__(self, clips: Tensor) -> Tensor:
        apart = (clips - self._clips).square().mean((1, 2, 3, 4))
        return (-self._sharpness * apart).exp()


def test_the_texture_is_tested_at_every_direction_and_speed_of_its_row() -> None:
    parts = moving([(1.0, 0.0), (0.0, -2.0)])
    unit = likeness(parts, 200.0)
    speeds = tuning_speeds(torch.tensor([1.0, 2.0]))
    assert speeds.tolist() == [list(SPEEDS), [2 * s for s in SPEEDS]]
    responses = responses_to_drifts(unit, parts, speeds)
    assert responses.shape == (2, len(SPEEDS), DIRECTIONS)
    for row, best in ((0, 0), (1, DIRECTIONS // 4)):
        place = int(responses[row].argmax())
        assert divmod(place, DIRECTIONS) == (1, best), "the speed and direction of its own clip"


def test_a_standing_texture_is_still_tested_with_motion() -> None:
    assert (tuning_speeds(torch.zeros(1)) > 0).all()


def rising(peak: float, low: float = 0.0, width: int = 1) -> list[float]:
    curve = [low] * DIRECTIONS
    for k in range(-width, width + 1):
        curve[(4 + k) % DIRECTIONS] = peak - abs(k) * 0.1
    return curve


def test_the_curve_is_that_of_the_best_speed_above_a_blank_clip() -> None:
    found = tuning([1.0, 2.0], [rising(0.3), rising(1.0, 0.2)], blank=0.2)
    assert found.speeds == [1.0, 2.0]
    assert found.responses[1] == rising(1.0, 0.2)
    assert found.preferred_deg == pytest.approx(120)
    assert found.direction_index == 1
    opposite = rising(1.0, 0.5)
    assert tuning([1.0], [opposite], 0.0).direction_index == pytest.approx(0.5 / 1.5)


def test_bandwidth_is_half_the_width_at_half_height() -> None:
    curve = [math.exp(-((((k + 6) % 12 - 6) * 30 / 50) ** 2) / 2) for k in range(DIRECTIONS)]
    expected = 50 * math.sqrt(2 * math.log(2))
    assert tuning([1.0], [curve], 0.0).bandwidth_deg == pytest.approx(expected, abs=2)
    assert tuning([1.0], [[1.0] * DIRECTIONS], 0.0).bandwidth_deg == 180


def test_a_unit_that_no_drift_excites_has_no_direction() -> None:
    found = tuning([1.0], [[0.1] * DIRECTIONS], blank=0.2)
    assert found.preferred_deg is None
    assert math.isnan(found.direction_index or 0.0)
    assert tuning([1.0], [[math.nan] * DIRECTIONS], math.nan).preferred_deg is None


def test_a_response_that_is_too_weak_has_no_direction() -> None:
    assert tuning([1.0], [rising(0.04)], 0.0).direction_index == 1
    assert math.isnan(tuning([1.0], [rising(0.04)], 0.0, least=0.1).direction_index or 0.0)
    assert tuning([1.0], [rising(0.2)], 0.0, least=0.1).direction_index == 1


def test_what_exceeds_half_of_the_peak_everywhere_has_no_preferred_direction() -> None:
    assert preferred_direction_deg([1.0] * 12) is None
    assert preferred_direction_deg([1.0, 0.6, 0.7, 0.6]) is None
    assert preferred_direction_deg([0.0] * 12) is None


@pytest.mark.parametrize("true", [0.0, 7.0, 90.0, 173.0, 348.0])
def test_the_preferred_direction_is_found_between_those_tested(true: float) -> None:
    away = [(30 * k - true + 180) % 360 - 180 for k in range(DIRECTIONS)]
    curve = [math.exp(-((x / 40) ** 2) / 2) for x in away]
    assert angle_deg(preferred_direction_deg(curve), true) < 1.5


def test_a_long_flank_or_a_second_peak_does_not_draw_the_preferred_direction_away() -> None:
    curve = [math.exp(-((30 * k - 180) ** 2) / (2 * 40**2)) for k in range(DIRECTIONS)]
    with_flank = [max(v, 0.45 if k in (7, 8, 9, 10) else 0.0) for k, v in enumerate(curve)]
    with_peak = [max(v, 0.8 if k == 9 else 0.0) for k, v in enumerate(curve)]
    assert angle_deg(preferred_direction_deg(with_flank), 180) < 2
    assert angle_deg(preferred_direction_deg(with_peak), 180) < 2


class Energy:
    """Units that respond to gratings moving at a velocity across their edges: quadrature pairs."""

    def __init__(self, *velocities: tuple[float, float], wavelength: float = 6.0) -> None:
        self._gratings = [self._grating(*velocity, wavelength) for velocity in velocities]

    @staticmethod
    def _grating(vx: float, vy: float, wavelength: float) -> Tensor:
        t, h, w = (torch.arange(n) - (n - 1) / 2 for n in SIZE)
        speed = math.hypot(vx, vy)
        across = (vx * w + vy * h[:, None]) / speed - speed * t[:, None, None]
        window = (-(w.square() + h[:, None].square()) / 40).exp()
        return torch.polar(window.expand(SIZE), 2 * math.pi / wavelength * across)

    def __call__(self, clips: Tensor) -> Tensor:
        """The product (B,) of the units' energies: of one alone, its own."""
        grey = (clips.mean(1) - 0.5).to(torch.complex64)
        energies = [(grey * grating).mean((1, 2, 3)).abs().square() for grating in self._gratings]
        return torch.stack(energies).prod(0)


def gratings(*velocities: tuple[float, float], wavelength: float = 6.0) -> Decomposition:
    """The sum of gratings across these velocities, at rest, with a little of other textures."""
    _, h, w = SIZE
    grid = places(h + 32, w + 32)
    texture = 0.5 + 0.02 * waves(3, 3 * grid)
    for vx, vy in velocities:
        unit = torch.tensor([vx, vy]) / math.hypot(vx, vy)
        phase = torch.einsum("i,ihw->hw", unit, grid) * 2 * math.pi / wavelength
        texture = texture + 0.15 * phase.cos()
    return Decomposition(texture[None], torch.full((1, 2), 16.0), torch.zeros(1, 2, *SIZE))


def axis_of(unit: Energy, parts: Decomposition, velocity: tuple[float, float]) -> float | None:
    """The axis, degrees, that `visible_axes` finds where the parts move at a velocity."""
    (found,) = visible_axes(
        unit,
        parts.drifting(torch.tensor([velocity])),
        torch.tensor([velocity]),
        torch.tensor([math.hypot(*velocity)]),
    )
    return None if found is None else math.degrees(math.atan2(-found[1], found[0])) % 180


@pytest.mark.parametrize("angle", [0, 35, 90, 160])
@pytest.mark.parametrize("hidden", [-0.6, 0.0, 0.4])
def test_a_unit_that_sees_one_axis_has_that_axis(angle: float, hidden: float) -> None:
    x, y = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
    across = (0.8 * x, 0.8 * y)
    moves = (0.8 * x - hidden * y, 0.8 * y + hidden * x)
    found = axis_of(Energy(across), gratings(across), moves)
    assert found is not None
    assert abs((found - angle + 90) % 180 - 90) < 2


@pytest.mark.parametrize("apart", [30, 60, 90])
def test_a_unit_that_sees_both_axes_has_none(apart: float) -> None:
    half = math.radians(apart / 2)
    sides = [
        (math.cos(half) * math.cos(angle), math.cos(half) * math.sin(angle))
        for angle in (half, -half)
    ]
    assert axis_of(Energy(*sides), gratings(*sides), (1.0, 0.0)) is None


def test_a_unit_of_one_clip_or_of_none_has_no_axis() -> None:
    parts = moving([(0.8, 0.0)])
    velocity, speed = torch.tensor([[0.8, 0.0]]), torch.tensor([0.8])
    assert visible_axes(likeness(parts), parts, velocity, speed) == [None]
    assert visible_axes(lambda clips: torch.ones(len(clips)), parts, velocity, speed) == [None]
    silent = visible_axes(lambda clips: torch.zeros(len(clips)), parts, velocity, speed)
    assert silent == [None]
    broken = visible_axes(lambda clips: torch.full((1,), math.nan), parts, velocity, speed)
    assert broken == [None]


def test_an_axis_across_the_motion_is_not_told() -> None:
    """That unit minds one direction and accepts any speed in the other: nothing is hidden."""
    slow = (0.0, 0.01)
    assert axis_of(Energy(slow), gratings(slow), (0.8, 0.0)) is None


def wave(length: float, speed: float, angle: float, phase: float) -> Tensor:
    """A clip (1, 3, T, H, W) of a yellow and blue wave that drifts, px and px/frame."""
    t, h, w = SIZE
    time = torch.arange(t)[:, None, None] - t // 2
    y, x = torch.meshgrid(torch.arange(h) - h / 2, torch.arange(w) - w / 2, indexing="ij")
    along = math.cos(angle) * x - math.sin(angle) * y - speed * time
    grey = torch.sin(2 * math.pi * along / length + phase)
    return torch.stack([grey, grey, -grey])[None]


@pytest.mark.parametrize(
    ("length", "speed", "turn"),
    [(8.0, 1.0, 0.0), (12.0, 1.5, 10.0), (8.0, 1.0, 45.0), (10.0, 1.0, -130.0)],
)
def test_gratings_tell_the_motion_where_what_was_found_moves_faster_or_elsewhere(
    length: float, speed: float, turn: float
) -> None:
    fast, angle = 1 / 0.7 * speed, 0.5 + math.radians(turn)
    found = moving([(fast * math.cos(0.5), -fast * math.sin(0.5))])
    colours = torch.tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1)
    yellow = 0.5 + (found.texture - 0.5).mean(1, keepdim=True) * colours
    found = Decomposition(yellow, found.offset, found.displacement)
    waves = [wave(length, speed, angle, phase) for phase in (0.0, math.pi / 2)]

    def energy(clips: Tensor) -> Tensor:
        parts = [(clips * each).mean((1, 2, 3, 4)).square() for each in waves]
        return parts[0] + parts[1]

    score, gratings, velocity = best_grating(energy, found)
    x, y = velocity[0].tolist()
    assert math.hypot(x, y) == pytest.approx(speed, rel=0.1)
    assert math.remainder(math.atan2(-y, x) - angle, 2 * math.pi) == pytest.approx(0, abs=0.1)
    torch.testing.assert_close(energy(gratings.drifting(velocity).render()), score)
    assert score > 2 * energy(found.render())
