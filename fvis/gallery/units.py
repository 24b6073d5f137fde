"""What the page shows of a unit: its pictures, numbers and words, with links to its files."""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fvis.evidence.record import AGAINST, FOR
from fvis.gallery.commands import command
from fvis.gallery.paths import relative, without_folders
from fvis.origin import Origin, read_origin
from fvis.record.attack import AdversarialRecord
from fvis.record.motion import TextureMotionRecord
from fvis.record.photograph import AccentuationRecord, InversionRecord
from fvis.record.run import RunRecord
from fvis.record.unit import DEAD, UnitRecord
from fvis.run_folder import UNIT_FILE, SavedRun, SavedUnit
from fvis.typed_json import to_json

PICTURES = (".png", ".gif", ".jpg", ".jpeg", ".webp")
# A card shows the first of these that the unit has, else the first of its other pictures.
CARD = (
    "motif.png",
    "motif.gif",
    "image.png",
    "clip.gif",
    "adversarial.png",
    "adversarial.gif",
    "reconstruction.gif",
    "optimal.gif",
)
# The order of the pictures on a unit's page. Others follow by name; the summary, made for print,
# comes last.
ORDER = (
    *("motif.png", "motif.gif", "image.png", "clip.gif", "strip.png", "side_by_side.gif"),
    *("photograph.png", "natural.png", "natural.gif"),
    *("clean.png", "adversarial.png", "perturbation.png"),
    *("clean.gif", "adversarial.gif", "perturbation.gif"),
    *("optimal.gif", "reconstruction.gif", "texture.png", "motion.gif"),
)
# What a card shows under the pointer instead of a picture: what that was made of.
BEFORE = {"adversarial.png": "clean.png", "image.png": "photograph.png"}
NATURAL = "natural.png"  # as `grounding.beside` lays it out
LAST = "summary.png"
# Metadata that the page shows elsewhere, or that would tell its reader nothing.
LEFT_OUT = ("files", "schema", "config_sha256")
LOGITS = "logits"  # the layer of classes; its module would import torch
DIGITS = 6  # significant, of the numbers that the page carries


def shown_units(run: SavedRun, base: Path) -> Iterator[dict[str, Any]]:
    """A run's units, shallow layers first, as the page shows them.

    Each has `name`, `title` (what a person would call it), `metadata`, `picture`, `alternate`
    (shown instead of the picture on hover) and `folder` as links from `base`, the strongest
    `patches` of photographs that its card shows, if it has any, its `pictures` and
    other `files` by name, `command` to make it again or None, `typed_in`, the name of the folder
    where that was typed, `shortened`, whether paths in it are, and `outcome`: its status and, for
    an attack, success or failed.
    """
    origin = read_origin(run.folder)
    for unit in run.units():
        yield tidy(_shown(unit, run.record, origin, base))


def _shown(unit: SavedUnit, run: RunRecord, origin: Origin | None, base: Path) -> dict[str, Any]:
    record = unit.record
    files = _files(unit)
    pictures = sorted((f for f in files if f.lower().endswith(PICTURES)), key=_place)
    folder = _link(unit.folder, base)
    shown = next((f for f in CARD if f in pictures), pictures[0] if pictures else None)
    before = BEFORE.get(shown or "")
    content = to_json(record)
    if record.evidence is not None and record.evidence.observer is not None:
        del content["evidence"]["observer"]["tasks"]  # lists of photographs' names
    typed = relative(command(origin, run.config, record), origin.folder) if origin else None
    return {
        "name": shown_text(unit.folder.name),
        "title": _title(record, unit.folder.name),
        "folder": folder,
        "picture": shown and f"{folder}/{_quote(shown)}",
        "alternate": f"{folder}/{before}" if before in pictures else None,
        "moves": bool(shown and shown.lower().endswith(".gif")),
        "patches": _patches(record, folder) if NATURAL in pictures else None,
        "label": _label(record),
        "motion": _motion(record),
        "evidence": record.evidence and record.evidence.word,
        "votes": _votes(record),
        "observer": _observer_score(record),
        "alt": _alt(record, unit.folder.name, shown or ""),
        "pictures": [_file(f) for f in pictures],
        "files": [_file(f) for f in files if f not in pictures] + [_file(UNIT_FILE)],
        "command": typed,
        "typed_in": origin and origin.folder,
        "shortened": typed is not None and without_folders(typed) != typed,
        "outcome": _outcome(record),
        "quantity": "likeness" if isinstance(record, InversionRecord) else "activation",
        "initial": record.activation.initial,
        "final": record.activation.final,
        "metadata": {k: v for k, v in content.items() if k in unit.keys and k not in LEFT_OUT},
    }


def _patches(record: UnitRecord, folder: str) -> dict[str, Any] | None:
    """The first row of patches in a unit's natural.png: where it is, how many, of which files.

    They lie on the right half of the sheet, in a square, the strongest first.
    """
    strongest = record.grounding.strongest if record.grounding else []
    across = math.ceil(math.sqrt(len(strongest)))
    names = ", ".join(patch.file for patch in strongest[:across])
    return {"picture": f"{folder}/{NATURAL}", "across": across, "names": names} if across else None


