"""The ascent's Adam is torch's, to the bit."""

import torch
from torch import Tensor

from fvis.adam import EPSILON, Adam


def moved(steps: int, *, own: bool) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    parameter = torch.randn(2, 3, 37, generator=generator).requires_grad_(True)
    theirs = torch.optim.AdamW(
        [parameter], betas=(0.5, 0.99), eps=EPSILON, weight_decay=0.04, foreach=False
    )
    ours = Adam([parameter], [0.04], (0.5, 0.99))
    for step in range(steps):
        parameter.grad = torch.randn(2, 3, 37, generator=generator)
        lr = 0.07 / (1 + step)
        if own:
            ours.step(ours.rates(lr, step + 1))
        else:
            theirs.param_groups[0]["lr"] = lr
            theirs.step()
    return parameter.detach()


def test_its_steps_are_torchs() -> None:
    assert torch.equal(moved(7, own=True), moved(7, own=False))
