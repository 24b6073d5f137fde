"""Random numbers that depend on the picture and the purpose, but not on the rest of the batch."""

import contextlib
import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Generator, Tensor

LARGE = 1 << 15  # numbers in a row from which on rows are worth a thread each


def random_generator(*key: object) -> Generator:
    """A CPU generator whose seed depends only on `key`, e.g. (seed, model, layer, unit, purpose).

    >>> first, second = (random_generator(0, "resnet50", "logits", 7) for _ in range(2))
    >>> torch.equal(normal([first], 3), normal([second], 3))
    True
    """
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode(errors="surrogatepass")).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A context in which what draws without a generator, as initial weights do, begins at `seed`.

    The caller's own streams of random numbers go on afterwards as if nothing had been drawn, those
    of CUDA too: `torch.manual_seed` would leave them changed.
    """
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(cuda):
        torch.default_generator.manual_seed(seed)
        for device in cuda:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield


def normal(generators: Sequence[Generator], *shape: int) -> Tensor:
    """Standard normal numbers (B, *shape); generator b, which no other row has, draws row b.

    Large rows are drawn by as many threads as torch has: pictures of a large batch begin with
    hundreds of millions of numbers, for which a GPU would wait.
    """

    def drawn(generator: Generator) -> Tensor:
        return torch.randn(shape, generator=generator)

    if math.prod(shape) < LARGE or len(generators) == 1:
        return torch.stack([*map(drawn, generators)])
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        return torch.stack([*threads.map(drawn, generators)])


def uniform(generators: Sequence[Generator], *shape: int) -> Tensor:
    """Uniform numbers in [0, 1), (B, *shape); generator b draws row b."""
    return torch.stack([torch.rand(shape, generator=generator) for generator in generators])
