"""Run folders whose records somebody has planted, under `fvis report` and `fvis resume`."""

import contextlib
import copy
import functools
import io
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fvis import runner, schema
from fvis.compose import compose
from fvis.context import prepare
from fvis.methods import METHODS
from tests.hostile.case import BASE, CANARY, REPORT, RESUME, Draft, damaged
from tests.hostile.kinds.checkpoints import Touch, saved

Change = tuple[str, Callable[[Path], None]]  # what it is, what makes it in a run's folder

PLANTED = "planted"
UNITS = ("logits-00000", "logits-00001")
METADATA = tuple(f"units/{unit}/metadata.json" for unit in UNITS)
RECORDS = ("run.json", "run.json", *METADATA)
FILES = (
    *RECORDS, ".hydra/overrides.yaml", ".hydra/hydra.yaml", ".hydra/config.yaml", ".state/batch.pt",
    "sweep.json", "index.html", "fvis.log", f"units/{UNITS[0]}/image.png", ".state/lock",
)  # fmt: skip
FOLDERS = ("units", "units/logits-00000", "units/logits-00001", ".state", ".hydra")
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3.5, 1e308, 10**30, 10**400, float("nan"), float("inf"), "",
    "text", "a" * 10_000, "\ud800", "<script>", "\x00", "../../../etc/passwd", "/etc/passwd",
    CANARY, "../escaped", ".", "..", [], {}, [1], [None], [[[]]], {"a": 1}, {"": None}, "\u2028",
    ["../x", "/x", "", "."], "x" * 300, {"name": 3}, -(2**63), "猫", [{}], {"../../x": "y"},
    "done", "running", "2026-01-01T00:00:00+00:00", "9" * 50,
)  # fmt: skip
TEXTS = (
    b"", b"{", b"[]", b"null", b"3", b'"text"', b"\xff\xfe{}", b"[" * 5000, b'{"a":' * 5000, b"{}",
    b"[" * 5000 + b"]" * 5000, b"[" * 200_000, b"NaN", b'{"schema": 2}', b'{"status": "done"}',
    b'{"a": 1}{"b": 2}', b"\x00" * 100, b'{"a": 1' + b"0" * 5000 + b"}", b"\xef\xbb\xbf{}",
    b'{"status": 1, "status": 2}', b'{"jobs": ' + b"[1," * 300 + b"1" + b"]" * 300 + b"}",
    b'{"config": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
)  # fmt: skip
YAMLS = (
    b"- [", b"a: &a [*a]", b"{" * 5000,
    f"!!python/object/apply:os.system ['touch {CANARY}']".encode(),
    b"- target.units=${oc.env:HOME}\n- 3\n- null\n- [a]\n", b"hydra: 3", b"- 2020-99-99", b"\xff",
    b"hydra: {runtime: [1]}", b"hydra: {runtime: {cwd: [1], config_sources: 3}}",
    b"hydra: {runtime: {config_sources: [3, {provider: command-line}]}}", b"- ''\n- =\n- hydra.\n",
    b"- " * 3000, b"hydra: {runtime: {cwd: ${nosuch}}}", b"- " + b"9" * 9000, b"? [a]\n: 1\n",
    b"- !!binary '%'\n", b"- <script>alert(1)</script>\n",
)  # fmt: skip
_FOLDER = tempfile.TemporaryDirectory(prefix="fvis-hostile-run-")


