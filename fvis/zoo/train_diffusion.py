"""Trains the embedded diffusion model of glyph pictures (`make zoo`), in diffusers' own format.

It knows what glyphs look like, and nothing of classes: the prior of `prior=diffusion`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fvis.randomness import seeded
from fvis.zoo import GLYPH_DIFFUSION, glyphs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffusers import DDPMScheduler

SIZE = 32  # px: half of the glyphs' own, for a fifth of the time; pictures are enlarged afterwards
CHANNELS = (24, 48, 64)  # at 32, 16 and 8 positions per side


@dataclass(frozen=True)
class Recipe:
    """One stage of the training: AdamW under a one-cycle schedule, on pictures that are all new.

    Attributes:
        draw: draws pictures for labels; see `glyphs`.
        seed: of the pictures, times and noise; in the first stage also of the initial weights.
        steps: optimizer steps.
        learning_rate: AdamW's, at the peak of its schedule.
        batch_size: pictures per step.
        decay: of the running mean of the weights, which is what is kept.
    """

    draw: Callable[[Tensor, torch.Generator], Tensor]
    seed: int
    steps: int
    learning_rate: float
    batch_size: int = 16
    decay: float = 0.995


# What a glyph is, is learnt on the pictures of the networks; then, to draw nothing besides it.
STAGES = (
    Recipe(glyphs.draw, 4, 2600, 1.5e-3),
    Recipe(glyphs.draw_clean, 5, 600, 1e-3),
)


def main() -> None:
    """Train the model again, and replace its files."""
    # One thread, so that sums are added in the same order on every machine.
    torch.set_num_threads(1)
    retrain()


def retrain(stages: Sequence[Recipe] = STAGES, folder: Path = GLYPH_DIFFUSION) -> None:
    """Train the model from scratch, and replace its folder's files (float16 weights)."""
    from diffusers import DDPMPipeline

    started = time.monotonic()
    with seeded(stages[0].seed):
        network = build()
    for recipe in stages:
        network = fit(network, recipe)
    _report(f"glyph_diffusion: {time.monotonic() - started:.0f} s")
    DDPMPipeline(unet=network.half(), scheduler=noise_schedule()).save_pretrained(folder)


def build() -> nn.Module:
    """A UNet with random weights: noisy pictures (B, 3, SIZE, SIZE) in [-1, 1], times (B,) to v."""
    from diffusers import UNet2DModel

    network: nn.Module = UNet2DModel(
        sample_size=SIZE,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D",) * 2 + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * 2,
        norm_num_groups=8,
        attention_head_dim=8,
    )
    return network


def noise_schedule() -> DDPMScheduler:
    """The schedule: the cosine of Nichol & Dhariwal 2021, v as of Salimans & Ho 2022."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")


def fit(network: nn.Module, recipe: Recipe) -> nn.Module:
    """The running mean of the network's weights, trained, rounded to float16; in eval mode."""
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=0.1
    )
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.decay))
    for step in range(recipe.steps):
        loss = loss_of_batch(network.train(), recipe, generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean.update_parameters(network)
        if step % 50 == 0:
            _report(f"glyph_diffusion: step {step} loss {loss:.4f}")
    trained: nn.Module = mean.module
    return trained.half().float().eval()


def loss_of_batch(network: nn.Module, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """The mean squared error of v on newly drawn pictures at random times."""
    scheduler, count = noise_schedule(), recipe.batch_size
    drawn = recipe.draw(glyphs.draw_labels(count, generator), generator)
    pictures = 2 * functional.adaptive_avg_pool2d(drawn, SIZE) - 1
    times = torch.randint(scheduler.config.num_train_timesteps, (count,), generator=generator)
    noise = torch.randn(pictures.shape, generator=generator)
    noisy = scheduler.add_noise(pictures, noise, times)
    told: Tensor = network(noisy, times).sample
    return functional.mse_loss(told, scheduler.get_velocity(pictures, noise, times))


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
