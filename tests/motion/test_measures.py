"""Known displacements are read as the motion they are, where the unit looks."""

import math

import pytest
import torch
from torch import Tensor

from fvis.motion.measures import Motion, direction_deg, mean_motion, measure
from tests.motion.reference import clip_of, places, translating, turning

SIZE = (10, 40, 48)


def read(displacement: Tensor, clip: Tensor | None = None, where: Tensor | None = None) -> Motion:
    """What is measured of one displacement (2, T, H, W), its weight (T, H, W)."""
    if clip is None:
        clip = clip_of(displacement, 0)
    if where is None:
        where = torch.ones(displacement.shape[1:])
    (motion,) = measure(clip[None], displacement[None], where[None])
    return motion


def apart(a: float | None, b: float) -> float:
    """Degrees between two directions."""
    assert a is not None, "nothing moves"
    return abs((a - b + 180) % 360 - 180)


def grating(direction: float, displacement: Tensor) -> Tensor:
    """The clip (3, T, H, W) of crests across a direction in degrees, 12 px apart."""
    angle = math.radians(direction)
    place = places(*displacement.shape[-2:])[:, None] + displacement
    across = math.cos(angle) * place[0] - math.sin(angle) * place[1]
    return (0.5 + 0.4 * torch.sin(2 * math.pi / 12 * across)).expand(3, -1, -1, -1)


def plaid(directions: tuple[float, float], displacement: Tensor) -> Tensor:
    """The clip (3, T, H, W) of two gratings laid over each other."""
    one, other = (grating(direction, displacement) for direction in directions)
    return (one + other) / 2


def shear(rate: float) -> Tensor:
    """Displacement (2, T, H, W): rows move right below the middle, and left above it."""
    t, h, w = SIZE
    rows = (torch.arange(h) - (h - 1) / 2)[:, None].expand(h, w)
    moved = -rate * torch.arange(t)[:, None, None] * rows
    return torch.stack([moved, torch.zeros(t, h, w)])


def halves() -> tuple[Tensor, Tensor]:
    """The left half moves right at 1 px/frame, the right half up at 0.5; where the left half is."""
    left = torch.zeros(SIZE)
    left[..., :24] = 1
    field = left * translating(1.0, 0.0, SIZE) + (1 - left) * translating(0.0, -0.5, SIZE)
    return field, left


@pytest.mark.parametrize(
    ("vx", "vy", "degrees"),
    [(1.0, 0.0, 0), (0.0, -1.5, 90), (-0.5, 0.0, 180), (0.0, 2.0, 270), (0.6, -0.6, 45)],
)
def test_a_translation_is_its_velocity_speed_and_direction(
    vx: float, vy: float, degrees: float
) -> None:
    motion = read(translating(vx, vy, SIZE))
    assert motion.velocity == pytest.approx((vx, vy), abs=1e-4)
    assert motion.speed == pytest.approx(math.hypot(vx, vy), abs=1e-4)
    assert apart(motion.direction_deg, degrees) < 4
    assert motion.normal_velocity == pytest.approx((vx, vy), abs=0.06 * motion.speed)
    assert motion.divergence == pytest.approx(0, abs=1e-4)
    assert motion.curl == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("frames", [3, 10, 24])  # at 24 it has turned by 66 degrees
@pytest.mark.parametrize("theta", [0.05, -0.05, 0.01])
def test_a_rotation_is_its_curl_however_far_it_has_turned(theta: float, frames: int) -> None:
    motion = read(turning(theta, 0.0, (frames, *SIZE[1:])))
    assert motion.curl == pytest.approx(2 * math.sin(theta), rel=0.02)
    assert motion.divergence == pytest.approx(2 * math.cos(theta) - 2, abs=2e-4)


def test_a_positive_curl_is_clockwise_on_the_screen() -> None:
    field = turning(0.05, 0.0, (4, 41, 41))
    place = places(41, 41)[:, None] + field
    right_of_the_middle = torch.tensor([32.0, 20.0]).view(2, 1, 1, 1)
    spot = torch.exp(-(place - right_of_the_middle).square().sum(0) / 8)
    rows = (spot * places(41, 41)[1]).sum((1, 2)) / spot.sum((1, 2))
    assert (rows.diff() > 0.5).all(), "it goes down the screen"
    assert read(field, spot.expand(3, -1, -1, -1)).curl > 0.09


