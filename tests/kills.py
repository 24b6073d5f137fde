"""Ends runs at random moments by every signal, and checks what is left and what resuming makes.

`python -m tests.kills --count 200` takes about ten minutes. Runs are forked from a process that has
torch imported, so that a case takes a second or two. Their state is saved after every step.
"""

import argparse
import contextlib
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from tqdm import tqdm

from tests.test_resume import Tree, tree

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
OUT = "out"
COMMON = (f"hydra.run.dir={OUT}", "engine.device=cpu")
CASES = {
    "activation_maximization": ("target.units=0:4", "engine.steps=12", "engine.batch_size=2"),
    "texture_motion": (
        *("model=drift_r3d", "method=texture_motion", "target.units=[0,8]", "engine.steps=3"),
        *("model.input.frames=8", "model.input.height=32", "model.input.width=32"),
        *("engine.batch_size=1", "method.steps=3", "method.pilot_steps=1", "output.mp4=false"),
    ),
    "adversarial": (
        *("method=adversarial", "method.target=[3]", "engine.steps=6", "engine.batch_size=2"),
        "method.images=['zoo:glyphs/00-plain-triangle.png','zoo:glyphs/01-plain-triangle.png','zoo:glyphs/02-plain-cross.png']",
    ),
}
PRELOADED = (
    *("fvis.cli", "fvis.methods.texture_motion", "fvis.methods.adversarial", "fvis.zoo.networks"),
    *("fvis.methods.activation_maximization", "fvis.runner", "fvis.models.sources.zoo", "skimage"),
    *("PIL.PngImagePlugin", "matplotlib.backends.backend_agg", "matplotlib.figure"),
)
HANG = 120.0  # seconds; on a busy machine nothing takes as long


class WrongError(AssertionError):
    """Something is not as it must be after a run has been ended."""


@dataclass(frozen=True)
class Whole:
    """A case's undisturbed run: what it left, and how long it took, seconds."""

    words: tuple[str, ...]
    left: Tree
    seconds: float


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status, negative for a signal's, and what it said."""

    status: int
    said: str


def start(words: Sequence[str], folder: Path) -> int:
    """Fork a process that runs `fvis` with these words in a folder; returns its number."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            stream = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number in (1, 2):
                os.dup2(stream, number)
            os.chdir(folder)
            # A process in the background, or under nohup, is started with these ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            status = _main(words)
        finally:
            os._exit(status)
    return pid


def _main(words: Sequence[str]) -> int:
    from fvis import batch_state, cli

    clock = itertools.count()  # every look at it is a second later: the state is always due
    batch_state.time = SimpleNamespace(monotonic=lambda: float(next(clock)))  # type: ignore
    sys.argv = ["fvis", *words]
    code: object = 1
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


def wait(pid: int, folder: Path) -> Ended:
    """Wait for a process's end; raises `WrongError` for one that hangs."""
    deadline = time.monotonic() + HANG
    while True:
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            said = (folder / "said").read_text(encoding="utf-8", errors="replace")
            return Ended(os.waitstatus_to_exitcode(status), said)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise WrongError("it hung")
        time.sleep(0.01)


def ended(
    words: Sequence[str], folder: Path, number: signal.Signals, moments: Sequence[float]
) -> Ended:
    """A process that was sent the signal at each of the moments, in seconds after its start."""
    pid = start(words, folder)
    begun = time.monotonic()
    for moment in moments:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return wait(pid, folder)


def check(
    folder: Path, process: Ended, number: signal.Signals, whole: Whole, *, reports: bool = False
) -> str:
    """Raise `WrongError` where anything left is torn or false; says how far the run had come.

    A process that `reports` leaves run.json as a killed run has left it.
    """
    out = folder / OUT
    if "Traceback" in process.said or process.status not in (0, 1, -number):
        raise WrongError(f"status {process.status}: {process.said}")
    if not (out / "run.json").is_file():
        if process.status >= 0 and out.exists():
            raise WrongError(f"it never began, and left {sorted(out.rglob('*'))}")
        return "not begun"
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    status, page = record["status"], out / "index.html"
    if process.status >= 0 and status == "running" and not reports:
        raise WrongError("it has ended, and run.json says that it is running")
    if page.is_file() and not page.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise WrongError("its page is torn")
    units = _whole_units(out, whole)
    if status == "done" and not (page.is_file() and units == len(record["jobs"])):
        raise WrongError(f"it is done with {units} of {len(record['jobs'])} units")
    return "done" if status == "done" else f"{units} of {len(record['jobs'])} units"


