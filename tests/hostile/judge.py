"""What is right and what is a fault in what became of a hostile case."""

import json
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hostile.case import CANARY, OUT, REPORT, RESUME, RUN, Draft
from tests.hostile.child import Ran
from tests.hostile.kinds.run_folders import PLANTED

DONE, REFUSED, FAILED, FAULT = "done", "refused", "failed", "FAULT"
MEMORY = 3_000_000_000  # bytes
ERROR, INTERRUPTED = "fvis: error: ", "fvis: interrupted"
LEFT_OUT = "fvis: left out: "  # one of several files that the user gave; it may precede the error
ESCAPED = (Path("/tmp/fvis-hostile-escaped"), Path("/tmp/fvis-hostile-escaped.txt"))
PASSED_OVER = {"__pycache__"}


@dataclass(frozen=True)
class Traces:
    """What a command has left on disk.

    Attributes:
        left: new paths, from the folder above that in which the command ran.
        outside: those of them that lie outside of the folder that the command was given.
        torn: what is half-written, in words.
        whole: whether the result that a success promises is there.
        code_ran: whether planted code has run.
    """

    left: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    torn: tuple[str, ...] = ()
    whole: bool = False
    code_ran: bool = False


@dataclass(frozen=True)
class Verdict:
    """One of `DONE`, `REFUSED`, `FAILED` and `FAULT`; for a fault, why."""

    label: str
    reason: str = ""


def judge(draft: Draft, ran: Ran, traces: Traces) -> Verdict:
    """Whether a case ended as it may."""
    reason = _harm(ran, traces) or _untold(draft, ran) or _untrue(draft, ran, traces)
    if reason:
        return Verdict(FAULT, reason)
    return Verdict({0: DONE, 1: FAILED, 2: REFUSED}[ran.status or 0])


def last_line(ran: Ran) -> str:
    """The last line on stderr, without what a progress bar has overwritten."""
    lines = ran.stderr.rstrip("\n").split("\n")
    return lines[-1].rpartition("\r")[2]


def _harm(ran: Ran, traces: Traces) -> str:
    """What must never happen, whatever the exit status is."""
    if traces.code_ran:
        return "code ran"
    if ran.peak > MEMORY:
        return f"memory: {ran.peak / 1e9:.1f} GB"
    if ran.status is None:
        return "hang"
    if ran.status < 0:
        return f"killed by {signal.Signals(-ran.status).name}"
    if ran.status > 2:
        return f"exit status {ran.status}"
    if "Traceback" in ran.stderr:
        return "traceback"
    if traces.torn:
        return f"torn: {traces.torn[0]}"
    return f"wrote outside: {traces.outside[0]}" if traces.outside else ""


def _untold(draft: Draft, ran: Ran) -> str:
    """What is wrong with the lines on stderr."""
    lines = [line.rpartition("\r")[2] for line in ran.stderr.split("\n")]
    errors = sum(line.startswith(ERROR) for line in lines)
    if ran.status == 0:
        return "success with an error line" if errors else ""
    if not ran.stderr.endswith("\n") or not lines[-2].startswith((ERROR, INTERRUPTED)):
        return "no final line"
    others = [line for line in lines[:-2] if not line.startswith(LEFT_OUT)]
    several = errors > 1 or (ran.status == 2 and not draft.chatty and len(others) > 0)
    return "several lines" if several and not draft.several else ""


def _untrue(draft: Draft, ran: Ran, traces: Traces) -> str:
    """Where the exit status says something that is not so."""
    if ran.status == 0:
        return "" if traces.whole else "silent success"
    if ran.status == 1 and draft.blames_user:
        return "status 1"
    if ran.status == 2 and traces.left and not draft.several:
        return f"left behind: {traces.left[0]}"
    return ""


