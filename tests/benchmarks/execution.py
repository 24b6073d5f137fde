"""`python -m tests.benchmarks.execution`: what writer threads and workers save of a run's time.

The same units are made by `fvis run` in four ways, in turns: written on the main thread, written by
threads, by one of Ray's workers and by two (where `fvis[ray]` is installed), with one thread each.
Wall seconds of `run.json`, which count from the network's loading to the last file, so a quiet
machine with two cores is needed. Weights are random.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fvis.artifacts import write_json
from fvis.run_folder import read_run

# Small pictures that are soon made, and pictures of a usual size and cost.
CASES = {
    "glyph_cnn layer2": (
        *("model=glyph_cnn", "target.layer=layer2", "target.units=all", "target.repeats=4"),
        *("engine.steps=16", "engine.batch_size=16"),
    ),
    "mobilenetv2_100 blocks.3": (
        *("model=timm", "model.name=mobilenetv2_100", "model.pretrained=false"),
        *("target.layer=blocks.3", "target.units=0:32", "engine.steps=24", "engine.batch_size=4"),
    ),
}
MAIN, THREADS, ONE, TWO = "main thread", "threads", "one worker", "two workers"
WAYS = {
    MAIN: ("execution.writers=0",),
    THREADS: (),
    ONE: ("execution=ray", "execution.workers=1"),
    TWO: ("execution=ray", "execution.workers=2"),
}
ROUNDS = 3
COMMON = ("engine.device=cpu", "engine.threads=1", "method.rescue=false", "--force")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every case in every way there is, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.execution", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="also write the medians to this file")
    options = parser.parse_args(arguments)
    with_ray = importlib.util.find_spec("ray") is not None
    ways = [way for way in WAYS if with_ray or way in (MAIN, THREADS)]
    found = {case: measure(CASES[case], ways, options.rounds) for case in CASES}
    if options.json is not None:
        write_json(options.json, found)
    sys.stdout.write(markdown(found) + "\n")


def measure(case: Sequence[str], ways: Sequence[str], rounds: int) -> dict[str, float]:
    """Median seconds of a case's run by way, the ways taken in turns."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        for _ in range(rounds):
            for way in ways:
                words = ("run", *case, *COMMON, *WAYS[way], f"hydra.run.dir={run}")
                _fvis(words)
                seconds[way].append(read_run(run).record.timings.seconds or 0)
    return {way: statistics.median(each) for way, each in seconds.items()}


def _fvis(words: Sequence[str]) -> None:
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    ran = subprocess.run(
        [sys.executable, "-m", "fvis", *words], env=environment, capture_output=True, text=True
    )
    if ran.returncode != 0:
        raise RuntimeError(f"fvis {' '.join(words)}: {ran.stderr[-1000:]}")


def markdown(found: Mapping[str, Mapping[str, float]]) -> str:
    """The table, a row per case: seconds of each way, and the ratios that are asked for."""
    ways = [way for way in WAYS if all(way in seconds for seconds in found.values())]
    pairs = [(a, b) for a, b in ((MAIN, THREADS), (ONE, TWO)) if b in ways]
    heads = ["case", *(f"{way}, s" for way in ways), *(f"{a} / {b}" for a, b in pairs)]
    rows = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    for case, seconds in found.items():
        ratios = [f"{seconds[a] / seconds[b]:.2f}" for a, b in pairs]
        rows.append([case, *(f"{seconds[way]:.1f}" for way in ways), *ratios])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
