"""Horama: its `fourier` with its own defaults (a 1280 px picture, six crops of it a step)."""

import dataclasses
import functools

import torch
from horama import fourier
from torch import Tensor, nn

from ..cases import Case, Measurement
from .peer import SIDE, first_that_runs, mean_of, part

DISTRIBUTION = "horama"
ENDLESS = 10**9  # steps


def measure(case: Case, device: torch.device, seconds: float) -> list[Measurement]:
    """Horama makes one picture at a time: a step of a batch is as many steps of one picture."""
    one = _one_picture(dataclasses.replace(case, batch=1), device, seconds)
    note = "one picture at a time: batch 1 times the batch size" if case.batch > 1 else ""
    return [
        dataclasses.replace(
            one,
            case=case,
            seconds=None if one.seconds is None else one.seconds * case.batch,
            note="; ".join(filter(None, [one.note, note])),
        )
    ]


@functools.cache
def _one_picture(case: Case, device: torch.device, seconds: float) -> Measurement:
    def render(module: nn.Module) -> None:
        outputs: list[Tensor] = []
        part(module, case.layer).register_forward_hook(lambda *args: outputs.append(args[2]))

        def objective(images: Tensor) -> Tensor:
            outputs.clear()
            module(images)
            return mean_of(outputs[-1], 0)

        fourier(objective, total_steps=ENDLESS, model_input_size=SIDE, device=str(device))

    return first_that_runs("horama", case, device, seconds, [("as it comes", render)])
