"""`index.html`: the pictures of one or more runs in one table."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader

from fvis import artifacts
from fvis.errors import RequestError

# What a unit is shown by: the first that it has.
PICTURES = ("image.png", "strip.png", "side_by_side.gif", "clip.gif")


def write_index(runs: Sequence[Path], path: Path) -> Path:
    """Write the table of all units of `runs` to `path`; raises `RequestError` for no run."""
    for run in runs:
        if not (run / "run.json").is_file():
            raise RequestError(f"{run} is no run: it has no run.json")
    environment = Environment(loader=PackageLoader("fvis.report"), autoescape=True)
    units = [unit for run in runs for unit in read_units(run, path.parent)]
    page = environment.get_template("index.html").render(units=units, runs=runs)
    artifacts.write_text(path, page)
    return path


def read_units(run: Path, base: Path) -> list[dict[str, Any]]:
    """The metadata of a run's units, each with `name` and its `picture` as a link from `base`."""
    units = []
    for file in sorted((run / "units").glob("*/metadata.json")):
        unit = json.loads(file.read_text(encoding="utf-8"))
        shown = next((name for name in PICTURES if name in unit["files"]), None)
        link = os.path.relpath(file.parent, base)
        unit |= {"name": file.parent.name, "picture": shown and quote(f"{link}/{shown}")}
        units.append(unit)
    return units
