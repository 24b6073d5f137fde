"""Output folders that cannot be, or that hold something already."""

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

from tests.hostile.case import BASE, OUT, QUICK, Draft, damaged


def _write(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _linked(folder: Path, make: Callable[[Path], None]) -> None:
    make(folder / "y")
    (folder / "x").symlink_to("y")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the whole path may be too long for a socket
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


PLANTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a file": ("x", lambda folder: _write(folder / "x")),
    "a dangling link": ("x", lambda folder: (folder / "x").symlink_to("nosuch")),
    "below a dangling link": ("x/y", lambda folder: (folder / "x").symlink_to("nosuch")),
    "a loop": ("x", lambda folder: (folder / "x").symlink_to("x")),
    "below a file": ("x/y", lambda folder: _write(folder / "x")),
    "a link to a file": ("x", lambda folder: _linked(folder, _write)),
    "a link to a folder": ("x", lambda folder: _linked(folder, Path.mkdir)),
    "a fifo": ("x", lambda folder: os.mkfifo(folder / "x")),
    "below a fifo": ("x/y", lambda folder: os.mkfifo(folder / "x")),
    "a socket": ("x", lambda folder: _socket(folder / "x")),
    "unwritable": ("x/y", lambda folder: (folder / "x").mkdir(mode=0o500)),
    "a full folder": ("x", lambda folder: _write(folder / "x" / "mine.txt")),
}
NEEDS_A_USER = {"unwritable"}  # root may write anywhere
ODD_NAMES = (
    "/dev/null", "/dev/null/x", "/dev/full", "/proc/x", "/proc/self/x/y", "/sys/x", "x" * 256,
    "x" * 5000, "y/" * 2200, "a/" * 300 + "b", "", ".", "..", "../up", "./", " ", "a b", "it's",
    '"q"', "#x", "50%23", "ünï 猫", "a\nb", "\udcff", "-x", "--x", "~", "~nosuchuser/x", "a:b",
    "a=b", "[x]", "{x}", "$HOME", "\x1b[31m", "a\\b", "x/../y", "x/./y", "nosuch/../y", "<script>",
    "&amp;", "CON", "x.", "\u202ex", "units", ".hydra", ".state", "units/x", "x/units/y",
    "?a=b#c", "con/run.json", "\x7f", "run.json",
)  # fmt: skip
INSIDE = (
    "run.json", "units", "units/logits-00000", "units/logits-00000/metadata.json", ".hydra",
    ".hydra/config.yaml", ".state", ".state/lock", ".state/batch.pt", "index.html", "fvis.log",
)  # fmt: skip
KINDS = (
    "directory", "full directory", "file", "fifo", "loop", "dangling", "null", "record", "record",
)  # fmt: skip
LINKS = {"loop": "{}", "dangling": "nosuch", "null": "/dev/null"}
RECORDS = (
    b"", b"{}", b"[]", b"{", b'{"status": "done"}', b'{"status": "running"}', b"\xff",
    b'{"status": "interrupted", "units": ["x"]}', b'{"status": 3, "config_sha256": []}',
    b'{"status": "running", "process": {"pid": -1}}', b"[" * 5000,
    b'{"status": "done", "config_sha256": "x", "schema": 2}',
)  # fmt: skip
NESTED = (
    "out/units", "out/units/logits-00000", "out/.state", "out/.hydra/x", "out/../out/units/.x",
)  # fmt: skip


def make(rng: random.Random) -> Draft:
    """A run whose folder is odd, or holds odd things, or lies in another run's."""
    return rng.choices((_placed, _named, _holding, _nested), (3, 3, 4, 1))[0](rng)


def _quoted(place: str) -> str:
    """A path as a string in Hydra's override grammar."""
    return "'" + place.replace("'", "\\'") + "'"


def _asked(place: str) -> tuple[str, ...]:
    return ("run", *QUICK, f"hydra.run.dir={_quoted(place)}")


def _placed(rng: random.Random) -> Draft:
    what = rng.choice(sorted(PLANTS.keys() - (set() if os.geteuid() else NEEDS_A_USER)))
    place, plant = PLANTS[what]
    return Draft(_asked(place), f"hydra.run.dir is {what}", plant)


def _named(rng: random.Random) -> Draft:
    place = rng.choice(ODD_NAMES)
    if rng.random() < 0.2:
        words = ("run", "-m", *QUICK, f"hydra.sweep.dir={_quoted(place)}", "engine.seed=1,2")
        what = f"hydra.sweep.dir is {place[:40]!r}"
        return Draft(words, what, chatty=True, several=True)
    return Draft(_asked(place), f"hydra.run.dir is {place[:40]!r}")


def _holding(rng: random.Random) -> Draft:
    """The folder holds odd things where the run's own files go."""
    name, kind = rng.choice(INSIDE), rng.choice(KINDS)
    content = rng.choice(RECORDS) if rng.random() < 0.8 else damaged(b'{"status": "done"}', rng)

    def plant(folder: Path) -> None:
        path = folder / OUT / name
        path.parent.mkdir(parents=True)
        if kind == "directory":
            path.mkdir()
        elif kind == "full directory":
            _write(path / "mine.txt")
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind in LINKS:
            path.symlink_to(LINKS[kind].format(path.name))
        else:
            path.write_bytes(content if kind == "record" else b"x")

    force = ("--force",) if rng.random() < 0.4 else ()
    shown = f"{name} is a {kind}" + (f" {content[:40]!r}" if kind == "record" else "")
    return Draft((*_asked(OUT), *force), shown, plant)


def _nested(rng: random.Random) -> Draft:
    """The folder lies inside of another run's."""
    inside, record = rng.choice(NESTED), rng.choice(RECORDS)

    def plant(folder: Path) -> None:
        _write(folder / "out" / "run.json", record)
        _write(folder / "out" / "units" / "logits-00000" / "metadata.json", b"{}")

    words = ("run", *BASE, "target.units=[0]", f"hydra.run.dir={_quoted(inside)}")
    return Draft(words, f"inside of another run: {inside}", plant)
