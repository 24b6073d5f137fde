"""What is seen is the texture where the displacement points, and it moves the other way."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fvis.motion.warp import velocity, warp
from fvis.randomness import random_generator
from tests.motion.reference import moved

SIZES = [(24, 24), (17, 31), (31, 17), (32, 8), (33, 65), (5, 1)]


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=random_generator("warp", *shape))


def still(t: int, h: int, w: int, b: int = 1) -> Tensor:
    return torch.zeros(b, 2, t, h, w)


def spot(y: int, x: int) -> Tensor:
    """A black picture (1, 3, 9, 11) with one white pixel."""
    texture = torch.zeros(1, 3, 9, 11)
    texture[0, :, y, x] = 1
    return texture


@pytest.mark.parametrize("size", SIZES)
def test_no_displacement_gives_the_textures_own_pixels(size: tuple[int, int]) -> None:
    texture = noise(2, 3, *size)
    clip = warp(texture, still(3, *size, b=2))
    assert torch.equal(clip, texture[:, :, None].expand(-1, -1, 3, -1, -1))


@pytest.mark.parametrize("frame", [(12, 17), (17, 12), (16, 16)])
def test_the_offset_says_where_the_frames_corner_lies(frame: tuple[int, int]) -> None:
    texture = noise(1, 3, 37, 40)
    (h, w), (x, y) = frame, (5, 9)
    clip = warp(texture, still(2, h, w), torch.tensor([[x, y]]).float())
    seen = texture[:, :, y : y + h, x : x + w]
    assert torch.equal(clip, seen[:, :, None].expand(-1, -1, 2, -1, -1))


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-2, 0), (0, 1), (0, -3), (2, -1)])
def test_a_positive_displacement_shows_what_lies_right_and_below(dx: int, dy: int) -> None:
    displacement = still(1, 9, 11) + torch.tensor([dx, dy]).view(1, 2, 1, 1, 1)
    clip = warp(spot(y=4, x=5), displacement)
    assert torch.equal(clip[:, :, 0], spot(y=4 - dy, x=5 - dx)), "the content moves against it"


def test_velocity_is_that_of_what_is_seen() -> None:
    time = torch.arange(3)
    displacement = still(3, 9, 11)
    displacement[:, 0] = -2 * time.view(1, 3, 1, 1)
    displacement[:, 1] = time.view(1, 3, 1, 1)
    clip = warp(spot(y=4, x=3), displacement)
    for frame in range(3):
        assert torch.equal(clip[:, :, frame], spot(y=4 - frame, x=3 + 2 * frame))
    flow = velocity(displacement)
    assert torch.equal(flow, torch.tensor([2.0, -1.0]).view(1, 2, 1, 1, 1).expand(1, 2, 2, 9, 11))


@pytest.mark.parametrize("size", SIZES)
def test_between_pixels_it_is_cubic_and_in_range_wherever_it_looks(size: tuple[int, int]) -> None:
    texture = noise(1, 3, *size)
    displacement = 8 * torch.randn(1, 2, 3, 14, 13, generator=random_generator("anywhere", size))
    offset = torch.tensor([[2.25, -1.5]])
    clip = warp(texture, displacement, offset)
    expected = moved(texture[0], displacement[0], offset[0])
    np.testing.assert_allclose(clip[0].numpy(), expected, atol=2e-5)


def test_beyond_its_edge_the_edge_goes_on() -> None:
    texture = noise(1, 3, 6, 7)
    for (dx, dy), seen in {
        (100, 0): texture[..., :, -1:].expand(-1, -1, -1, 7),
        (-100, 0): texture[..., :, :1].expand(-1, -1, -1, 7),
        (0, 100): texture[..., -1:, :].expand(-1, -1, 6, -1),
        (0, -100): texture[..., :1, :].expand(-1, -1, 6, -1),
    }.items():
        displacement = still(1, 6, 7) + torch.tensor([dx, dy]).view(1, 2, 1, 1, 1)
        assert torch.equal(warp(texture, displacement)[:, :, 0], seen)


def test_gradients_reach_texture_displacement_and_no_other_row() -> None:
    texture = (0.3 + 0.4 * noise(2, 3, 5, 6)).double().requires_grad_(True)  # never clamped
    steps = torch.randint(-2, 3, (2, 2, 2, 5, 6), generator=random_generator("steps")).double()
    displacement = (steps + 0.3).requires_grad_(True)
    assert torch.autograd.gradcheck(warp, (texture, displacement))
    gradients = torch.autograd.grad(warp(texture, displacement)[0].square().sum(), (
        texture, displacement,
    ))  # fmt: skip
    for gradient in gradients:
        assert gradient[0].abs().sum() > 0
        assert gradient[1].abs().sum() == 0


def test_a_row_does_not_depend_on_its_batch_mates() -> None:
    texture = noise(3, 3, 13, 10)
    displacement = 3 * torch.randn(3, 2, 4, 13, 10, generator=random_generator("rows"))
    offset = torch.tensor([[0.0, 0.0], [1.5, 2.0], [-1.0, 0.25]])
    together = warp(texture, displacement, offset)
    for row in range(3):
        one = slice(row, row + 1)
        assert torch.equal(warp(texture[one], displacement[one], offset[one]), together[one])


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    frame=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    shift=st.tuples(st.integers(-12, 12), st.integers(-12, 12)),
)
def test_whole_pixels_are_slices_of_the_texture_whatever_the_sizes(
    size: tuple[int, int], frame: tuple[int, int], shift: tuple[int, int]
) -> None:
    texture = noise(1, 3, *size)
    (h, w), (dx, dy) = frame, shift
    displacement = still(1, h, w) + torch.tensor([dx, dy]).view(1, 2, 1, 1, 1)
    padded = np.pad(texture[0].numpy(), ((0, 0), (12, 32), (12, 32)), mode="edge")
    seen = padded[:, 12 + dy : 12 + dy + h, 12 + dx : 12 + dx + w]
    assert np.array_equal(warp(texture, displacement)[0, :, 0].numpy(), seen)