def _votes(record: UnitRecord) -> str | None:
    """Which kinds of evidence speak for and against a picture, and what people make of it."""
    if record.evidence is None:
        return None
    votes = record.evidence.votes.items()
    words = [
        f"{vote}: {', '.join(kind for kind, one in votes if one == vote)}"
        for vote in (FOR, AGAINST)
        if any(one == vote for _, one in votes)
    ]
    people = (record.evidence.people or {}).get("synthetic")
    if people is not None and None not in (people.accuracy, *people.interval):
        lowest, highest = (100 * (end or 0) for end in people.interval)
        share = 100 * (people.accuracy or 0)
        words.append(f"people {share:.0f} % ({lowest:.0f} to {highest:.0f} %)")
    return "; ".join(words) or None


def _observer_score(record: UnitRecord) -> float | None:
    """The machine observer's score with the unit's pictures."""
    observer = record.evidence.observer if record.evidence else None
    return observer.synthetic.score if observer else None


def _alt(record: UnitRecord, name: str, shown: str) -> str:
    """A unit's picture in words, for those who cannot see it."""
    known = record.layer is not None and record.unit is not None
    unit = f"{record.called} of {record.layer}" if known else name
    kind = "Clip" if shown.lower().endswith(".gif") else "Picture"
    meant = record.class_name
    if isinstance(record, AdversarialRecord):
        goal = meant if meant is not None else record.target
        goal = "another class" if goal in (None, "any") else goal
        return f"{record.image or name}, changed to be taken for {goal}"
    if isinstance(record, InversionRecord):
        return f"What {record.layer} makes of {record.image}"
    if isinstance(record, AccentuationRecord):
        return f"{record.image}, changed to excite {unit}"
    does = "failed to excite" if record.status == DEAD else "excites"
    least = " least" if record.sign == -1 else ""
    return f"{kind} that {does} {unit}{least}" + (f", {meant}" if meant is not None else "")


def _title(record: UnitRecord, name: str) -> str:
    """What a person would call a unit: its class, or layer and number; of an attack, its goal."""
    again = "" if record.repeat is None else f", repeat {record.repeat}"
    again = f", minimised{again}" if record.sign == -1 else again
    if isinstance(record, AdversarialRecord):
        goal = record.class_name if record.class_name is not None else record.target
        known = record.image is not None and goal is not None
        return f"{record.image} → {_first_name(goal)}" if known else shown_text(name)
    if record.layer == LOGITS and record.class_name is not None:
        return f"{_first_name(record.class_name)}{again}"
    known = record.layer is not None and record.unit is not None
    return f"{record.layer} {record.called}{again}" if known else shown_text(name)


def _first_name(goal: object) -> str:
    """The first of a class's synonyms."""
    return str(goal).partition(",")[0]


def _label(record: UnitRecord) -> str | None:
    """The unit's class, if it has one; for an attack, the classes before and after it."""
    if isinstance(record, AdversarialRecord) and record.clean and record.adversarial:
        (before, _), (after, share) = record.clean[0], record.adversarial[0]
        known = record.probability is not None and share is not None
        return f"{before} → {after}" + (f" {100 * (share or 0):.0f} %" if known else "")
    if isinstance(record, InversionRecord):
        return None if record.cosine is None else f"cosine {record.cosine:.2f}"
    return None if record.class_name is None else str(record.class_name)


def _motion(record: UnitRecord) -> str | None:
    """A unit's motion in a line, and by how much drifting photographs contradict it."""
    if not isinstance(record, TextureMotionRecord) or record.motion.kind is None:
        return None
    told, spread = record.motion.direction_deg, record.motion.confidence.get("direction_deg")
    words = record.motion.kind
    if told is not None:
        words += f" at {told:.0f}°"
        words += f" ± {spread:.0f}°" if spread is not None else ""
        apart = record.natural.disagreement_deg if record.natural else None
        words += f"; {apart:.0f}° from photographs'" if apart is not None else ""
    return words


def _outcome(record: UnitRecord) -> list[str]:
    words = [record.status] if record.status else []
    if isinstance(record, AdversarialRecord) and record.success is not None:
        words.append("success" if record.success else "failed")
    return words


def _files(unit: SavedUnit) -> list[str]:
    """The names of a unit's existing files, without those missing from its metadata's list.

    Links are left out, as they may lead out of the folder.
    """
    files = [file for file in unit.folder.iterdir() if file.is_file() and not file.is_symlink()]
    there = {file.name for file in files} - {UNIT_FILE}
    named = unit.record.files
    return sorted(there if named is None else there.intersection(named))


def _place(name: str) -> tuple[bool, int, str]:
    return (name == LAST, ORDER.index(name) if name in ORDER else len(ORDER), name)


def _file(name: str) -> dict[str, str]:
    return {"name": shown_text(name), "link": _quote(name)}


def _link(path: Path, base: Path) -> str:
    """A path as a link from `base`, with special characters escaped."""
    return _quote(Path(os.path.relpath(path.resolve(), base.resolve())).as_posix())


def _quote(text: str) -> str:
    return quote(os.fsencode(text))


def shown_text(name: str) -> str:
    """A file's name as text; undecodable bytes are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def tidy(content: Any) -> Any:
    """`content` as the page holds it: numbers rounded, None if not finite; text as valid UTF-8,
    absolute paths in it without their folders.
    """
    if isinstance(content, float):
        return float(f"{content:.{DIGITS}g}") if math.isfinite(content) else None
    if isinstance(content, str):
        return without_folders(content.encode("utf-8", "replace").decode("utf-8"))
    if isinstance(content, Mapping):
        return {tidy(str(key)): tidy(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [tidy(value) for value in content]
    return content
