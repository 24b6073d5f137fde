"""Colours tell direction and speed, and the legend tells how to read them."""

import math

import pytest
import torch
from torch import Tensor

from fvis.motion import colours


def towards(degrees: float, speed: float = 1.0) -> Tensor:
    """The flow (2, 1, 1) in a direction: 0 right, 90 up, counter-clockwise as seen."""
    angle = math.radians(degrees)
    return torch.tensor([math.cos(angle), -math.sin(angle)]).view(2, 1, 1) * speed


def colour(degrees: float, speed: float = 1.0) -> Tensor:
    return colours.flow_colours(towards(degrees, speed), 1.0).flatten()


def light(rgb: Tensor) -> Tensor:
    """Linear light of sRGB."""
    rgb = rgb.double()
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def oklab(rgb: Tensor) -> Tensor:
    """OKLab (3,) of an sRGB colour (3,), by the inverse of the package's matrices."""
    from_lms, to_lms = (
        torch.tensor(matrix, dtype=torch.float64) for matrix in (colours.FROM_LMS, colours.TO_LMS)
    )
    lms = torch.linalg.solve(from_lms, light(rgb)).clamp_min(0) ** (1 / 3)
    return torch.linalg.solve(to_lms, lms)


def hue(rgb: Tensor) -> float:
    """Hue angle in degrees."""
    _, a, b = oklab(rgb)
    return math.degrees(math.atan2(b, a)) % 360


def apart(a: float, b: float) -> float:
    """The angle in degrees between two angles."""
    return abs((a - b + 180) % 360 - 180)


