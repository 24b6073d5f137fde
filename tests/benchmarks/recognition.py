"""Whether other networks recognise the pictures: DeiT-tiny's and MobileNetV2's classes, crosswise.

`python -m tests.benchmarks.recognition WEIGHTS [OVERRIDE...]` takes the folder of
deit_tiny_patch16_224.safetensors and mobilenetv2_100.safetensors, and settings of `fvis run`.
Pictures stay in outputs/recognition.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvis import models, runner, schema
from fvis.artifacts import read_png
from fvis.compose import compose
from fvis.models import Model

# Spread over ImageNet: birds, beasts, plants, vehicles, buildings, instruments, clothes, food.
CLASSES = (
    15, 90, 100, 130, 145, 260, 290, 325, 340, 385,
    405, 420, 425, 510, 555, 570, 610, 640, 945, 985,
)  # fmt: skip
NETWORKS = {
    "deit_tiny_patch16_224": [],
    "mobilenetv2_100": [
        "+model.kwargs.pad_type=same",
        "model.input.mean=[0.5,0.5,0.5]",
        "model.input.std=[0.5,0.5,0.5]",
    ],
}


@dataclass(frozen=True)
class Pictures:
    """One network's pictures (K, 3, H, W) in the order of CLASSES, as read from their files."""

    model: Model
    rgb: Tensor
    finals: list[float]
    cpu_seconds: float


def model_settings(name: str, weights: Path) -> list[str]:
    """The settings of `fvis run` for one of NETWORKS, its checkpoint in `weights`."""
    checkpoint = weights / f"{name}.safetensors"
    return ["model=timm", f"model.name={name}", f"model.checkpoint={checkpoint}", *NETWORKS[name]]


def make(name: str, weights: Path, overrides: Sequence[str], folder: Path) -> Pictures:
    """Run fvis on one network's classes, and read what it left."""
    settings = [
        *model_settings(name, weights),
        f"target.units=[{','.join(map(str, CLASSES))}]",
        *overrides,
    ]
    config = schema.parse(compose(settings))
    started = time.process_time()
    runner.run(config, folder / name)
    seconds = (time.process_time() - started) / len(CLASSES)
    units = [folder / name / "units" / f"logits-{unit:05d}" for unit in CLASSES]
    rgb = torch.stack([torch.from_numpy(read_png(unit / "image.png")) for unit in units])
    metadata = [json.loads((unit / "metadata.json").read_text()) for unit in units]
    finals = [unit["activation"]["final"] for unit in metadata]
    return Pictures(models.load(config.model), rgb, finals, seconds)


def recognised(model: Model, rgb: Tensor) -> int:
    """How many pictures are of their class to `model`, first of all its classes."""
    with torch.no_grad():
        top = model.module(model.preprocessing.normalise(rgb)).argmax(1)
    return int((top == torch.tensor(CLASSES)).sum())


def main(weights: Path, overrides: Sequence[str]) -> None:
    """Print one row per network."""
    made = {name: make(name, weights, overrides, Path("outputs/recognition")) for name in NETWORKS}
    sys.stdout.write(f"pictures of {len(CLASSES)} classes each; {' '.join(overrides)}\n")
    sys.stdout.write("| network | own | other | mean logit | least | CPU s a picture |\n")
    sys.stdout.write("| --- | --- | --- | --- | --- | --- |\n")
    for name, mine in made.items():
        (other,) = (theirs for other, theirs in made.items() if other != name)
        cells = [
            name,
            str(recognised(mine.model, mine.rgb)),
            str(recognised(other.model, mine.rgb)),
            f"{sum(mine.finals) / len(mine.finals):.1f}",
            f"{min(mine.finals):.1f}",
            f"{mine.cpu_seconds:.1f}",
        ]
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
