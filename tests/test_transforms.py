"""Views stay in range and in the frame, each row from its own stream."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional

from fvis.randomness import random_generator, uniform
from fvis.schema import TransformsConfig
from fvis.transforms import Transforms, _grid, affine_maps, resting_maps, unsupported

CPU = torch.device("cpu")


def views_of(
    config: TransformsConfig, rgb: torch.Tensor, rows: list[int], step: int = 0
) -> torch.Tensor:
    streams = [random_generator(row) for row in rows]
    return Transforms(config, streams, 4, tuple(rgb.shape[1:]), CPU)(rgb, step)


def asymmetric(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=random_generator("picture"))


@pytest.mark.parametrize("shape", [(2, 3, 24, 24), (2, 3, 25, 31), (2, 3, 6, 24, 20)])
def test_no_transform_is_the_identity(shape: tuple[int, ...]) -> None:
    rgb = asymmetric(*shape)
    assert views_of(TransformsConfig(), rgb, [1, 2]) is rgb


def test_an_affine_map_at_rest_resamples_to_the_same_picture() -> None:
    config = TransformsConfig(rotate=1e-9)
    for shape in [(1, 3, 21, 34), (1, 3, 5, 21, 34)]:
        rgb = asymmetric(*shape)
        torch.testing.assert_close(views_of(config, rgb, [1]), rgb, atol=1e-4, rtol=1e-4)


def test_the_grid_of_a_map_is_that_of_torch() -> None:
    config = TransformsConfig(crop=[0.2, 1.0], rotate=30, shift=0.1, flip=True)
    maps = affine_maps(config, torch.rand(1, 5, 7, generator=random_generator("maps")), (3, 9, 14))
    wanted = functional.affine_grid(maps[0], [5, 1, 9, 14], align_corners=False)
    torch.testing.assert_close(_grid(maps[0], torch.Size([5, 3, 9, 14])), wanted)


def test_views_of_a_periodic_picture_are_rolled_to_anywhere_and_have_no_seam() -> None:
    """A smooth wave that fits the picture stays one: whatever the roll, it is bent nowhere."""
    x = torch.arange(24) / 24 * 2 * math.pi
    wave = 0.5 + 0.4 * (x[None, :] + x[:, None]).cos()
    rgb = wave.expand(1, 3, 24, 24).contiguous()
    views = Transforms(
        TransformsConfig(), [random_generator(1)], 40, (3, 24, 24), CPU, periodic=True
    )
    bend = rgb.diff(n=2).abs().max()
    phases = []
    for step in range(40):
        (view,) = views(rgb, step)
        assert view.diff(n=2).abs().max() < 1.05 * bend
        assert view.diff(n=2, dim=1).abs().max() < 1.05 * bend
        phases.append(torch.fft.fft(view[0, 0])[1].angle().item())
    assert max(phases) - min(phases) > 1.5 * math.pi, "from anywhere"


STRONG = TransformsConfig(crop=[0.3, 1.0], rotate=20, gain=1.0, offset=0.5, noise=1.0)


@pytest.mark.parametrize("shape", [(2, 3, 24, 24), (2, 3, 6, 24, 20)])
def test_no_view_leaves_the_range_of_rgb_and_the_gradient_passes_all_the_same(
    shape: tuple[int, ...],
) -> None:
    rgb = asymmetric(*shape).requires_grad_(True)
    config = dataclasses.replace(STRONG, crop=[1.0, 1.0], rotate=0)
    for settings in (STRONG, config):
        views = views_of(settings, rgb, [1, 2])
        assert (views.min(), views.max()) == (0, 1)
    (gradient,) = torch.autograd.grad(views.sum(), rgb)
    assert gradient.min() > 0.1, "also that of the clamped pixels"


@pytest.mark.parametrize("size", [(24, 24), (17, 41), (41, 17)])
def test_views_of_any_size_keep_it_and_the_range(size: tuple[int, int]) -> None:
    config = TransformsConfig(views=3, crop=[0.2, 1.0], rotate=30, flip=True)
    rgb = asymmetric(2, 3, *size)
    views = views_of(config, rgb, [1, 2])
    assert views.shape == (6, 3, *size)
    assert views.min() >= 0
    assert views.max() <= 1


def test_crop_sides_cover_the_asked_range_and_no_more() -> None:
    config = TransformsConfig(crop=[0.3, 0.8])
    maps = affine_maps(config, uniform([random_generator(0)], 4000, 7), (3, 32, 32))[0]
    sides = maps[:, 0, 0]
    assert 0.3 <= sides.min() < 0.31
    assert 0.79 < sides.max() <= 0.8
    assert (maps[:, :, 2].abs() + sides[:, None] <= 1 + 1e-6).all(), "crops lie in the picture"


def test_rotation_keeps_pixels_square_on_a_wide_frame() -> None:
    config = TransformsConfig(rotate=30)
    height, width = 20, 60
    maps = affine_maps(config, uniform([random_generator(0)], 50, 7), (3, height, width))[0]
    scale = torch.tensor([[width / 2], [height / 2]])
    for theta in maps:
        in_pixels = scale * theta[:, :2] / scale.T
        torch.testing.assert_close(in_pixels @ in_pixels.T, torch.eye(2), atol=1e-5, rtol=0)
        assert abs(math.degrees(math.asin(float(in_pixels[1, 0])))) <= 30 + 1e-4


def test_a_rows_views_do_not_depend_on_its_batch_mates() -> None:
    config = TransformsConfig(views=2, crop=[0.2, 1.0], rotate=10, flip=True, noise=0.1)
    rgb = asymmetric(1, 3, 24, 24)
    alone = views_of(config, rgb, [5], step=3)
    together = views_of(config, rgb.repeat(3, 1, 1, 1), [1, 5, 9], step=3)
    torch.testing.assert_close(together[2:4], alone)
    assert not torch.allclose(together[0:2], alone)


def test_steps_differ() -> None:
    config = TransformsConfig(crop=[0.2, 1.0], noise=0.1)
    rgb = asymmetric(1, 3, 24, 24)
    assert not torch.allclose(views_of(config, rgb, [1], 0), views_of(config, rgb, [1], 1))


def test_other_settings_are_used_at_the_next_call() -> None:
    rgb = asymmetric(1, 3, 24, 24)
    small = views_of(TransformsConfig(crop=[0.2, 0.2]), rgb, [1])
    large = views_of(TransformsConfig(crop=[0.9, 0.9]), rgb, [1])
    assert not torch.allclose(small, large)


@pytest.mark.parametrize("shape", [(2, 3, 48, 40), (2, 3, 4, 48, 40)])
def test_noise_is_normal_of_the_asked_size_and_independent_by_row(shape: tuple[int, ...]) -> None:
    grey = torch.full(shape, 0.5)
    noise = views_of(TransformsConfig(noise=0.1), grey, [1, 2]) - grey
    assert noise.std().item() == pytest.approx(0.1, rel=0.03)
    assert noise.mean().abs() < 0.01
    a, b = noise.flatten(1)
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.03


def test_global_random_numbers_are_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    config = TransformsConfig(crop=[0.2, 1.0], noise=0.1, rotate=5, flip=True)
    views_of(config, asymmetric(1, 3, 24, 24), [1])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_clips_map_is_the_same_for_all_its_frames_and_never_mirrors() -> None:
    still = asymmetric(1, 3, 1, 24, 24).expand(-1, -1, 8, -1, -1)
    config = TransformsConfig(crop=[0.3, 1.0], rotate=20, flip=True, time_shift=2, time_scale=0.3)
    for step in range(4):
        views = views_of(config, still, [1], step)
        torch.testing.assert_close(views, views[:, :, :1].expand_as(views), atol=1e-5, rtol=1e-5)
    maps = affine_maps(config, uniform([random_generator(0)], 100, 7), (3, 8, 24, 24))[0]
    assert (maps[:, 0, 0] > 0).all()


def test_time_shift_moves_whole_frames() -> None:
    ramp = torch.linspace(0, 1, 16).view(1, 1, 16, 1, 1).expand(1, 3, 16, 8, 8)
    views = views_of(TransformsConfig(time_shift=3.0), ramp, [4])
    inner = slice(4, 12)
    moved = (views - ramp)[0, 0, inner, 4, 4] * 15
    torch.testing.assert_close(moved, moved[:1].expand_as(moved), atol=1e-3, rtol=0)
    assert 0.05 < moved[0].abs() <= 3


def test_before_and_after_a_clip_its_ends_stand() -> None:
    """Mirrored in time instead, what moves would run back."""
    frames = 8
    ramp = torch.linspace(0, 1, frames).view(1, 1, frames, 1, 1).expand(1, 3, frames, 6, 6)
    held = set()
    for row in range(12):
        views = views_of(TransformsConfig(time_shift=4.0, time_scale=0.3), ramp, [row])
        course = views[0, 0, :, 3, 3]
        assert (course.diff() >= -1e-6).all(), "it never runs backwards"
        assert course.min() >= 0
        assert course.max() <= 1
        for end, value in ((0, 0.0), (-1, 1.0)):
            if course[end] == pytest.approx(value, abs=1e-6):
                held.add(end)
    assert held == {0, -1}, "some views begin before the clip, some end after it"


def test_a_clip_shifted_past_its_end_shows_its_last_frame() -> None:
    clip = asymmetric(1, 3, 6, 8, 8)
    transforms = Transforms(
        TransformsConfig(time_shift=1.0), [random_generator(0)], 1, (3, 6, 8, 8), CPU
    )
    for shift, standing in ((2.0, slice(3, None)), (-2.0, slice(None, 3))):
        assert transforms._maps is not None
        transforms._maps[..., 2, 3] = shift * 2 / 6
        views = transforms(clip, 0)
        end = clip[:, :, -1:] if shift > 0 else clip[:, :, :1]
        expected = end.expand_as(views[:, :, standing])
        torch.testing.assert_close(views[:, :, standing], expected, atol=1e-4, rtol=0)


def test_gain_and_offset_change_each_channels_contrast_and_brightness() -> None:
    config = TransformsConfig(gain=0.5, offset=0.2)
    rgb = 0.4 + 0.2 * asymmetric(2, 3, 8, 8)  # near grey, so that nothing leaves [0, 1]
    transforms = Transforms(config, [random_generator(1), random_generator(2)], 30, (3, 8, 8), CPU)
    slopes, levels = [], []
    for step in range(30):
        view = transforms(rgb, step)
        away, seen = (rgb - 0.5).flatten(2), view.flatten(2)
        slope = (seen[..., 0] - seen[..., 1]) / (away[..., 0] - away[..., 1])
        level = seen[..., 0] - slope * away[..., 0]
        torch.testing.assert_close(slope[..., None] * away + level[..., None], seen)
        slopes.append(slope)
        levels.append(level - 0.5)
    for drawn, reach in ((torch.stack(slopes).log(), 0.5), (torch.stack(levels), 0.2)):
        assert drawn.abs().max() <= reach + 1e-4
        assert drawn.max() > 0.8 * reach and drawn.min() < -0.8 * reach
        assert drawn.std(2).min() > 0, "every channel has its own"


def test_the_last_share_of_the_steps_sees_the_picture_as_it_is() -> None:
    config = TransformsConfig(crop=[0.3, 0.6], rotate=20, gain=0.3, offset=0.1, settle=0.25)
    rgb = asymmetric(1, 3, 16, 16)
    transforms = Transforms(config, [random_generator(1)], 8, (3, 16, 16), CPU)
    apart = [(transforms(rgb, step) - rgb).abs().max() for step in range(8)]
    assert min(apart[:6]) > 0.05
    assert max(apart[6:]) < 1e-4


def test_settling_leaves_a_share_of_the_noise() -> None:
    config = TransformsConfig(noise=0.2, settle=0.5, settle_noise=0.25)
    rgb = torch.full((1, 3, 32, 32), 0.5)
    transforms = Transforms(config, [random_generator(1)], 4, (3, 32, 32), CPU)
    early, late = ((transforms(rgb, step) - rgb).std().item() for step in (0, 3))
    assert early == pytest.approx(0.2, rel=0.1)
    assert late == pytest.approx(0.05, rel=0.1)


def test_a_shift_moves_crops_out_of_the_frame_by_that_share_of_its_side() -> None:
    config = TransformsConfig(crop=[0.5, 0.5], shift=0.2)
    maps = affine_maps(config, uniform([random_generator(0)], 4000, 7), (3, 32, 32))[0]
    beyond = (maps[:, :, 2].abs() + 0.5 - 1).amax(0)  # half of the frame's side is 1
    assert (beyond > 0.38).all() and (beyond <= 0.4 + 1e-6).all()


def test_half_of_the_views_are_mirrored_also_while_settling() -> None:
    rgb = asymmetric(1, 3, 8, 8)
    config = TransformsConfig(flip=True, settle=0.5)
    transforms = Transforms(config, [random_generator(0)], 80, (3, 8, 8), CPU)
    for steps in (range(40), range(40, 80)):
        mirrored = 0
        for step in steps:
            view = transforms(rgb, step)
            mirrored += torch.allclose(view, rgb.flip(-1), atol=1e-4)
            assert torch.allclose(view, rgb, atol=1e-4) != torch.allclose(
                view, rgb.flip(-1), atol=1e-4
            )
        assert 10 < mirrored < 30


@pytest.mark.parametrize("shape", [(3, 24, 32), (3, 4, 24, 32)])
def test_what_is_turned_around_is_not_mirrored(shape: tuple[int, ...]) -> None:
    config = TransformsConfig(crop=[0.5, 1.0], rotate=180, flip=True)
    numbers = uniform([random_generator(0)], 400, 7)
    maps = affine_maps(config, numbers, shape)
    drawn = torch.where(numbers[..., 4] < 0.5, -1.0, 1.0)
    expected = drawn if len(shape) == 3 else torch.ones_like(drawn)
    assert torch.equal(resting_maps(config, maps)[..., 0, 0], expected)


def test_rotations_cover_the_asked_angles_either_way() -> None:
    config = TransformsConfig(rotate=30)
    maps = affine_maps(config, uniform([random_generator(0)], 4000, 7), (3, 32, 32))[0]
    degrees = torch.rad2deg(maps[:, 1, 0].asin())
    assert -30 - 1e-3 <= degrees.min() < -29.5
    assert 29.5 < degrees.max() <= 30 + 1e-3


def test_a_stretch_in_time_changes_the_speed_by_up_to_its_share() -> None:
    ramp = torch.linspace(0, 1, 16).view(1, 1, 16, 1, 1).expand(60, 3, 16, 4, 4)
    views = views_of(TransformsConfig(time_scale=0.4), ramp, list(range(60)))
    speeds = (views[:, 0, 9, 2, 2] - views[:, 0, 6, 2, 2]) * 15 / 3
    assert 0.6 - 1e-3 <= speeds.min() < 0.65
    assert 1.35 < speeds.max() <= 1.4 + 1e-3
    middle = (views[:, 0, 7] + views[:, 0, 8]) / 2
    torch.testing.assert_close(middle, torch.full_like(middle, 0.5), msg="its middle stays")


def test_a_rows_noise_is_one_field_seen_at_many_places_with_either_sign() -> None:
    side, steps = 64, 12
    grey = torch.full((1, 3, side, side), 0.5)
    transforms = Transforms(
        TransformsConfig(noise=0.1), [random_generator(0)], steps, (3, side, side), CPU
    )
    windows = [(transforms(grey, step) - grey)[0] for step in range(steps)]
    spectra = [torch.fft.rfft2(window, s=(128, 128)) for window in windows]
    first, *others = spectra
    places, signs = set(), set()
    for other in others:
        overlap = torch.fft.irfft2(first.conj() * other).sum(0)
        place = int(overlap.abs().argmax())
        assert overlap.abs().max() > 5 * overlap.std(), "the two windows overlap"
        places.add(place)
        signs.add(float(overlap.flatten()[place].sign()))
    assert len(places) >= steps - 2
    assert signs == {1.0, -1.0}


@pytest.mark.parametrize(
    ("shape", "periodic"), [((3, 20, 31), False), ((3, 20, 31), True), ((3, 4, 20, 31), False)]
)
def test_the_gradient_is_that_of_the_views(shape: tuple[int, ...], periodic: bool) -> None:
    config = TransformsConfig(views=2, crop=[0.3, 1.0], rotate=20, shift=0.2, time_scale=0.2)
    generators = [random_generator("views", row) for row in range(2)]
    views = Transforms(config, generators, 3, shape, torch.device("cpu"), periodic=periodic)
    numbers = torch.Generator().manual_seed(0)
    rgb = torch.rand(2, *shape, generator=numbers).requires_grad_(True)
    seen = views(rgb, 1)
    weights = torch.randn(seen.shape, generator=numbers)
    (gradient,) = torch.autograd.grad((weights * seen).sum(), rgb)
    # Views are linear in the picture: weighing the view of another picture, or weighing that
    # picture by the gradient, gives the same sum.
    other = torch.rand(2, *shape, generator=numbers)
    with torch.no_grad():
        expected = (weights * views(other, 1)).double().sum()
    torch.testing.assert_close((gradient * other).double().sum(), expected, rtol=1e-4, atol=1e-3)


def test_a_device_that_lacks_a_gradient_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Apple's GPUs do in some versions of torch: `auto` then takes the CPU."""
    assert unsupported(CPU) is None

    def lacking(*given: object) -> torch.Tensor:
        raise NotImplementedError("grid_sampler_2d_backward is not implemented")

    monkeypatch.setattr(torch.ops.aten, "grid_sampler_2d_backward", lacking)
    assert "not implemented" in str(unsupported(CPU))