@pytest.mark.parametrize("growth", [0.02, -0.02])
def test_an_expansion_is_its_divergence(growth: float) -> None:
    motion = read(turning(0.0, growth, (16, *SIZE[1:])))
    assert motion.divergence == pytest.approx(2 * growth, rel=0.03)
    assert motion.curl == pytest.approx(0, abs=1e-4)


def test_of_a_grating_only_the_motion_across_it_is_seen() -> None:
    for direction, velocity in ((0, (1.0, 0.7)), (30, (1.0, 0.7)), (135, (-0.5, 0.9))):
        field = translating(*velocity, SIZE)
        motion = read(field, grating(direction, field))
        x, y = math.cos(math.radians(direction)), -math.sin(math.radians(direction))
        seen = velocity[0] * x + velocity[1] * y
        assert motion.velocity == pytest.approx(velocity, abs=1e-4)
        assert motion.normal_velocity == pytest.approx((seen * x, seen * y), abs=0.03)
        assert apart(motion.direction_deg, direction if seen > 0 else direction + 180) < 2


def test_it_is_measured_where_the_unit_looks() -> None:
    field, left = halves()
    towards = read(field, where=left)
    assert towards.velocity == pytest.approx((1, 0), abs=1e-4)
    assert apart(towards.direction_deg, 0) < 6
    away = read(field, where=1 - left)
    assert away.velocity == pytest.approx((0, -0.5), abs=1e-4)
    assert apart(away.direction_deg, 90) < 6
    both = read(field)
    assert both.velocity == pytest.approx((0.5, -0.25), abs=1e-4)
    assert both.speed == pytest.approx(0.75, abs=1e-4), "the mean length, not that of the mean"


def test_it_is_measured_when_the_unit_looks() -> None:
    """Right at 1 px/frame, and from frame 5 on down at 2."""
    early, late = translating(1.0, 0.0, SIZE), translating(0.0, 2.0, SIZE)
    field = torch.cat([early[:, :5], early[:, 4:5] + late[:, 1:6]], 1)
    when = torch.zeros(SIZE)
    when[:4] = 1
    assert read(field, where=when).velocity == pytest.approx((1, 0), abs=1e-4)
    assert read(field, where=when.flip(0)).velocity == pytest.approx((0, 2), abs=1e-4)


def test_what_stands_still_has_no_direction() -> None:
    motion = read(translating(0.0, 0.0, SIZE))
    assert motion.velocity == motion.normal_velocity == (0, 0)
    assert motion.speed == motion.divergence == motion.curl == 0
    assert motion.direction_deg is None
    assert read(translating(0.02, 0.0, SIZE)).direction_deg is None


def test_a_direction_is_counter_clockwise_from_the_right_and_none_when_slow() -> None:
    assert direction_deg(2.0, 0.0) == 0
    assert direction_deg(1.0, -1.0) == pytest.approx(45)
    assert direction_deg(-1.0, 1.0) == pytest.approx(225)
    assert direction_deg(0.03, 0.03) is None
    assert direction_deg(0.04, -0.04) == pytest.approx(45)


def test_where_nothing_matters_everything_counts_alike() -> None:
    field, left = halves()
    motion, even = read(field, where=0 * left), read(field)
    assert motion.velocity == pytest.approx(even.velocity, abs=1e-5)
    assert motion.curl == pytest.approx(even.curl, abs=1e-5)
    assert motion.normal_velocity == pytest.approx(even.normal_velocity, abs=1e-5)


def test_a_single_place_has_a_velocity_and_no_slope() -> None:
    where = torch.zeros(SIZE)
    where[:, 20, 24] = 1
    motion = read(turning(0.05, 0.0, SIZE), where=where)
    assert motion.divergence == pytest.approx(0, abs=1e-3)
    assert motion.curl == pytest.approx(0, abs=1e-3)


def test_a_grey_clip_moves_without_showing_it() -> None:
    field = translating(1.0, 0.5, SIZE)
    motion = read(field, torch.full((3, *SIZE), 0.5))
    assert motion.velocity == pytest.approx((1, 0.5), abs=1e-4)
    assert motion.normal_velocity == (0, 0)
    assert motion.direction_deg is None


