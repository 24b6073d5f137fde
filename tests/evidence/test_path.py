"""A picture's way through a network, beside that of photographs."""

import pytest
import torch
from torch import Tensor

from fvis.evidence.path import measure_path

PHOTOGRAPHS, CHANNELS = 60, 40
STRONGEST = torch.arange(9)  # indices of photographs


def course(shared: float = 1.0) -> tuple[dict[str, Tensor], Tensor]:
    """A course in which the first nine photographs share a pattern, and that pattern (C,)."""
    generator = torch.Generator().manual_seed(1)
    pattern = torch.randn(CHANNELS, generator=generator)
    layers = []
    for _ in range(3):
        values = torch.randn(PHOTOGRAPHS, CHANNELS, generator=generator) / 2
        values[STRONGEST] += shared * pattern
        layers.append(
            5 + values * torch.linspace(0.1, 10, CHANNELS)
        )  # as channels have it: any scale
    return dict(zip("abc", layers, strict=True)), pattern


def on(pattern: Tensor) -> list[Tensor]:
    return [5 + pattern * torch.linspace(0.1, 10, CHANNELS)] * 3


def test_a_picture_on_the_photographs_way_keeps_it() -> None:
    given, pattern = course()
    found = measure_path(given, on(pattern), STRONGEST)
    assert found.layers == ["a", "b", "c"]
    assert found.kept is not None
    assert found.kept > 0.9
    assert found.photographs[0] == pytest.approx(0.7, abs=0.2)
    assert found.others[0] is not None
    assert found.others[0] < 0  # the others lack what the strongest have in common


def test_a_picture_that_takes_another_way_loses_it() -> None:
    given, pattern = course()
    stray = torch.randn(CHANNELS, generator=torch.Generator().manual_seed(2))
    lost = measure_path(given, on(stray), STRONGEST).kept
    opposite = measure_path(given, on(-pattern), STRONGEST).kept
    assert lost is not None
    assert opposite is not None
    assert abs(lost) < 0.35
    assert opposite < -0.7


def test_photographs_without_a_way_in_common_tell_nothing() -> None:
    given, pattern = course(shared=0.0)
    assert measure_path(given, on(pattern), STRONGEST).kept is None


def test_a_channel_that_never_varies_does_not_count() -> None:
    given, pattern = course()
    dead = {
        path: torch.cat([values, torch.zeros(PHOTOGRAPHS, 1)], 1) for path, values in given.items()
    }
    loud = [torch.cat([values, torch.tensor([1e6])]) for values in on(pattern)]
    with_dead = measure_path(dead, loud, STRONGEST)
    assert with_dead.kept == pytest.approx(measure_path(given, on(pattern), STRONGEST).kept)
