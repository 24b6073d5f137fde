"""Lucent: its own image, transforms and channel objective, one unit per batch row."""

import torch
from lucent.optvis import objectives, param, render
from torch import nn

from ..cases import Case, Measurement
from .peer import SIDE, first_that_runs, fresh_network, mean_of, part

# Lucent reads get_rotation_matrix2d and warp_affine from kornia's top level. Its own bound on
# kornia (<= 0.4.1, what pip installs) has them there: nothing needs to be put back.
DISTRIBUTION = "torch-lucent"
ENDLESS = 10**9  # steps


def measure(case: Case, device: torch.device, seconds: float) -> list[Measurement]:
    """Lucent as it comes; where that fails, with its option `fixed_image_size`."""

    def as_it_comes(module: nn.Module, fixed_image_size: int | None = None) -> None:
        render.render_vis(
            module,
            objective(case),
            lambda: param.image(SIDE, batch=case.batch),
            thresholds=(ENDLESS,),
            progress=False,
            show_image=False,
            fixed_image_size=fixed_image_size,
        )

    def resized(module: nn.Module) -> None:
        if misread := misreads(case, device):
            raise ValueError(misread)
        as_it_comes(module, SIDE)

    attempts = [("as it comes", as_it_comes), (f"with fixed_image_size={SIDE}", resized)]
    return [first_that_runs("lucent", case, device, seconds, attempts)]


def objective(case: Case) -> objectives.Objective:
    """Lucent's way to climb several units at once: a sum, each term reading its own row."""
    layer = lucent_name(case.layer)
    rows = [objectives.channel(layer, unit, batch=unit) for unit in range(case.batch)]
    return objectives.Objective.sum(rows)


def lucent_name(layer: str) -> str:
    """A layer as Lucent spells it."""
    return "labels" if layer == "logits" else layer.replace(".", "_")


def misreads(case: Case, device: torch.device) -> str:
    """What Lucent's channel 0 of the layer is in truth, where it is not channel 0."""
    module = fresh_network(case, device)
    found: list[torch.Tensor] = []
    part(module, case.layer).register_forward_hook(lambda *args: found.append(args[2]))
    with torch.no_grad():
        module(torch.rand(1, 3, SIDE, SIDE, device=device))
    output = found[-1]
    value = -objectives.channel(lucent_name(case.layer), 0)(lambda layer: output)
    if torch.isclose(value, mean_of(output, 0)):
        return ""
    wrong = "token 0" if torch.isclose(value, output[:, 0].mean()) else "something else"
    return f"channel 0 of its objective is {wrong} of the layer's {tuple(output.shape)}"
