"""What an attack is judged on comes back from its file bit by bit."""

import io

import pytest
import torch
from PIL import Image
from torch import Tensor

from fvis.perturbation import files


def levels(*shape: int) -> Tensor:
    """RGB noise in whole multiples of 1/255."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)) / 255


def test_a_picture_comes_back() -> None:
    rgb = levels(3, 9, 7)
    assert torch.equal(files.read(files.content(rgb, 8), clip=False), rgb)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_clip_comes_back(frames: int) -> None:
    clip = levels(3, frames, 9, 7)
    assert torch.equal(files.read(files.content(clip, 8), clip=True), clip)


def test_frames_that_are_equal_are_kept() -> None:
    still = levels(3, 1, 9, 7).expand(-1, 6, -1, -1)
    assert torch.equal(files.read(files.content(still, 8), clip=True), still)
    partly = levels(3, 6, 9, 7)
    partly[:, 3], partly[:, 5, 4:] = partly[:, 2], partly[:, 4, 4:]
    assert torch.equal(files.read(files.content(partly, 8), clip=True), partly)


def test_a_clip_plays_at_its_rate_and_loops() -> None:
    with Image.open(io.BytesIO(files.content(levels(3, 4, 9, 7), 10))) as image:
        assert (image.format, image.info["loop"], image.info["duration"]) == ("PNG", 0, 100)
