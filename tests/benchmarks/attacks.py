"""Targeted attacks at equal bounds and equal gradients: fvis beside torchattacks' PGD and MI-FGSM.

`python -m tests.benchmarks.attacks SHARED [--count N] [--norm linf] [--bounds 8/255 2/255 1/255]
[--steps 40] [--networks NAME...] [--tools NAME...] [--json FILE] [OVERRIDE...]` attacks the
photographs of SHARED/images on DeiT-tiny and MobileNetV2, one random target each. With `--norm l2`
the bounds are lengths (3 1 0.5), and the peer is PGDL2. Every tool's pictures become PNG files and
are judged as those are read back. fvis's runs stay in outputs/attacks. The peers need
torchattacks, which `make bench` puts into an environment of its own.
"""

import argparse
import io
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from fvis import models, runner, schema
from fvis.artifacts import png_bytes, read_png, write_json
from fvis.compose import compose
from fvis.models import Model
from fvis.perturbation import measures
from fvis.perturbation.ball import radius
from fvis.perturbation.search import Search

from .recognition import ATTACKED, model_settings

FOLDER = Path("outputs/attacks")
FVIS, PGD, MI_FGSM = "fvis", "torchattacks PGD", "torchattacks MI-FGSM"
PGD_L2 = "torchattacks PGDL2"
TOOLS = {"linf": (FVIS, PGD, MI_FGSM), "l2": (FVIS, PGD_L2)}
BOUNDS = {"linf": ("8/255", "2/255", "1/255"), "l2": ("3", "1", "0.5")}
BATCH = 4
HEADS = (
    "network", "bound", "tool", "success", "probability", "TV", "SSIM", "spectral centroid",
    "mean change", "greatest l2", "CPU s an image",
)  # fmt: skip
CAPTION = (
    "success: PNG files read back that are taken for their target; "
    "probability: the target's, their mean; TV: of the perturbation, mean "
    "absolute difference of neighbours, both axes added, in 1/255; spectral centroid: cycles per "
    "pixel; mean change: of a value, in 1/255; greatest l2: of all changes (rounding may "
    "take a peer's out of its ball); CPU s: of the attack alone. Means over all images."
)

Attack = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """What one tool made of all images of a network, within `bound`."""

    network: str
    bound: str
    tool: str
    success: list[bool]
    probability: list[float]
    tv: list[float]
    ssim: list[float]
    centroid: list[float]
    change: list[float]
    l2: list[float]
    cpu_seconds: float

    def cells(self) -> list[str]:
        """The row's cells, in the order of HEADS."""
        return [
            self.network,
            self.bound,
            self.tool,
            f"{sum(self.success)} of {len(self.success)}",
            f"{statistics.fmean(self.probability):.2f}",
            f"{statistics.fmean(self.tv):.2f}",
            f"{statistics.fmean(self.ssim):.4f}",
            f"{statistics.fmean(self.centroid):.3f}",
            f"{statistics.fmean(self.change):.2f}",
            f"{max(self.l2):.2f}",
            f"{self.cpu_seconds:.2f}",
        ]


@dataclass(frozen=True)
class Task:
    """What all tools are given: pictures (B, 3, H, W) of whole levels, targets (B,), a bound."""

    network: str
    norm: str
    bound: str
    clean: Tensor
    targets: Tensor

    @property
    def epsilon(self) -> float:
        """The bound, for RGB in [0, 1]."""
        return radius(self.bound, self.norm, math.nan, self.clean.shape[1:])


def judge(model: Model, task: Task, files: Tensor, tool: str, cpu_seconds: float) -> Row:
    """The row of pictures as read back; raises `ValueError` where one is out of its ball."""
    delta = files - task.clean
    reach = delta.abs().max() if task.norm == "linf" else measures.l2(delta).max()
    if (task.norm == "linf" or tool == FVIS) and reach > task.epsilon + 1e-5:
        raise ValueError(f"{tool} left the ball of {task.bound}")
    with torch.no_grad():
        logits = [model.module(model.preprocessing.normalise(rgb)) for rgb in files.split(BATCH)]
    seen = torch.cat(logits)
    pairs = zip(task.clean, files, strict=True)
    return Row(
        network=task.network,
        bound=task.bound,
        tool=tool,
        success=(seen.argmax(1) == task.targets).tolist(),
        probability=seen.softmax(1).gather(1, task.targets[:, None])[:, 0].tolist(),
        tv=measures.total_variation(delta).tolist(),
        ssim=[measures.ssim(*pair) for pair in pairs],
        centroid=measures.spectral_centroid(delta).nan_to_num(0).tolist(),
        change=(255 * delta.abs().flatten(1).mean(1)).tolist(),
        l2=measures.l2(delta).tolist(),
        cpu_seconds=cpu_seconds / len(files),
    )


