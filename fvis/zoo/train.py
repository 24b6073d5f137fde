"""Trains the embedded networks from fixed seeds (`make zoo`); drawing inputs is left to others.

Training is adversarial: at every step, inputs are first moved up the loss within a small L2 ball.
What a network trained in this way responds to resembles its classes to people, too (Engstrom et al.
2019, "Adversarial robustness as a prior for learned representations").
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from fvis.artifacts import write_bytes, write_png
from fvis.randomness import seeded
from fvis.zoo import NETWORKS, ZooNetwork, drifts, glyphs

if TYPE_CHECKING:
    from collections.abc import Sequence

VALIDATION_SEED = 20_000
VALIDATION_COUNT = 3000


class Subject(Protocol):
    """Draws the inputs that a network is trained on: the module `glyphs` or `drifts`."""

    def draw_labels(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` class indices, (B,) int64."""
        ...

    def draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return one input per label, (B, 3, ...) RGB in [0, 1]."""
        ...


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes:
        subject: draws the inputs for training and validation.
        seed: of the initial weights and of the training inputs.
        steps: optimizer steps.
        batch_size: inputs per step; every input is new.
        learning_rate: AdamW's, at the peak of its one-cycle schedule.
        weight_decay: AdamW's, on all parameters.
        epsilon: radius of the L2 ball in which inputs are moved, for RGB in [0, 1].
        ramp: fractions of the steps at which the radius starts to grow and reaches `epsilon`. If it
            were full from the start, a network would not learn to do better than guessing.
    """

    subject: Subject
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    epsilon: float
    ramp: tuple[float, float]

    def epsilon_at(self, step: int) -> float:
        """Return the radius of the L2 ball at a step, for RGB in [0, 1]."""
        start, full = self.ramp
        grown = (step / self.steps - start) / (full - start)
        return self.epsilon * min(1.0, max(0.0, grown))


RECIPES = {
    "glyph_cnn": Recipe(glyphs, 1, 800, 64, 4e-3, 0.05, 3.0, (0.0, 0.25)),
    "glyph_vit": Recipe(glyphs, 2, 1800, 32, 1.5e-3, 0.05, 2.5, (0.25, 0.7)),
    "drift_r3d": Recipe(drifts, 3, 600, 24, 4e-3, 0.05, 6.0, (0.1, 0.5)),
}


PICTURES_SEED = 30_000
PICTURES_COUNT = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Retrain the networks named on the command line, or all of them, and replace their files."""
    parser = argparse.ArgumentParser(prog="python -m fvis.zoo.train", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(RECIPES))
    names = parser.parse_args(arguments).names or list(RECIPES)
    if unknown := [name for name in names if name not in RECIPES]:
        parser.error(f"no recipe for {unknown[0]!r}; there are {', '.join(RECIPES)}")
    # One thread, so that sums are added in the same order on every machine.
    torch.set_num_threads(1)
    for name in names:
        retrain(NETWORKS[name], RECIPES[name])
    write_pictures(Path(__file__).parent / "pictures" / "glyphs")


def retrain(zoo_network: ZooNetwork, recipe: Recipe) -> None:
    """Train a network from scratch, measure its accuracy and replace its weights file."""
    started = time.monotonic()
    network = fit(zoo_network, recipe)
    # Measure the weights that are shipped: those rounded to float16.
    network.half().float()
    validation = torch.Generator().manual_seed(VALIDATION_SEED)
    accuracy = measure_accuracy(network, zoo_network, recipe.subject, VALIDATION_COUNT, validation)
    seconds = time.monotonic() - started
    _report(f"{zoo_network.name}: accuracy {accuracy:.4f} in {seconds:.0f} s")
    kind = "pictures" if zoo_network.frames is None else "clips"
    record = {
        "accuracy": f"{accuracy:.4f}",
        f"validation_{kind}": str(VALIDATION_COUNT),
        "validation_seed": str(VALIDATION_SEED),
        "classes": json.dumps(zoo_network.classes),
        "seed": str(recipe.seed),
        "steps": str(recipe.steps),
        "torch": torch.__version__,
    }
    write_weights(network, zoo_network.weights, record)


def write_pictures(folder: Path) -> None:
    """Write a few pictures of glyphs that the glyph networks were not trained on."""
    generator = torch.Generator().manual_seed(PICTURES_SEED)
    labels = glyphs.draw_labels(PICTURES_COUNT, generator)
    for index, rgb in enumerate(glyphs.draw(labels, generator)):
        called = glyphs.CLASSES[labels[index]].replace(" ", "-")
        write_png(folder / f"{index:02d}-{called}.png", rgb)


def fit(zoo_network: ZooNetwork, recipe: Recipe) -> nn.Module:
    """Return the network, trained by the recipe, in eval mode and float32 on the CPU."""
    with seeded(recipe.seed):
        network = zoo_network.build()
    if zoo_network.frames is None:
        network = network.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=0.2
    )
    for step in range(recipe.steps):
        labels = recipe.subject.draw_labels(recipe.batch_size, generator)
        inputs = recipe.subject.draw(labels, generator)
        if (epsilon := recipe.epsilon_at(step)) > 0:
            inputs = attacked(network, zoo_network, inputs, labels, epsilon)
        scores = network.train()(normalised(inputs, zoo_network))
        loss = functional.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            correct = (scores.argmax(1) == labels).float().mean()
            _report(f"{zoo_network.name}: step {step} loss {loss:.3f} attacked {correct:.2f}")
    return network.eval()


def attacked(
    network: nn.Module, zoo_network: ZooNetwork, inputs: Tensor, labels: Tensor, epsilon: float
) -> Tensor:
    """Move pictures or clips up the loss by one gradient step of L2 length `epsilon`.

    Args:
        network: it is left in eval mode; its parameters' gradients are not changed.
        zoo_network: gives the normalisation.
        inputs: (B, 3, H, W) or (B, 3, T, H, W) RGB in [0, 1].
        labels: (B,) int64.
        epsilon: L2 length of each row's step, for RGB in [0, 1].

    Returns:
        RGB in [0, 1], of the inputs' shape.
    """
    inputs = inputs.clone().requires_grad_()
    scores = network.eval()(normalised(inputs, zoo_network))
    loss = functional.cross_entropy(scores, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, inputs)
    step = epsilon * functional.normalize(gradient.flatten(1), dim=1).view_as(inputs)
    return (inputs + step).clamp(0, 1).detach()


def measure_accuracy(
    network: nn.Module,
    zoo_network: ZooNetwork,
    subject: Subject,
    count: int,
    generator: torch.Generator,
) -> float:
    """Return the network's accuracy, in [0, 1], on `count` newly drawn inputs."""
    correct = 0
    with torch.no_grad():
        for labels in torch.split(subject.draw_labels(count, generator), 100):
            inputs = subject.draw(labels, generator)
            scores = network(normalised(inputs, zoo_network))
            correct += int((scores.argmax(1) == labels).sum())
    return correct / count


def normalised(inputs: Tensor, zoo_network: ZooNetwork) -> Tensor:
    """Normalise RGB (B, 3, ...) in [0, 1] for the network."""
    shape = (3,) + (1,) * (inputs.dim() - 2)
    mean = inputs.new_tensor(zoo_network.mean).view(shape)
    std = inputs.new_tensor(zoo_network.std).view(shape)
    return (inputs - mean) / std


def write_weights(network: nn.Module, path: Path, record: dict[str, str]) -> None:
    """Write the network's state dict as float16, with `record` as metadata, whole or not at all."""
    state = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
    }
    write_bytes(path, save(state, record))


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
