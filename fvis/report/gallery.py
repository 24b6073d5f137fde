"""`index.html`: the units of one or more runs, on a page that needs nothing but a browser."""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader

from fvis import artifacts
from fvis.errors import RequestError
from fvis.report.gallery_commands import command, read_origin

PICTURES = (".png", ".gif", ".jpg", ".jpeg", ".webp")
# What a card shows: the first that the unit has, else any picture of its.
CARD = ("image.png", "clip.gif", "adversarial.png", "reconstruction.gif", "optimal.gif")
# The order on a unit's page; others follow by name, and the summary, made for print, is last.
ORDER = (
    *("image.png", "clip.gif", "strip.png", "side_by_side.gif", "natural.png"),
    *("clean.png", "adversarial.png", "perturbation.png"),
    *("optimal.gif", "reconstruction.gif", "texture.png", "motion.gif"),
)
LAST = "summary.png"
# What is on the page elsewhere, or means nothing there.
LEFT_OUT = ("files", "schema")
DIGITS = 6  # significant, of the numbers that the page carries


def write_index(runs: Sequence[Path], path: Path) -> Path:
    """Write the page of all units of `runs` to `path`; raises `RequestError` for no run.

    The page links to the runs' files by relative paths and works from `file://`. What a run lacks
    (units, keys of an older schema, finite numbers) is left out or said to be missing.
    """
    for run in runs:
        if not (run / "run.json").is_file():
            raise RequestError(f"{run} is no run: it has no run.json")
    names = _run_names(runs, path.parent)
    headers = [_read_run(run, name) for run, name in zip(runs, names, strict=True)]
    units = [
        unit | {"run": name, "id": f"{name}/{unit['name']}"}
        for run, name in zip(runs, names, strict=True)
        for unit in read_units(run, path.parent)
    ]
    environment = Environment(
        loader=PackageLoader("fvis.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    environment.filters["number"] = number
    environment.filters["address"] = lambda text: quote(text, safe="")
    page = environment.get_template("index.html").render(
        runs=headers, units=units, choices=_choices(units), sorts=_sorts(units)
    )
    artifacts.write_text(path, page)
    return path


def read_units(run: Path, base: Path) -> list[dict[str, Any]]:
    """A run's units, in the order of their names, as the page shows them.

    Each has `name`, `metadata`, `picture`, `alternate` (shown instead of the picture on hover) and
    `folder` as links from `base`, its `pictures` and other `files` by name, `command` to make it
    again or None, and `outcome`: its status and, of an attack, success or failed.
    """
    origin = read_origin(run)
    content = _read_json(run / "run.json")
    config = _mapping(content.get("config"))
    units = []
    for place in _unit_folders(run, content):
        metadata = _read_json(place / "metadata.json")
        files = _files(metadata, place)
        pictures = sorted((f for f in files if f.lower().endswith(PICTURES)), key=_place)
        folder = _link(place, base)
        shown = next((f for f in CARD if f in pictures), pictures[0] if pictures else None)
        compared = shown == "adversarial.png" and "clean.png" in pictures
        activation = _mapping(metadata.get("activation"))
        unit = {
            "name": _text(place.name),
            "folder": folder,
            "picture": shown and f"{folder}/{_quote(shown)}",
            "alternate": f"{folder}/clean.png" if compared else None,
            "moves": bool(shown and shown.lower().endswith(".gif")),
            "label": _label(metadata),
            "alt": _alt(metadata, place.name, shown or ""),
            "pictures": [_file(f) for f in pictures],
            "files": [_file(f) for f in files if f not in pictures] + [_file("metadata.json")],
            "command": origin and command(origin, config, metadata),
            "typed_in": origin and origin.folder,
            "outcome": _outcome(metadata),
            "initial": activation.get("initial"),
            "final": activation.get("final"),
            "metadata": {k: v for k, v in metadata.items() if k not in LEFT_OUT},
        }
        units.append(_tidy(unit))
    return units


def number(value: Any) -> str:
    """A number as the page shows it: four digits; what is not finite is said to be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not finite"
    return f"{value:.4g}"


def _unit_folders(run: Path, content: Mapping[str, Any]) -> list[Path]:
    """The units' folders, by name: those of `run.json` if the run is done, else all there are.

    A run that is done may have been carried out in an earlier one's folder.
    """
    folders = sorted(file.parent for file in (run / "units").glob("[!.]*/metadata.json"))
    listed = content.get("units")
    if content.get("status") != "done" or not isinstance(listed, list):
        return folders
    return [folder for folder in folders if folder.name in listed]


def _run_names(runs: Sequence[Path], base: Path) -> list[str]:
    """What each run is called: its folder's name, its path from `base` where that is not unique."""
    names = [run.resolve().name for run in runs]
    often = Counter(names)
    paths = [os.path.relpath(run.resolve(), base.resolve()) for run in runs]
    return [_text(p if often[n] > 1 else n) for n, p in zip(names, paths, strict=True)]


def _read_run(run: Path, name: str) -> dict[str, Any]:
    """What the page says of a run as a whole."""
    content = _read_json(run / "run.json")
    model = _mapping(content.get("model"))
    summary = {
        _text(key): value
        for key, value in _mapping(content.get("summary")).items()
        if isinstance(value, Mapping) and isinstance(value.get("mean"), int | float)
    }
    header = {
        "name": name,
        "status": content.get("status"),
        "model": model.get("name"),
        "sha256": _mapping(model.get("weights")).get("sha256"),
        "method": _mapping(_mapping(content.get("config")).get("method")).get("name"),
        "layer": _mapping(_mapping(content.get("config")).get("target")).get("layer"),
        "device": content.get("device"),
        "statuses": _mapping(content.get("statuses")),
        "started": _mapping(content.get("timings")).get("started"),
        "seconds": _mapping(content.get("timings")).get("seconds"),
        "versions": _mapping(content.get("versions")),
        "summary": summary,
        "refused": _mapping(content.get("refused")),
    }
    return {key: _tidy(value) for key, value in header.items()}


def _choices(units: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The filters worth offering: those by which some units differ from others."""
    found: dict[str, Counter[str]] = {key: Counter() for key in ("run", "model", "layer", "status")}
    for unit in units:
        for key in ("model", "layer"):
            if unit["metadata"].get(key):
                found[key][str(unit["metadata"][key])] += 1
        found["run"][unit["run"]] += 1
        found["status"].update(unit["outcome"])
    return [
        {"key": key, "values": sorted(values.items())}
        for key, values in found.items()
        if len(values) > 1
    ]


def _sorts(units: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The orders worth offering: (key, name); a minus sign before a key: largest first."""
    sorts = [("", "as made"), ("name", "name")]
    numbers = [("activation", "activation")]
    if any("motion_index" in unit["metadata"] for unit in units):
        numbers.append(("motion", "motion index"))
    for key, name in numbers:
        sorts += [(f"-{key}", f"{name}, highest first"), (key, f"{name}, lowest first")]
    if any("success" in unit["metadata"] for unit in units):
        sorts += [("-success", "successes first"), ("success", "failures first")]
    return sorts


def _alt(metadata: Mapping[str, Any], name: str, shown: str) -> str:
    """What a unit's picture is, for those who cannot see it."""
    known = metadata.get("layer") is not None and metadata.get("unit") is not None
    unit = f"unit {metadata['unit']} of {metadata['layer']}" if known else name
    kind = "Clip" if shown.lower().endswith(".gif") else "Picture"
    meant = metadata.get("class")
    if metadata.get("method") == "adversarial":
        goal = meant if meant is not None else metadata.get("target", "another class")
        return f"{metadata.get('image', name)}, changed to be taken for {goal}"
    does = "failed to excite" if metadata.get("status") == "dead" else "excites"
    return f"{kind} that {does} {unit}" + (f", {meant}" if meant is not None else "")


def _label(metadata: Mapping[str, Any]) -> str | None:
    """What the unit stands for, if anything: its class; of an attack, from which to which."""
    meant = metadata.get("class")
    try:
        before, after = (metadata[key][0][0] for key in ("clean", "adversarial"))
    except (KeyError, IndexError, TypeError):
        return None if meant is None else str(meant)
    return f"{before} → {after}"


def _outcome(metadata: Mapping[str, Any]) -> list[str]:
    words = [str(metadata["status"])] if metadata.get("status") else []
    if isinstance(metadata.get("success"), bool):
        words.append("success" if metadata["success"] else "failed")
    return words


def _files(metadata: Mapping[str, Any], folder: Path) -> list[str]:
    """The names of a unit's files that lie there; all of them where the metadata names none."""
    there = {file.name for file in folder.iterdir() if file.is_file()} - {"metadata.json"}
    named = metadata.get("files")
    if not isinstance(named, list):
        return sorted(there)
    return sorted(there.intersection(name for name in named if isinstance(name, str)))


def _place(name: str) -> tuple[bool, int, str]:
    return (name == LAST, ORDER.index(name) if name in ORDER else len(ORDER), name)


def _file(name: str) -> dict[str, str]:
    return {"name": _text(name), "link": _quote(name)}


def _link(path: Path, base: Path) -> str:
    """A path as a link from `base`, whatever characters its folders are called by."""
    return _quote(Path(os.path.relpath(path.resolve(), base.resolve())).as_posix())


def _quote(text: str) -> str:
    return quote(os.fsencode(text))


def _text(name: str) -> str:
    """A file's name as text that UTF-8 can hold."""
    return os.fsencode(name).decode("utf-8", "replace")


def _read_json(path: Path) -> dict[str, Any]:
    """A file's mapping; empty where it holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _mapping(content: Any) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}


def _tidy(content: Any) -> Any:
    """`content` as a page can carry it: numbers short, null where not finite; text that is text."""
    if isinstance(content, float):
        return float(f"{content:.{DIGITS}g}") if math.isfinite(content) else None
    if isinstance(content, str):
        return content.encode("utf-8", "replace").decode("utf-8")
    if isinstance(content, Mapping):
        return {_tidy(str(key)): _tidy(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_tidy(value) for value in content]
    return content