def ours(
    network: str, shared: Path, count: int, norm: str, bound: str, overrides: Sequence[str]
) -> Any:
    """Run fvis; the task it had, its files as read back, and the search's CPU seconds."""
    images = sorted((shared / "images").glob("*.jpg"))
    chosen = [images[i * len(images) // count] for i in range(count)]
    settings = [
        *model_settings(network, shared / "weights"),
        "method=adversarial",
        f"method.images=[{','.join(map(str, chosen))}]",
        f"method.norm={norm}",
        f"method.epsilon={bound}",
        "method.probability=0",  # as the peers: to be the likeliest is enough
        f"engine.batch_size={BATCH}",
        *overrides,
    ]
    config = schema.parse(compose(settings))
    folder = FOLDER / f"{network}-{norm}-{bound.replace('/', '-')}"
    with _Timed() as seconds:
        runner.run(config, folder)
    units = sorted((folder / "units").glob("*/metadata.json"))
    targets = torch.tensor([json.loads(file.read_text())["target"] for file in units])
    clean, files = (
        torch.stack([torch.from_numpy(read_png(file.parent / name)) for file in units])
        for name in ("clean.png", "adversarial.png")
    )
    model = models.load(config.model)
    return model, Task(network, norm, bound, clean, targets), files, seconds[0]


class _Timed:
    """A context whose value is a list with the CPU seconds that fvis's searches took."""

    def __enter__(self) -> list[float]:
        self.seconds = [0.0]
        run = Search.run

        def counted(*arguments: Any) -> Any:
            started = time.process_time()
            trace = run(*arguments)
            self.seconds[0] += time.process_time() - started
            return trace

        self.patch = mock.patch.object(Search, "run", counted)
        self.patch.start()
        return self.seconds

    def __exit__(self, *_: object) -> None:
        self.patch.stop()


class Normalised(nn.Module):
    """A network of RGB in [0, 1], as torchattacks takes it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.module = model.module

    def forward(self, rgb: Tensor) -> Tensor:
        logits: Tensor = self.module(self.model.preprocessing.normalise(rgb))
        return logits


def peer(tool: str, model: Model, bound: float, steps: int) -> Attack:
    """torchattacks' attack, targeted: steps of a quarter of the bound, PGD from a random start."""
    import torchattacks

    made = {PGD: torchattacks.PGD, MI_FGSM: torchattacks.MIFGSM, PGD_L2: torchattacks.PGDL2}[tool]
    network = Normalised(model).eval().requires_grad_(False)
    attack = made(network, eps=bound, alpha=bound / 4, steps=steps)
    attack.set_mode_targeted_by_label(quiet=True)
    return attack  # type: ignore[no-any-return]


def theirs(attack: Attack, task: Task) -> tuple[Tensor, float]:
    """A peer's pictures as files read back, and the CPU seconds it took."""
    torch.manual_seed(0)
    started = time.process_time()
    batches = zip(task.clean.split(BATCH), task.targets.split(BATCH), strict=True)
    pictures = torch.cat([attack(*batch) for batch in batches])
    seconds = time.process_time() - started
    files = [read_png(io.BytesIO(png_bytes(rgb))) for rgb in pictures]
    return torch.stack([torch.from_numpy(file) for file in files]), seconds


def measure(arguments: argparse.Namespace, overrides: Sequence[str]) -> Iterator[Row]:
    """One row per network, bound and tool."""
    steps = [f"engine.steps={arguments.steps}", "engine.threads=1"]
    for network in arguments.networks:
        for bound in arguments.bounds or BOUNDS[arguments.norm]:
            given = (network, arguments.shared, arguments.count, arguments.norm, bound)
            model, task, files, seconds = ours(*given, [*steps, *overrides])
            yield judge(model, task, files, FVIS, seconds)
            for tool in TOOLS[arguments.norm]:
                if tool != FVIS and tool in (arguments.tools or TOOLS[arguments.norm]):
                    attack = peer(tool, model, task.epsilon, arguments.steps)
                    yield judge(model, task, *_named(theirs(attack, task), tool))


def _named(made: tuple[Tensor, float], tool: str) -> tuple[Tensor, str, float]:
    return made[0], tool, made[1]


def main(words: Sequence[str] | None = None) -> None:
    """Print the table, row by row as they come."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.attacks")
    parser.add_argument("shared", type=Path)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--norm", choices=TOOLS, default="linf")
    parser.add_argument("--bounds", nargs="+")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--networks", nargs="+", choices=ATTACKED, default=ATTACKED)
    parser.add_argument(
        "--tools", nargs="+", choices=[tool for tools in TOOLS.values() for tool in tools]
    )
    parser.add_argument("--json", type=Path)
    arguments, overrides = parser.parse_known_args(words)
    torch.set_num_threads(1)
    lines = [CAPTION, "", "| " + " | ".join(HEADS) + " |"]
    lines.append("| --- | ---: | --- |" + " ---: |" * (len(HEADS) - 3))
    sys.stdout.write("\n".join(lines) + "\n")
    rows = []
    for row in measure(arguments, overrides):
        rows.append(row)
        sys.stdout.write("| " + " | ".join(row.cells()) + " |\n")
        sys.stdout.flush()
    if arguments.json:
        write_json(arguments.json, [asdict(row) for row in rows])


if __name__ == "__main__":
    main()
