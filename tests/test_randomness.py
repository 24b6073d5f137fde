"""Random numbers depend on their key alone, whatever text is in it."""

import os

import torch

from fvis.randomness import normal, random_generator


def test_a_file_name_of_undecodable_bytes_is_a_key_as_any_other() -> None:
    names = [os.fsdecode(name) for name in (b"\xff.npy", b"\xff.npy", b"\xfe.npy")]
    rows = normal([random_generator(0, name) for name in names], 4)
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])