def listing(folder: Path) -> frozenset[str]:
    """All paths below a folder, relative to it; links are not followed."""
    found, waiting = set(), [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.name in PASSED_OVER:
                continue
            found.add(str(path.relative_to(folder)))
            if path.is_dir() and not path.is_symlink():
                waiting.append(path)
    return frozenset(found)


def look(draft: Draft, ran: Ran, folder: Path, before: frozenset[str]) -> Traces:
    """What a command that ran in `folder` has left since the listing of the folder above it."""
    new = sorted(listing(folder.parent) - before)
    given = PLANTED if PLANTED in draft.arguments else OUT
    own = f"{folder.name}/{PLANTED}"
    outside = [path for path in new if given == PLANTED and not _in(path, own)]
    outside += [str(path) for path in ESCAPED if path.exists()]
    _remove_escaped()
    return Traces(
        left=tuple(new),
        outside=tuple(outside),
        torn=tuple(_torn(folder.parent, new)),
        whole=_whole(draft, ran, folder, given),
        code_ran=(folder / CANARY).exists(),
    )


def _remove_escaped() -> None:
    """Take away what was written elsewhere, or the next case would be blamed for it."""
    for path in ESCAPED:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _torn(base: Path, new: list[str]) -> list[str]:
    """The new units that are not whole, and new records that cannot be read."""
    faults = []
    for path in map(Path, new):
        if _is_unit(base / path):
            record = _read(base / path / "metadata.json")
            files = record.get("files") if isinstance(record, dict) else None
            if not isinstance(files, list):
                faults.append(f"{path} has no metadata.json")
            elif not all((base / path / name).is_file() for name in files):
                faults.append(f"{path} lacks files")
        if path.name == "run.json" and (base / path).is_file() and _read(base / path) is None:
            faults.append(f"{path} is no JSON")
    return faults


def _is_unit(path: Path) -> bool:
    """Whether a path is where a run keeps a unit; a run itself may lie in a folder `units`."""
    if path.parent.name != "units" or path.name.startswith(".") or path.name == "units":
        return False
    in_run = (path.parent.parent / "run.json").is_file()
    return in_run and path.is_dir() and not (path / "run.json").is_file()


def _refuse(word: str) -> None:
    raise ValueError(word)


def _read(path: Path, constant: Callable[[str], Any] = _refuse) -> Any:
    """A JSON file as strict readers see it; None where it cannot be read, or is no file.

    `constant` is what they make of NaN and infinity.
    """
    try:
        if not path.is_file():  # opening a FIFO would wait for ever
            return None
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=constant)
    except (OSError, ValueError, RecursionError):
        return None


def _whole(draft: Draft, ran: Ran, folder: Path, given: str) -> bool:
    """Whether what a success promises is there."""
    if draft.leaves == RUN:
        lines = ran.stdout.removesuffix("\n").split("\n")
        return bool(ran.stdout) and _are_done(folder, lines)
    if draft.leaves == REPORT:
        page = folder / ran.stdout.removesuffix("\n")
        return page.is_file() and page.stat().st_size > 0
    if draft.leaves == RESUME:
        runs = [folder / path for path in _runs(folder / given)]
        return bool(runs) and all(map(_is_done, runs))
    return bool(ran.stdout.strip())


def _runs(folder: Path) -> list[Path]:
    if (folder / "run.json").is_file():
        return [folder]
    return [file.parent for file in folder.rglob("run.json")] if folder.is_dir() else []


def _are_done(folder: Path, lines: Sequence[str]) -> bool:
    """Whether lines name runs that are done; a name may itself have line ends."""
    return not lines or any(
        _is_done(folder / "\n".join(lines[:end])) and _are_done(folder, lines[end:])
        for end in range(1, len(lines) + 1)
    )


def _is_done(folder: Path) -> bool:
    """Whether a folder holds a run that is done, with all the units that it lists."""
    try:
        record = _read(folder / "run.json", constant=float)  # a planted one may have anything
        if not isinstance(record, dict) or record.get("status") != "done":
            return False
        units = [folder / "units" / str(name) for name in record.get("units") or ()]
        return all(_read(unit / "metadata.json") is not None for unit in units)
    except (OSError, ValueError):
        return False