def _whole_units(out: Path, whole: Whole) -> int:
    """How many units are there; raises `WrongError` for one that is not what it must be."""
    folders = [place for place in (out / "units").glob("*") if not place.name.startswith(".")]
    for place in folders:
        prefix = f"units/{place.name}/"
        expected = {name: data for name, data in whole.left.items() if name.startswith(prefix)}
        found = {f"{prefix}{name}": data for name, data in tree(place).items()}
        if not expected or found != expected:
            raise WrongError(f"{place.name} is torn")
    return len(folders)


def finish(folder: Path, whole: Whole) -> None:
    """Finish what was ended; raises `WrongError` where that is not the undisturbed run."""
    begun = (folder / OUT / "run.json").is_file()
    last = wait(start(("resume", OUT) if begun else whole.words, folder), folder)
    if last.status != 0:
        raise WrongError(f"finishing it is status {last.status}: {last.said}")
    left = tree(folder / OUT)
    names = left.keys() | whole.left.keys()
    wrong = {name for name in names if left.get(name) != whole.left.get(name)}
    if wrong:
        raise WrongError(f"what is finished differs in {sorted(wrong)}")


def undisturbed(case: str, folder: Path) -> Whole:
    """Run a case to its end."""
    words = ("run", *CASES[case], *COMMON)
    begun = time.monotonic()
    process = wait(start(words, folder), folder)
    if process.status != 0:
        raise WrongError(process.said)
    return Whole(words, tree(folder / OUT), time.monotonic() - begun)


def trial(folder: Path, whole: Whole, number: signal.Signals, chance: random.Random) -> list[str]:
    """End a run, perhaps its resuming and a report on it, then finish it; says what was ended."""
    shutil.rmtree(folder / OUT, ignore_errors=True)
    found = [f"run: {_end(whole.words, folder, number, whole, chance)}"]
    if (folder / OUT / "run.json").is_file():
        for command, share in (("resume", 0.5), ("report", 0.25)):
            if chance.random() < share:
                _end((command, OUT), folder, number, whole, chance)
                found.append(command)
    finish(folder, whole)
    return found


def _end(
    words: Sequence[str], folder: Path, number: signal.Signals, whole: Whole, chance: random.Random
) -> str:
    reports = words[0] == "report"
    longest = 0.1 if reports else whole.seconds
    moments = [chance.uniform(0, longest)]
    if chance.random() < 0.2:  # an impatient user
        moments.append(moments[0] + chance.uniform(0, 0.1))
    return check(folder, ended(words, folder, number, moments), number, whole, reports=reports)


def main(count: int, seed: int, signals: Sequence[signal.Signals]) -> int:
    """Make the trials, print a table of them; returns the number of those that went wrong."""
    for name in PRELOADED:  # so that forked processes need not import them
        importlib.import_module(name)
    base = Path(tempfile.mkdtemp(prefix="kills-"))
    (base / "run").mkdir()
    wholes = {}
    for case in CASES:
        wholes[case] = undisturbed(case, base / "run")
        shutil.rmtree(base / "run" / OUT)
    table: Counter[tuple[str, str]] = Counter()
    wrong = 0
    for i in tqdm(range(count), unit="trial"):
        case, number = tuple(CASES)[i % len(CASES)], signals[i // len(CASES) % len(signals)]
        try:
            found = trial(base / "run", wholes[case], number, random.Random(f"{seed}-{i}"))
            table.update((name, number.name) for name in found)
        except WrongError as error:
            wrong += 1
            shutil.copytree(base / "run", base / f"wrong-{i}")
            sys.stdout.write(f"{i}: {case}, {number.name}: {error} (see {base}/wrong-{i})\n")
            sys.stdout.flush()
    _print(table)
    sys.stdout.write(f"{count} trials, {wrong} wrong\n")
    if not wrong:
        shutil.rmtree(base)
    return wrong


def _print(table: Counter[tuple[str, str]]) -> None:
    """Print how often each signal ended what, and how far it had come."""
    names = [number.name for number in SIGNALS]
    sys.stdout.write(f"| ended | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}\n")
    for row in sorted({found for found, _ in table}):
        cells = (str(table[row, name]) for name in names)
        sys.stdout.write(f"| {row} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signals", nargs="+", default=[number.name for number in SIGNALS])
    given = parser.parse_args()
    chosen = [signal.Signals[name] for name in given.signals]
    sys.exit(1 if main(given.count, given.seed, chosen) else 0)
