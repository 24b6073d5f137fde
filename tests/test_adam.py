"""The ascent's Adam is torch's fused one, to the bit."""

import pytest
import torch
from torch import Tensor

from fvis.adam import EPSILON, Adam, Rates

SHAPE = (2, 3, 37, 5)


def started(generator: torch.Generator, transposed: bool) -> Tensor:
    """Numbers of SHAPE, which may lie in memory with the last two axes swapped."""
    numbers = torch.randn(SHAPE, generator=generator)
    return numbers.transpose(2, 3).contiguous().transpose(2, 3) if transposed else numbers


def moved(
    steps: int, *, fused: bool, own: bool, spread: tuple[bool, bool], counted: bool = False
) -> Tensor:
    """A parameter after some steps; `spread` says whether it and its gradients are transposed."""
    generator = torch.Generator().manual_seed(0)
    parameter = started(generator, spread[0]).requires_grad_(True)
    theirs = torch.optim.AdamW(
        [parameter], betas=(0.5, 0.99), eps=EPSILON, weight_decay=0, foreach=False, fused=fused
    )
    ours = Adam([parameter], [0.0], (0.5, 0.99))
    for step in range(steps):
        parameter.grad = started(generator, spread[1])
        lr = 0.07 / (1 + step)
        if own:
            rates = ours.rates(lr, step + 1)
            if counted:
                rates = Rates(*(torch.tensor(rate, dtype=torch.float64) for rate in rates))
            ours.step(rates)
        else:
            theirs.param_groups[0]["lr"] = lr
            theirs.step()
    return parameter.detach()


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_its_steps_are_torchs(transposed: bool, counted: bool) -> None:
    spread = (transposed, transposed)
    ours = moved(7, fused=True, own=True, spread=spread, counted=counted)
    assert torch.equal(ours, moved(7, fused=True, own=False, spread=spread))


def test_gradients_that_lie_in_memory_in_another_order_belong_to_their_numbers() -> None:
    ours = moved(7, fused=False, own=True, spread=(False, True))
    assert torch.equal(ours, moved(7, fused=False, own=False, spread=(False, True)))
    torch.testing.assert_close(ours, moved(7, fused=True, own=True, spread=(False, False)))


def test_weights_decay_as_torchs_do() -> None:
    ours, theirs = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = Adam([ours], [0.04], (0.5, 0.99))
    reference = torch.optim.AdamW([theirs], 0.1, (0.5, 0.99), EPSILON, 0.04)
    for number in (1, 2, 3):
        ours.grad, theirs.grad = torch.full((3,), 0.1 * number), torch.full((3,), 0.1 * number)
        optimizer.step(optimizer.rates(0.1, number))
        reference.step()
    torch.testing.assert_close(ours, theirs)
