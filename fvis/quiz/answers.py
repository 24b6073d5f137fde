"""People's answers, as the page of a quiz leaves them: JSON or CSV."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvis.errors import RequestError

COLUMNS = ("page", "person", "run", "unit", "condition", "task", "chosen", "confidence", "seconds")
CONFIDENCES = (1, 2, 3)


@dataclass(frozen=True)
class Answer:
    """Who chose which photograph in which trial, and how sure they were, from 1 to 3.

    `chosen` is its concealed name.
    """

    person: str
    run: str
    unit: str
    condition: str
    task: int
    chosen: str
    confidence: int


def read_answers(path: Path) -> list[Answer]:
    """The answers in a file; raises `RequestError` for one that a quiz did not leave."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RequestError(f"{path} cannot be read: {reason}") from None
    try:
        is_table = path.suffix.lower() == ".csv"
        rows = [*csv.DictReader(text.splitlines())] if is_table else _rows(text)
        return [_answer(row) for row in rows]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RequestError(f"{path} has no answers as a quiz leaves them") from None


def _rows(text: str) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = json.loads(text)["answers"]
    return rows


def _answer(row: Mapping[str, Any]) -> Answer:
    words = [row[name] for name in ("person", "run", "unit", "condition", "chosen")]
    if not all(isinstance(word, str) and word for word in words):
        raise ValueError("words are missing")
    person, run, unit, condition, chosen = words
    confidence = int(row["confidence"])
    if confidence not in CONFIDENCES:
        raise ValueError("there is no such confidence")
    return Answer(person, run, unit, condition, int(row["task"]), chosen, confidence)