def make(rng: random.Random) -> Draft:
    """A report on, or the resumption of, a planted folder."""
    command = rng.choice(("report", "resume"))
    changes = [_change(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
    unfinished = command == "resume" and rng.random() < 0.7

    def plant(folder: Path) -> None:
        place = folder / PLANTED
        shutil.copytree(_made(), place)
        if unfinished:
            _unfinish(place)
        for _, change in changes:
            change(place)

    force = ("--force",) if command == "resume" and rng.random() < 0.3 else ()
    return Draft(
        (command, PLANTED, *force),
        "; ".join(words for words, _ in changes) + "; unfinished" * unfinished,
        plant,
        leaves=REPORT if command == "report" else RESUME,
        blames_user=False,
        chatty=True,
        several=True,
    )


@functools.cache
def _made() -> Path:
    """The folder of a short run that is done."""
    config = schema.parse(compose([*BASE, "target.units=[0,1]", "engine.batch_size=1"]))
    texts = {
        ".hydra/overrides.yaml": "- target.units=[0,1]\n",
        ".hydra/hydra.yaml": "hydra: {runtime: {cwd: /a}}\n",
    }
    with contextlib.redirect_stderr(io.StringIO()):  # without the progress bar
        return runner.run(config, Path(_FOLDER.name) / "run", texts)


@functools.cache
def _stages() -> tuple[str, ...]:
    """The names of the stages of an activation maximization, as the program itself saves them."""
    names: list[str] = []
    config = schema.parse(compose([*BASE, "target.units=[0]"]))
    method = METHODS[config.method.name](prepare(config))

    def run_stage(name: str, optimization: Any) -> None:
        names.append(name)
        optimization.run()

    for group in method.groups:
        method.solve(list(group), run_stage)
    return tuple(names)


def _unfinish(place: Path) -> None:
    """As if the run had been killed in its second unit."""
    record = json.loads((place / "run.json").read_text())
    record |= {"status": "interrupted", "units": [UNITS[0]], "batches": [1]}
    (place / "run.json").write_text(json.dumps(record))
    shutil.rmtree(place / "units" / UNITS[1])


def _change(rng: random.Random) -> Change:
    makers = (_record, _record, _bytes, _kind, _state, _yaml, _sweep, _missing)
    return rng.choice(makers)(rng)


def _record(rng: random.Random) -> Change:
    """Some values of a JSON record replaced by odd ones."""
    name, seed, count = rng.choice(RECORDS), rng.random(), rng.choice((1, 1, 2, 5, 20))

    def change(place: Path) -> None:
        own, content = random.Random(seed), _read(place / name)
        for _ in range(count):
            _replace(content, own)
        _write(place / name, _json(content))

    return f"{name}: {count} odd values", change


def _read(path: Path) -> Any:
    try:
        if path.is_file():  # opening a FIFO would wait for ever
            return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        pass
    return json.loads((_made() / "run.json").read_text())


def _json(content: Any) -> bytes:
    return json.dumps(content).encode("utf-8", "surrogatepass")


def _replace(content: Any, rng: random.Random) -> None:
    """One value, at any depth, becomes another."""
    while isinstance(content, dict | list) and content:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = rng.choice(keys)
        below = content[key]
        if not isinstance(below, dict | list) or not below or rng.random() < 0.3:
            content[key] = copy.deepcopy(rng.choice(ODD))
            return
        content = below


def _bytes(rng: random.Random) -> Change:
    """A file holds other bytes, or its own damaged."""
    name = rng.choice(FILES)
    if rng.random() < 0.5:
        content = rng.choice(TEXTS)
        return f"{name}: {content[:20]!r}", lambda place: _write(place / name, content)
    seed = rng.random()

    def change(place: Path) -> None:
        path = place / name
        before = path.read_bytes() if path.is_file() else b"{}"
        _write(path, damaged(before, random.Random(seed)))

    return f"{name}: damaged", change


def _kind(rng: random.Random) -> Change:
    """Something else than a file where a file is due, or than a folder."""
    name = rng.choice((*FILES, *FOLDERS))
    kind = rng.choice(("directory", "fifo", "loop", "dangling", "zero", "elsewhere", "file"))

    def change(place: Path) -> None:
        path = place / name
        links = {"loop": path.name, "dangling": "../no/x", "zero": "/dev/zero", "elsewhere": "/etc"}
        _remove(path)
        if not _is_free(path):
            return
        if kind == "directory":
            (path / "inside").mkdir(parents=True)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "file":
            path.write_text("x")
        else:
            path.symlink_to(links[kind])

    return f"{name} is {kind}", change


def _stage(**changes: Any) -> dict[str, Any]:
    """The state of a stage, odd in some of its keys."""
    trace = {"steps": [0], "scores": [torch.zeros(1)]}
    sound = {"done": 1, "trace": trace, "parameters": [torch.zeros(1)], "optimizers": []}
    return sound | changes


STAGES: tuple[Any, ...] = (
    None, {}, {"done": 1}, _stage(done=10**9), _stage(done=-1), _stage(done="x"), _stage(trace=3),
    _stage(parameters=None), _stage(parameters=[]), _stage(optimizers=[3]), _stage(),
    _stage(parameters=[torch.full((1,), float("nan"))]), _stage(trace={"steps": [], "scores": []}),
    _stage(done=2, trace={"steps": [9], "scores": [torch.zeros(9)]}),
)  # fmt: skip


def _state(rng: random.Random) -> Change:
    """The saved state of a batch of the very jobs, with odd stages."""
    stage, seconds = rng.choice(STAGES), rng.choice((0.0, 0.0, None, "x", float("nan"), -1e308))
    how = rng.choice(("stages", "stages", "stages", "no mapping", "code", "no keys", "damaged"))
    unit, seed = rng.choice(UNITS), rng.random()

    def change(place: Path) -> None:
        stages: Any = stage if how == "no mapping" else dict.fromkeys(_stages(), stage)
        content: dict[str, Any] = {"jobs": [unit], "seconds": seconds, "stages": stages}
        if how == "code":
            content["x"] = Touch("open")
        if how == "no keys":
            content = {"jobs": [unit]}
        written = saved(content)
        if how == "damaged":
            written = damaged(written, random.Random(seed))
        _write(place / ".state" / "batch.pt", written)

    return f"batch.pt of {unit}: {how}, {str(stage)[:60]}, seconds {seconds}", change


def _yaml(rng: random.Random) -> Change:
    name, content = rng.choice(("overrides", "hydra", "config")), rng.choice(YAMLS)
    path = f".hydra/{name}.yaml"
    return f"{path}: {content[:40]!r}", lambda place: _write(place / path, content)


SWEEP_FOLDERS = (
    "0", "../../escaped", "/tmp/fvis-hostile-escaped/x", "", ".", "a\nb", "x" * 300, "\ud800",
)  # fmt: skip
SWEEP_TEXTS: tuple[Any, ...] = (
    {}, {"../../escaped.txt": "x"}, {"/tmp/fvis-hostile-escaped.txt": "x"}, {"a": 3},
    {"run.json": "{"}, {"units": "x"},
)  # fmt: skip


def _sweep(rng: random.Random) -> Change:
    """A sweep's list of jobs in the place of the run."""
    folder, texts = rng.choice(SWEEP_FOLDERS), rng.choice(SWEEP_TEXTS)
    config: Any = rng.choice(({}, {"engine": 3}, {"model": {}}, None, "whole", "whole"))

    def change(place: Path) -> None:
        whole = json.loads((_made() / "run.json").read_text())["config"]
        job = {"folder": folder, "config": whole if config == "whole" else config, "texts": texts}
        _remove(place / "run.json")
        _write(place / "sweep.json", _json({"schema": 2, "directory": None, "jobs": [job]}))

    return f"sweep.json: {folder[:30]!r} {config} {texts}", change


def _missing(rng: random.Random) -> Change:
    name = rng.choice((*FILES, *FOLDERS))
    return f"{name} is missing", lambda place: _remove(place / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a part of the path is no folder any more
        return


def _is_free(path: Path) -> bool:
    """Make the folder of a path; whether the path, below the temporary folder, can be taken."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        inside = path.parent.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve())
    except (OSError, RuntimeError):  # RuntimeError: a loop of links
        return False
    return inside and not os.path.lexists(path)


def _write(path: Path, content: bytes) -> None:
    if path.is_symlink() or not path.is_dir():
        _remove(path)
    if _is_free(path):
        path.write_bytes(content)