def test_the_tests_own_colour_space_is_oklab() -> None:
    """White and red as published with OKLab."""
    torch.testing.assert_close(
        oklab(torch.ones(3)), torch.tensor([1.0, 0, 0]).double(), atol=1e-3, rtol=0
    )
    red = oklab(torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(red, torch.tensor([0.628, 0.225, 0.126]).double(), atol=1e-3, rtol=0)


def test_right_is_red_up_yellow_green_left_cyan_down_violet() -> None:
    assert apart(hue(colour(0)), hue(torch.tensor([1.0, 0, 0]))) < 0.5
    red, green, blue = colour(0)
    assert red > 1.5 * green and red > 1.5 * blue
    red, green, blue = colour(90)
    assert green > red > 1.3 * blue
    red, green, blue = colour(180)
    assert min(green, blue) > 10 * red
    red, green, blue = colour(270)
    assert blue > red > green


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_a_quarter_turn_of_the_flow_is_a_quarter_turn_of_the_hue(degrees: int) -> None:
    start = hue(colour(degrees))
    assert apart(hue(colour(degrees + 90)), start + 90) < 0.5
    assert apart(hue(colour(degrees + 180)), start + 180) < 0.5


def test_no_direction_is_lighter_than_another_and_neighbours_differ() -> None:
    circle = torch.stack([oklab(colour(degrees)) for degrees in range(0, 360, 15)])
    assert (circle[:, 0] - colours.LIGHTNESS).abs().max() < 2e-3
    steps = (circle - circle.roll(1, 0)).norm(dim=1)
    assert steps.min() > 0.025  # OKLab: about 0.02 is just seen


def test_the_circle_lies_within_what_screens_show() -> None:
    """A colour cut to the gamut would have another lightness than it should."""
    for degrees in range(360):
        lightness, a, b = oklab(colour(degrees))
        assert lightness == pytest.approx(colours.LIGHTNESS, abs=2e-3)
        wanted = colours.CHROMA + colours.SWELL * math.cos(math.atan2(b, a) + colours.SWELL_AT)
        assert math.hypot(a, b) == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize("degrees", [0, 75, 200, 300])
def test_brightness_rises_with_speed_from_black_to_the_scale(degrees: int) -> None:
    shades = torch.stack([colour(degrees, speed) for speed in torch.linspace(0, 1, 11)])
    assert shades[0].tolist() == [0.0, 0.0, 0.0]
    assert (light(shades).sum(1).diff() > 0).all()
    assert torch.equal(colour(degrees, 1.0), shades[-1])
    torch.testing.assert_close(colour(degrees, 7.0), shades[-1])


def test_only_speed_over_scale_matters() -> None:
    flow = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    rgb = colours.flow_colours(flow, 2.0)
    assert rgb.shape == (3, 3, 4, 5)
    assert rgb.min() >= 0 and rgb.max() <= 1
    torch.testing.assert_close(rgb, colours.flow_colours(flow * 5, 10.0))


@pytest.mark.parametrize("size", [31, 64])
def test_the_wheel_shows_the_colours_of_the_velocities_it_stands_for(size: int) -> None:
    wheel = colours.colour_wheel(size, 3.0, background=0.25)
    seen = 0
    for row in range(size):
        for column in range(size):
            place = torch.tensor([column, row]) + 0.5 - size / 2
            radius = place.norm() / (size / 2)
            pixel = wheel[:, row, column]
            if radius < 1 - 2 / size:
                velocity = (place / (size / 2) * 3.0).view(2, 1, 1)
                expected = colours.flow_colours(velocity, 3.0).flatten()
                torch.testing.assert_close(pixel, expected, atol=1e-5, rtol=0)
                seen += 1
            elif radius > 1:
                assert pixel.tolist() == [0.25, 0.25, 0.25]
    assert seen > 0.7 * math.pi / 4 * size**2


@pytest.mark.parametrize("size", [1e-3, 0.3, 1.0, 1.4, 7.0, 42.0, 3e5])
def test_the_scale_holds_99_percent_of_the_speeds_and_is_1_2_or_5(size: float) -> None:
    velocity = torch.randn(2, 4, 30, 30, generator=torch.Generator().manual_seed(1)) * size
    scale = colours.speed_scale(velocity)
    speeds = velocity.norm(dim=0)
    assert (speeds <= scale).float().mean() >= 0.99
    assert f"{scale:.6e}"[0] in "125" and float(f"{scale:.0e}") == scale
    if scale > colours.SMALLEST_SCALE:
        assert (speeds <= scale / 2.5 * 0.99).float().mean() < 0.99, "no step smaller would do"


@pytest.mark.parametrize(
    ("speed", "scale"), [(2.0, 2.0), (2.0001, 2.0), (2.1, 5.0), (5.5, 10.0), (0.15, 0.2)]
)
def test_a_uniform_motion_gets_the_next_step(speed: float, scale: float) -> None:
    assert colours.speed_scale(towards(33, speed).expand(2, 6, 7)) == scale


def test_a_few_outliers_do_not_darken_the_rest() -> None:
    velocity = towards(120, 0.9).repeat(1, 20, 20)
    velocity[:, 0, :3] = 1000.0
    assert colours.speed_scale(velocity) == 1.0


@pytest.mark.parametrize("value", [0.0, 1e-6, 0.01, math.nan, math.inf])
def test_a_still_or_broken_unit_is_not_amplified(value: float) -> None:
    assert colours.speed_scale(torch.full((2, 3, 4, 4), value)) == colours.SMALLEST_SCALE


@pytest.mark.parametrize(
    ("frames", "h", "w"), [(1, 16, 16), (15, 64, 64), (7, 112, 171), (3, 225, 40), (2, 33, 47)]
)
def test_a_motion_clip_is_high_enough_even_and_true(frames: int, h: int, w: int) -> None:
    velocity = torch.randn(2, frames, h, w, generator=torch.Generator().manual_seed(2))
    clip = colours.motion_clip(velocity, 2.0)
    _, t, height, width = clip.shape
    assert (t, height % 2, width % 2) == (frames, 0, 0)
    factor = math.ceil(224 / h)
    assert 224 <= factor * h <= height <= factor * h + 1
    shown = clip[:, :, : factor * h : factor, : factor * w : factor]
    assert torch.equal(shown, colours.flow_colours(velocity, 2.0))
    assert clip.min() >= 0 and clip.max() <= 1


def test_every_frame_has_the_same_panel_and_it_states_the_scale() -> None:
    velocity = torch.randn(2, 5, 32, 32, generator=torch.Generator().manual_seed(3))
    slow, fast = (colours.motion_clip(velocity, scale)[..., 224:] for scale in (0.2, 500.0))
    for panel in (slow, fast):
        assert torch.equal(panel, panel[:, :1].expand_as(panel))
    assert slow.shape[3] != fast.shape[3] or not torch.equal(slow, fast), "the scale is written"


@pytest.mark.parametrize("scale", [0.1, 2.0, 0.0005, 1e6, 5e12])
@pytest.mark.parametrize("height", [16, 224, 300])
def test_the_legend_is_whole(scale: float, height: int) -> None:
    """A margin of background all around: neither the wheel nor the text is cut."""
    panel = colours.motion_clip(torch.zeros(2, 1, height, 2), scale)[:, 0]
    frame = 2 * math.ceil(224 / height)
    panel = panel[:, :, frame:]
    edge = torch.ones_like(panel, dtype=torch.bool)
    edge[:, 4:-4, 4:-4] = False
    assert (panel[edge] == colours.BACKGROUND).all()
    rows = (panel != colours.BACKGROUND).any(0).any(1).nonzero().flatten()
    gaps = rows.diff() > 1
    assert gaps.sum() == 1, "the wheel, a gap, one line of text"
    text = panel[:, rows[1:][gaps].item() : rows[-1] + 1]
    assert text.shape[1] >= 12, "legible"
    assert text.min() < 0.1


@pytest.mark.parametrize("degrees", [0, 45, 120, 270])
def test_an_arrow_lies_along_the_flow_with_its_head_where_it_goes(degrees: float) -> None:
    velocity = towards(degrees, 2.0).unsqueeze(1).expand(2, 1, 1, 1)
    plain = colours.motion_clip(velocity, 2.0)[:, 0, :, :224]
    drawn = colours.motion_clip(velocity, 2.0, arrows=True)[:, 0, :, :224]
    inked = (drawn - plain).abs().amax(0) > 0.1
    y, x = inked.nonzero().T.double() - 111.5
    along = torch.tensor([math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))])
    ahead = x * along[0] + y * along[1]
    aside = (x * along[1] - y * along[0]).abs()
    assert ahead.max() - ahead.min() == pytest.approx(224, abs=12), "one cell long"
    assert aside[ahead > 0].max() > 3 * aside[ahead < 0].max(), "the head is wider than the shaft"


def test_what_hardly_moves_gets_no_arrow() -> None:
    velocity = torch.zeros(2, 2, 64, 64)
    velocity[0, :, :32] = 1.0
    velocity[0, :, 32:] = 0.05
    plain = colours.motion_clip(velocity, 1.0)
    drawn = colours.motion_clip(velocity, 1.0, arrows=True)
    changed = (drawn - plain).abs().amax((0, 1, 3)) > 0.01
    assert changed[:128].any() and not changed[128:].any()
    assert torch.equal(drawn[..., 256:], plain[..., 256:]), "the legend stays"
