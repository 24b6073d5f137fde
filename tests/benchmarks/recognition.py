"""Whether networks recognise each other's pictures of classes, judged on the saved files.

`python -m tests.benchmarks.recognition WEIGHTS [OVERRIDE ...] [--classes test] [--seeds 0 1]` takes
the folder of the networks' checkpoints (NAME.safetensors), and settings of `fvis run`. Pictures
stay in outputs/recognition.
"""

import argparse
import hashlib
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

# The networks of which `attacks` has checkpoints too.
ATTACKED = ("deit_tiny_patch16_224", "mobilenetv2_100")
NETWORKS = {
    "deit_tiny_patch16_224": [],
    "mobilenetv2_100": [
        "+model.kwargs.pad_type=same",
        "model.input.mean=[0.5,0.5,0.5]",
        "model.input.std=[0.5,0.5,0.5]",
    ],
    "tf_efficientnet_lite0": [],
}
# The first defaults were chosen on these classes, so they are in neither half of the protocol.
SPENT = {
    15, 90, 100, 130, 145, 260, 290, 325, 340, 385,
    405, 420, 425, 510, 555, 570, 610, 640, 945, 985,
}  # fmt: skip
TUNING, TEST = 20, 30  # classes
RESAMPLES = 2000
OUTPUT = Path("outputs/recognition")
CAPTION = (
    "recognised: share of the pictures whose class comes first of all 1000, with its 95 % interval "
    "over classes (bootstrap); log p: the mean log-probability of the class, with its interval."
)


@dataclass(frozen=True)
class Pictures:
    """One network's pictures (K, 3, H, W) of K classes, as read from their files."""

    rgb: Tensor
    finals: list[float]
    cpu_seconds: float


@dataclass(frozen=True)
class Verdict:
    """What a network makes of pictures: is the class first (K,), and its log-probability (K,)."""

    first: Tensor
    log_probability: Tensor


def model_settings(name: str, weights: Path) -> list[str]:
    """The settings of `fvis run` for one of NETWORKS, its checkpoint in `weights`."""
    checkpoint = weights / f"{name}.safetensors"
    return ["model=timm", f"model.name={name}", f"model.checkpoint={checkpoint}", *NETWORKS[name]]


def classes(half: str) -> list[int]:
    """ImageNet classes of the half on which settings are chosen (`tuning`), or of the other.

    >>> set(classes("tuning")) & set(classes("test"))
    set()
    """
    drawn = sorted(set(range(1000)) - SPENT, key=lambda k: hashlib.sha256(b"%d" % k).digest())
    return drawn[:TUNING] if half == "tuning" else drawn[TUNING : TUNING + TEST]


def make(
    name: str, weights: Path, units: Sequence[int], overrides: Sequence[str], folder: Path
) -> Pictures:
    """Run fvis on some of one network's classes, and read what it left."""
    listed = ",".join(map(str, units))
    settings = [*model_settings(name, weights), f"target.units=[{listed}]", *overrides]
    config = schema.parse(compose(settings))
    started = time.process_time()
    runner.run(config, folder)
    seconds = (time.process_time() - started) / len(units)
    places = [folder / "units" / f"logits-{unit:05d}" for unit in units]
    rgb = torch.stack([torch.from_numpy(read_png(place / "image.png")) for place in places])
    metadata = [json.loads((place / "metadata.json").read_text()) for place in places]
    return Pictures(rgb, [unit["activation"]["final"] for unit in metadata], seconds)


def judge(model: Model, rgb: Tensor, units: Sequence[int]) -> Verdict:
    """What `model` makes of pictures (K, 3, H, W) of these classes."""
    with torch.no_grad():
        scores = model.module(model.preprocessing.normalise(rgb)).log_softmax(1)
    true = torch.tensor(units)
    return Verdict(scores.argmax(1) == true, scores[torch.arange(len(true)), true])


def interval(values: Tensor, seed: int = 0) -> tuple[float, float]:
    """The central 95 % of the means of `values` (S, K) over classes drawn with replacement.

    A class keeps its S seeds together.

    >>> interval(torch.ones(2, 5))
    (1.0, 1.0)
    """
    draw = torch.Generator().manual_seed(seed)
    count = values.shape[1]
    places = torch.randint(count, (RESAMPLES, count), generator=draw)
    means = values.double().mean(0)[places].mean(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def row(name: str, judged_by: str, made: Sequence[Pictures], verdicts: Sequence[Verdict]) -> str:
    """One row of the table; a picture and a verdict for each seed."""
    first = torch.stack([verdict.first for verdict in verdicts])
    sure = torch.stack([verdict.log_probability for verdict in verdicts])
    (low, high), (least, most) = interval(first), interval(sure)
    cells = [
        name,
        "itself" if judged_by == name else judged_by,
        f"{first.double().mean():.0%} ({low:.0%} to {high:.0%})",
        ", ".join(str(int(seed.sum())) for seed in first),
        f"{sure.mean():.2f} ({least:.2f} to {most:.2f})",
        f"{sum(sum(each.finals) for each in made) / first.numel():.1f}",
        f"{sum(each.cpu_seconds for each in made) / len(made):.1f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def main(arguments: Sequence[str]) -> None:
    """Print one row per network and judge."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.recognition", description=__doc__
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--classes", choices=("tuning", "test"), default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    asked = parser.parse_args(arguments)
    units = classes(asked.classes)
    judges = {
        name: models.load(schema.parse(compose(model_settings(name, asked.weights))).model)
        for name in NETWORKS
    }
    sys.stdout.write(f"{len(units)} {asked.classes} classes, seeds {asked.seeds}; {CAPTION}\n\n")
    sys.stdout.write("| pictures of | judge | recognised | by seed | log p | logit | CPU s |\n")
    sys.stdout.write("| --- | --- | --- | --- | --- | --- | --- |\n")
    for name in asked.networks:
        made = [
            make(name, asked.weights, units, [*asked.overrides, f"engine.seed={seed}"],
                 OUTPUT / f"{name}-{seed}")
            for seed in asked.seeds
        ]  # fmt: skip
        for other, model in judges.items():
            verdicts = [judge(model, each.rgb, units) for each in made]
            sys.stdout.write(row(name, other, made, verdicts))
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
