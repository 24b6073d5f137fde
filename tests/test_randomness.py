"""Random numbers depend on their key alone, whatever text is in it."""

import os

import pytest
import torch

from fvis.randomness import LARGE, normal, random_generator, seeded


def test_a_file_name_of_undecodable_bytes_is_a_key_as_any_other() -> None:
    names = [os.fsdecode(name) for name in (b"\xff.npy", b"\xff.npy", b"\xfe.npy")]
    rows = normal([random_generator(0, name) for name in names], 4)
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


def test_large_rows_are_each_drawn_by_their_generator() -> None:
    """Threads draw them, in no fixed order."""
    rows = normal([random_generator(row) for row in range(8)], LARGE)
    alone = [torch.randn(LARGE, generator=random_generator(row)) for row in range(8)]
    assert torch.equal(rows, torch.stack(alone))
    assert not torch.equal(rows[0], rows[1])


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
        ),
    ],
)
def test_initial_weights_have_a_seed_and_the_callers_stream_goes_on(device: str) -> None:
    torch.rand(1, device=device)
    torch.manual_seed(3)
    undisturbed = torch.rand(2, device=device)
    torch.manual_seed(3)
    drawn = []
    for seed in (5, 5, 6):
        with seeded(seed):
            drawn.append(torch.rand(4, device=device))
    assert torch.equal(torch.rand(2, device=device), undisturbed)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
