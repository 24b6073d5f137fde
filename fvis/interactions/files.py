"""What `fvis interactions` leaves beside its two runs: two tables, metadata, a figure, a page."""

import csv
import io
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fvis import artifacts
from fvis.gallery.page import INTERACTIONS, write_index, write_interactions
from fvis.interactions.figure import write_figure
from fvis.interactions.measures import STRONG, TOLERANCE, Interaction
from fvis.interactions.study import ALONE, TOGETHER, Study
from fvis.workspace import INDEX

LISTED = 200  # interactions on the page; the table has all
FIGURE, METADATA = "interactions.png", "interactions.json"
RESPONSES, PAIRS = "responses.csv", "interactions.csv"
COLUMNS = (
    "first", "second", "unit", "kind", "inhibited_by", "synergy", "first_alone", "second_alone",
    "together", "first_kept", "second_kept",
)  # fmt: skip
RESPONSE_COLUMNS = ("optimum_of", "unit", "response", "correlation")


def write(study: Study, directory: Path) -> Path:
    """Write the files of a study into its folder; returns the page's path.

    `responses.csv` has a row for each optimum and each unit, `interactions.csv` one for each pair
    and each unit that is not of it. `index.html` is the gallery of all optima, and has a link to
    the page.
    """
    rows = [_row(study, one) for one in study.found]
    artifacts.write_text(directory / RESPONSES, _csv(RESPONSE_COLUMNS, _responses(study)))
    artifacts.write_text(directory / PAIRS, _csv(COLUMNS, rows))
    artifacts.write_json(directory / METADATA, _metadata(study, rows))
    write_figure(directory / FIGURE, study)
    page = write_interactions(directory / INTERACTIONS, _page(study, rows, directory))
    write_index([directory / ALONE, directory / TOGETHER], directory / INDEX)
    return page


def _responses(study: Study) -> Iterable[dict[str, Any]]:
    for row, column in itertools.product(range(len(study.units)), repeat=2):
        yield {
            "optimum_of": study.labels[row],
            "unit": study.labels[column],
            "response": study.alone[row, column].item(),
            "correlation": study.natural.correlation[row, column].item(),
        }


def _row(study: Study, one: Interaction) -> dict[str, Any]:
    label = study.labels
    return {
        "first": label[one.first],
        "second": label[one.second],
        "unit": label[one.unit],
        "kind": one.kind,
        "inhibited_by": None if one.inhibitor is None else label[one.inhibitor],
        "synergy": one.synergy,
        "first_alone": one.alone[0],
        "second_alone": one.alone[1],
        "together": one.together,
        "first_kept": one.kept[0],
        "second_kept": one.kept[1],
    }


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _metadata(study: Study, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    natural = study.natural
    return {
        "layer": study.layer,
        "units": list(study.units),
        "labels": list(study.labels),
        "photographs": study.photographs,
        "natural_mean": natural.mean.tolist(),
        "natural_std": natural.std.tolist(),
        "correlation": natural.correlation.tolist(),
        "responses": study.alone.tolist(),
        "strong": STRONG,
        "tolerance": TOLERANCE,
        "interactions": rows,
        "runs": [ALONE, TOGETHER],
    }


def _page(study: Study, rows: Sequence[dict[str, Any]], directory: Path) -> dict[str, Any]:
    """What the page shows: the interactions with their pictures, as links from the folder."""
    told = []
    for one, row in zip(study.found[:LISTED], rows, strict=False):
        keys = (one.first, one.second, (one.first, one.second), one.unit)
        files = [study.picture(key).relative_to(directory).as_posix() for key in keys]
        told.append(
            row
            | dict(
                zip(
                    ("picture_first", "picture_second", "picture_together", "picture_unit"),
                    files,
                    strict=True,
                )
            )
        )
    return {
        "layer": study.layer,
        "photographs": study.photographs,
        "figure": FIGURE,
        "tables": [PAIRS, RESPONSES, METADATA],
        "interactions": told,
        "count": len(rows),
    }
