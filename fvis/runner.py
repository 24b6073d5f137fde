"""One config to one output folder: the only module that knows all others."""

import contextlib
import dataclasses
import logging
import platform
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from fvis import artifacts, models
from fvis.ascent import Trace
from fvis.batching import auto_size, in_batches
from fvis.errors import RequestError
from fvis.methods import METHODS, Context, Method, Result
from fvis.models import Model
from fvis.recipe import fitted
from fvis.report.gallery import write_index
from fvis.schema import Config

SCHEMA = 1
LIBRARIES = ("fvis", "torch", "torchvision", "timm", "hydra-core", "numpy")

logger = logging.getLogger(__name__)


def run(config: Config, directory: Path, records: Mapping[str, str] | None = None) -> Path:
    """Carry out `config`, leaving its pictures and numbers in `directory`.

    Nothing is written before the request has proved right: model built, weights loaded, targets
    found; till then `RequestError` is raised. From then on every unit's directory is whole or
    absent, and `run.json` says running, done or interrupted. `records` are further texts to keep,
    by path.
    """
    context = prepare(config)
    config = context.config
    method = METHODS[config.method.name](context)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (records or {}).items():
        artifacts.write_text(directory / name, text)
    state = _State(directory, context, method.refused)
    with _log_file(directory / "fvis.log"), state:
        for result in solve(method, config, context.device):
            write_unit(directory / "units", result)
            state.add(result)
    write_index([directory], directory / "index.html")
    return directory


def prepare(config: Config, model: Model | None = None) -> Context:
    """The model a config asks for on its device, and the config with what the model settles.

    With a `model` given, that one; the config's is not looked at.
    """
    device = find_device(config.engine.device)
    if config.engine.threads is not None:
        torch.set_num_threads(config.engine.threads)
    model = model or models.load(config.model, config.engine.seed)
    model.module.to(device)
    if config.engine.channels_last:
        video = model.preprocessing.frames is not None
        layout = torch.channels_last_3d if video else torch.channels_last
        model.module.to(memory_format=layout)
    return Context(fitted(config, model), model, device)


def find_device(name: str) -> torch.device:
    """The device called `name`; `auto` is cuda, then mps, then cpu."""
    if name == "auto":
        name = "cpu"
        if torch.backends.mps.is_available():
            name = "mps"
        if torch.cuda.is_available():
            name = "cuda"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"engine.device={name} cannot be used: {reason}") from None
    return device


def solve(method: Method, config: Config, device: torch.device) -> Iterator[Result]:
    """All results, batch by batch, each with the seconds that it took."""
    groups = method.groups
    size = auto_size(device) if config.engine.batch_size == "auto" else config.engine.batch_size
    jobs = sum(len(group) for group in groups)
    with _Progress(jobs, method.steps) as progress:

        def solve(batch: list[Any]) -> list[Result]:
            progress.batch = len(batch)
            started = time.perf_counter()
            results = method.solve(batch, progress.on_step)
            seconds = (time.perf_counter() - started) / len(batch)
            for result in results:
                result.metadata["seconds"] = round(seconds, 3)
            return results

        for results in in_batches(groups, size, solve):
            yield from results


def write_unit(directory: Path, result: Result) -> None:
    """A result's pictures and metadata.json, in a folder of its own in `directory`."""
    with artifacts.whole_directory(directory / result.name) as place:
        for name, write in result.files.items():
            write(place / name)
        metadata = {"schema": SCHEMA, **result.metadata, "files": sorted(result.files)}
        artifacts.write_json(place / "metadata.json", metadata)


class _Progress:
    """A bar on stderr, in pictures times steps, with the batch's mean activation."""

    def __init__(self, jobs: int, steps: int) -> None:
        self._total = jobs * steps
        self.batch = 1

    def __enter__(self) -> "_Progress":
        self._bar = tqdm(total=self._total, unit="step", smoothing=0.1, mininterval=0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def on_step(self, step: int, trace: Trace) -> None:
        """Advance by one step of every picture; the activation is read only when it was logged."""
        if self._bar.n + self.batch > self._bar.total:  # a rescue's steps come on top
            self._bar.total = self._bar.n + self.batch
        self._bar.update(self.batch)
        if trace.steps[-1] == step:
            self._bar.set_postfix_str(f"activation {trace.scores[-1].mean().item():.4g}", False)


class _State:
    """`run.json`: written when the run starts and ends, whatever ends it."""

    def __init__(self, directory: Path, context: Context, refused: Mapping[str, str]) -> None:
        self._path = directory / "run.json"
        self._started = time.time()
        self._units: list[str] = []
        self._statuses: Counter[str] = Counter()
        self._tallies: dict[str, list[float]] = {}
        self._content = {
            "schema": SCHEMA,
            "status": "running",
            "config": dataclasses.asdict(context.config),
            "versions": _versions(),
            "model": _describe(context.model),
            "device": _describe_device(context.device),
            "refused": dict(refused),
        }

    def __enter__(self) -> "_State":
        self._write("running")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._write("done" if kind is None else "interrupted")

    def add(self, result: Result) -> None:
        """Count a unit that has been written."""
        self._units.append(result.name)
        self._statuses[result.metadata["status"]] += 1
        for name, number in result.tally.items():
            self._tallies.setdefault(name, []).append(number)

    def _write(self, status: str) -> None:
        now = time.time()
        self._content |= {
            "status": status,
            "units": self._units,
            "statuses": dict(self._statuses),
            "summary": {
                name: {"mean": statistics.fmean(numbers), "of": len(numbers)}
                for name, numbers in self._tallies.items()
            },
            "timings": {
                "started": datetime.fromtimestamp(self._started, UTC).isoformat(),
                "seconds": round(now - self._started, 3),
            },
        }
        artifacts.write_json(self._path, self._content)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def _describe(model: Model) -> dict[str, Any]:
    preprocessing = dataclasses.asdict(model.preprocessing)
    return {
        "name": model.name,
        "weights": {"sha256": model.sha256, "of": model.hashed},
        "preprocessing": preprocessing,
    }


def _describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device}: {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """A context in which the package's messages also go to `path`."""
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("fvis")
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()
