"""torch-dreams: its batched image, transforms and objective, one unit per batch row."""

import torch
from torch import Tensor, nn
from torch_dreams import Dreamer
from torch_dreams.batched_image_param import BatchedAutoImageParam
from torch_dreams.batched_objective import BatchedObjective
from torch_dreams.transforms import random_resize
from torchvision import transforms

from ..cases import Case, Measurement
from .peer import SIDE, first_that_runs, mean_of, part

DISTRIBUTION = "torch-dreams"
ENDLESS = 10**9  # steps


def measure(case: Case, device: torch.device, seconds: float) -> list[Measurement]:
    """torch-dreams as it comes; where that fails, with a resize behind its default transforms."""

    def as_it_comes(module: nn.Module, *, resized: bool = False) -> None:
        dreamer = Dreamer(module, quiet=True, device=str(device))
        if resized:
            dreamer.set_custom_transforms(defaults_and_resize())
        dreamer.render(
            layers=[part(module, case.layer)],
            image_parameter=BatchedAutoImageParam(case.batch, SIDE, SIDE, device=str(device)),
            iters=ENDLESS,
            custom_func=BatchedObjective([Channel(unit) for unit in range(case.batch)]),
        )

    attempts = [
        ("as it comes", as_it_comes),
        (f"resized to {SIDE} px", lambda module: as_it_comes(module, resized=True)),
    ]
    return [first_that_runs("torch_dreams", case, device, seconds, attempts)]


def defaults_and_resize() -> transforms.Compose:
    """What `Dreamer.render` makes by default, and a resize to the network's input."""
    return transforms.Compose(
        [
            transforms.RandomAffine(degrees=15, translate=(0.0, 0.0)),
            random_resize(max_size_factor=1.2, min_size_factor=0.5),
            transforms.Resize((SIDE, SIDE)),
        ]
    )


class Channel:
    """Its documentation's `custom_func` for one channel, tokens read right."""

    def __init__(self, unit: int) -> None:
        self._unit = unit

    def __call__(self, outputs: list[Tensor]) -> Tensor:
        return -mean_of(outputs[0], self._unit)
