"""Random numbers depend on their key alone, whatever text is in it."""

import os

import torch

from fvis.randomness import LARGE, normal, random_generator


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
