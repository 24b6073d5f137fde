"""Random numbers that depend on the picture and the purpose, but not on the rest of the batch."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def random_generator(*key: object) -> Generator:
    """A CPU generator whose seed depends only on `key`, e.g. (seed, model, layer, unit, purpose).

    >>> first, second = (random_generator(0, "resnet50", "logits", 7) for _ in range(2))
    >>> torch.equal(normal([first], 3), normal([second], 3))
    True
    """
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode(errors="surrogatepass")).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def normal(generators: Sequence[Generator], *shape: int) -> Tensor:
    """Standard normal numbers (B, *shape); generator b draws row b."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def uniform(generators: Sequence[Generator], *shape: int) -> Tensor:
    """Uniform numbers in [0, 1), (B, *shape); generator b draws row b."""
    return torch.stack([torch.rand(shape, generator=generator) for generator in generators])
