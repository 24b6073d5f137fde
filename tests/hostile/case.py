"""What a hostile case is: a command, the files that it meets, and what may come of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Plant = Callable[[Path], None]

CANARY = "../canary"  # seen from the folder in which a case runs: exists once planted code has run
OUT = "out"  # where runs go, unless the case says otherwise
BASE = (
    "engine.steps=2", "engine.device=cpu", "engine.threads=1", "output.mp4=false",
    f"hydra.run.dir={OUT}",
)  # fmt: skip
QUICK = (*BASE, "target.units=[0]")
RUN, RESUME, REPORT, TEXT = "run", "resume", "report", "text"


@dataclass(frozen=True)
class Signal:
    """A signal that the process gets, and after how many seconds; `again`: then once more."""

    number: int
    seconds: float
    again: float | None = None


def _nothing(folder: Path) -> None:
    """Plant no file."""


@dataclass(frozen=True)
class Draft:
    """A case without its place in the trial.

    Attributes:
        arguments: the command's words.
        what: the case in a few words.
        plant: puts the case's files into the folder in which the command runs.
        leaves: what a success leaves: a run that is done, a resumed one, a page, or only text.
        blames_user: whether exit status 1 is wrong, because the fault is the user's.
        chatty: whether other lines than the final one may stand on stderr, as the user's code or
            several runs write them.
        several: whether several errors may be reported, as those of the jobs of a sweep.
        file_size: the largest file that the process may write, in bytes.
        signal: what the process is sent while it works.
    """

    arguments: tuple[str, ...]
    what: str
    plant: Plant = _nothing
    leaves: str = RUN
    blames_user: bool = True
    chatty: bool = False
    several: bool = False
    file_size: int | None = None
    signal: Signal | None = None


@dataclass(frozen=True)
class Case:
    """Case `number` of a kind, which depends on the trial's seed and that number alone."""

    kind: str
    number: int
    draft: Draft


Make = Callable[[random.Random], Draft]


def flipped(content: bytes, rng: random.Random, most: int = 20) -> bytes:
    """Some bytes changed; half the time near the beginning, where headers lie."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, most) if changed else 0):
        end = min(len(changed), 400) if rng.random() < 0.5 else len(changed)
        changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncated(content: bytes, rng: random.Random) -> bytes:
    """The beginning of `content`."""
    return content[: rng.randrange(len(content))] if content else content


def damaged(content: bytes, rng: random.Random) -> bytes:
    """`content` after bits have flipped, the end is gone, or something has been put into it."""
    how = rng.choice(("flip", "flip", "cut", "more", "insert", "both"))
    if how in ("flip", "both"):
        content = flipped(content, rng)
    if how in ("cut", "both"):
        content = truncated(content, rng)
    if how == "more":
        content += rng.randbytes(rng.choice((1, 100, 10_000)))
    if how == "insert":
        place = rng.randrange(len(content) + 1)
        content = content[:place] + rng.randbytes(rng.randint(1, 8)) + content[place:]
    return content