def test_rows_are_measured_each_for_itself() -> None:
    fields = [translating(1.0, 0.5, SIZE), turning(0.05, 0.0, SIZE), translating(0.0, 0.0, SIZE)]
    clips = [clip_of(field, row) for row, field in enumerate(fields)]
    where = torch.stack([torch.ones(SIZE), halves()[1], torch.zeros(SIZE)])
    together = measure(torch.stack(clips), torch.stack(fields), where)
    for row, motion in enumerate(together):
        alone = read(fields[row], clips[row], where[row])
        assert motion.velocity == pytest.approx(alone.velocity, abs=1e-5)
        assert motion.normal_velocity == pytest.approx(alone.normal_velocity, abs=1e-5)
        assert motion.curl == pytest.approx(alone.curl, abs=1e-5)


def test_a_first_guess_comes_from_brightness_alone() -> None:
    velocities = [(0.8, -0.6), (-1.0, 0.2), (0.0, 0.7), (0.3, 0.3)]
    clips = [clip_of(translating(*known, SIZE), seed) for seed, known in enumerate(velocities)]
    found = mean_motion(torch.stack(clips)).tolist()
    for (vx, vy), known in zip(found, velocities, strict=True):
        direction = direction_deg(*known)
        assert direction is not None
        assert apart(direction_deg(vx, vy), direction) < 10
        assert math.hypot(vx, vy) == pytest.approx(math.hypot(*known), rel=0.3)
    assert mean_motion(clips[1][None])[0].tolist() == pytest.approx(found[1], abs=1e-5)


@pytest.mark.parametrize("angle", [30, 45, 60, 75, 90])
@pytest.mark.parametrize("velocity", [(0.6, -0.8), (-1.0, -0.3)])
def test_a_plaid_moves_as_the_pattern_does_and_not_as_its_gratings(
    angle: float, velocity: tuple[float, float]
) -> None:
    field = translating(*velocity, SIZE)
    motion = read(field, plaid((0, angle), field))
    known = direction_deg(*velocity)
    assert known is not None
    assert apart(motion.direction_deg, known) < 1
    assert motion.axis_deg is None
    assert motion.coherence == pytest.approx(1, abs=1e-3)


def test_a_grating_says_the_axis_along_which_its_motion_is_seen() -> None:
    for direction in (0, 30, 135):
        field = translating(1.0, 0.7, SIZE)
        motion = read(field, grating(direction, field))
        assert motion.axis_deg is not None
        assert abs((motion.axis_deg - direction + 90) % 180 - 90) < 1
        assert motion.coherence == pytest.approx(1, abs=1e-3)


def test_what_does_not_move_as_one_has_no_direction() -> None:
    t = SIZE[0]
    there_and_back = translating(1.5, 0.0, SIZE).clone()
    there_and_back[:, t // 2 :] = there_and_back[:, : t - t // 2].flip(1)
    fields = {
        "shear": shear(0.05),
        "rotation": turning(0.05, 0.0, SIZE),
        "expansion": turning(0.0, 0.03, SIZE),
        "there and back": there_and_back,
    }
    for name, field in fields.items():
        motion = read(field)
        assert motion.speed > 0.2, name
        assert motion.direction_deg is None, name
        assert motion.coherence < 0.3, name


def test_what_moves_mostly_one_way_has_that_direction() -> None:
    motion = read(translating(0.0, -1.0, SIZE) + shear(0.02))
    assert apart(motion.direction_deg, 90) < 1
    assert 0.9 < motion.coherence < 1


def test_a_drift_that_is_small_beside_other_motion_is_no_direction() -> None:
    motion = read(translating(0.3, 0.0, SIZE) + turning(0.06, 0.0, SIZE))
    assert math.hypot(*motion.velocity) > 0.2
    assert motion.coherence < 0.6
    assert motion.direction_deg is None


def test_the_motion_between_two_frames_counts_by_both_frames_importance() -> None:
    """Right at 1 px/frame until frame 4, then down at 2; and the unit looks at frame 4 alone."""
    early, late = translating(1.0, 0.0, SIZE), translating(0.0, 2.0, SIZE)
    field = torch.cat([early[:, :5], early[:, 4:5] + late[:, 1:6]], 1)
    when = torch.zeros(SIZE)
    when[4] = 1
    assert read(field, where=when).velocity == pytest.approx((0.5, 1), abs=1e-4)
