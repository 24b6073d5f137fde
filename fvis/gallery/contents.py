"""What a page says of its units together: a table of them, an atlas, filters and orders."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fvis.evidence.record import PLAUSIBLE, SUPPORTED, UNSUPPORTED
from fvis.record.run import RunRecord

COLUMNS = 64  # units of a layer that the atlas shows
# What filters, orders and search need of a unit: a row of the page's table.
ENTRY = (
    *("id", "name", "title", "label", "run", "model", "layer", "status"),
    *("activation", "motion", "success", "steps"),
    *("evidence", "believed", "observer"),
)
BELIEVED = {SUPPORTED: 2, PLAUSIBLE: 1, UNSUPPORTED: 0}  # in what order words are sorted


@dataclass
class Row:
    """A row of the atlas: a layer of a run, the first `COLUMNS` of its units, and their number."""

    run: str
    model: str
    layer: str
    count: int = 0
    units: list[dict[str, Any]] = field(default_factory=list)

    def add(self, unit: Mapping[str, Any]) -> None:
        """Count a unit, and show it if there is room."""
        self.count += 1
        if len(self.units) < COLUMNS:
            kept = ("id", "name", "title", "label", "picture", "moves", "outcome", "evidence")
            self.units.append({key: unit[key] for key in kept})


class Contents:
    """What the page says of all units together: an atlas, filters, orders, rows of its table."""

    def __init__(self) -> None:
        self.count = 0
        self._told: set[str] = set()  # columns in which a unit has a value
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._values: dict[str, Counter[str]] = {
            key: Counter() for key in ("run", "model", "layer", "status", "evidence")
        }

    def add(self, units: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """Take a page of units into account; returns their rows of the table, as in `ENTRY`."""
        entries = []
        for unit in units:
            metadata = unit["metadata"]
            entry = {
                "status": " ".join(unit["outcome"]),
                "activation": unit["final"],
                "motion": metadata.get("motion_index"),
                "success": metadata.get("success"),
                "steps": metadata.get("steps_to_success"),
                "believed": BELIEVED.get(unit["evidence"]),
                "observer": unit["observer"],
                **{key: unit[key] for key in ("id", "name", "title", "label", "run", "evidence")},
                **{key: str(metadata.get(key) or "") for key in ("model", "layer")},
            }
            entries.append(tuple(entry[key] for key in ENTRY))
            self._told.update(key for key in ENTRY if entry[key] is not None)
            for key in ("run", "model", "layer", "evidence"):
                if entry[key]:
                    self._values[key][entry[key]] += 1
            self._values["status"].update(unit["outcome"])
            row = (entry["run"], entry["model"], entry["layer"])
            self._rows.setdefault(row, Row(*row)).add(unit)
        self.count += len(units)
        return entries

    def atlas(self, runs: Sequence[RunRecord]) -> list[Row]:
        """A row for each layer, shallow layers first; none if there is but one.

        The same layer's rows in several runs come one below the other.
        """
        depths = {
            (run.model.name, path): depth for run in runs for path, depth in run.layers.items()
        }
        models = list(dict.fromkeys(row.model for row in self._rows.values()))

        def place(row: Row) -> tuple[int, float]:
            return models.index(row.model), depths.get((row.model, row.layer), math.inf)

        rows = sorted(self._rows.values(), key=place)
        return rows if len(rows) > 1 else []

    def choices(self) -> list[dict[str, Any]]:
        """The filters worth offering: those by which some units differ from others."""
        return [
            {"key": key, "values": list(found.items()) if key == "layer" else sorted(found.items())}
            for key, found in self._values.items()
            if len(found) > 1
        ]

    def sorts(self) -> list[tuple[str, str]]:
        """The orders worth offering: (key, name); a minus sign before a key: largest first."""
        sorts = [("", "as made"), ("name", "name")]
        numbers = [("activation", "activation")]
        if "motion" in self._told:
            numbers.append(("motion", "motion index"))
        if "observer" in self._told:
            numbers.append(("observer", "observer's score"))
        for key, name in numbers:
            sorts += [(f"-{key}", f"{name}, highest first"), (key, f"{name}, lowest first")]
        if "believed" in self._told:
            sorts += [("-believed", "supported first"), ("believed", "unsupported first")]
        if "success" in self._told:
            sorts += [("-success", "successes first"), ("success", "failures first")]
        return sorts
