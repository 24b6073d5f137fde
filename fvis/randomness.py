"""One random stream per picture and purpose, whatever else is in the batch."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def random_generator(*key: object) -> Generator:
    """A CPU generator seeded by `key` alone, e.g. (seed, model, layer, unit, repeat, purpose)."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def normal(generators: Sequence[Generator], *shape: int) -> Tensor:
    """Standard normal numbers (B, *shape), row b from generator b."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def uniform(generators: Sequence[Generator], *shape: int) -> Tensor:
    """Uniform numbers in [0, 1) of (B, *shape), row b from generator b."""
    return torch.stack([torch.rand(shape, generator=generator) for generator in generators])
