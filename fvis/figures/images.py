"""Figures of images: optimal pictures of units, layer by layer, and adversarial examples."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fvis.artifacts import read_png
from fvis.errors import RequestError
from fvis.figures.runs import Run, finished_run
from fvis.figures.sheet import (
    GAP,
    MARGIN,
    SMALL,
    TEXT,
    TITLE,
    WIDTH,
    Sheet,
    line_height,
    three_digits,
    wrapped,
)
from fvis.figures.stills import still
from fvis.figures.words import about, by_model, of_evidence, short, unit_lines
from fvis.origin import differing_words
from fvis.record.attack import AdversarialRecord
from fvis.run_folder import SavedUnit

OUTPUT_COLUMNS, LEAST_COLUMNS = 6, 4
SIDE_COLUMNS = 3  # pictures per layer and network in a comparison
LAYER_ROWS = 3
WIDEST = 1.2  # inches, largest picture in a figure of layers; two networks fit on a page
ATTACKS = 2  # adversarial examples per row
GUTTER = 0.2  # inches, for a row's vertical label
UNDER = line_height(SMALL)
ABOVE = line_height(TITLE) + 0.03
BEFORE_CAPTION = 0.04

ACTIVATION = "a: activation of the picture shown, without transforms."


def write_outputs(stem: Path, runs: Sequence[Run]) -> list[Path]:
    """Write a grid of units for each run, under the name of its network and layer."""
    return outputs(runs).write(stem)


def write_layers(stem: Path, runs: Sequence[Run]) -> list[Path]:
    """Write a band for each network: a column for each layer, with its units in rows."""
    return layers(runs).write(stem)


def write_comparison(stem: Path, runs: Sequence[Run]) -> list[Path]:
    """Write two networks side by side: a row for each layer, from the first to the output."""
    return comparison(runs).write(stem)


def write_adversarial(stem: Path, runs: Sequence[Run]) -> list[Path]:
    """Write photograph, perturbation and adversarial example of each attack, two attacks a row."""
    return adversarial(runs).write(stem)


def write_contact_sheet(stem: Path, folders: Sequence[Path]) -> list[Path]:
    """Write all units of finished runs, each run under what tells it from the others."""
    runs = [finished_run(folder) for folder in folders]
    return outputs(runs, differing_words(folders)).write(stem)


def outputs(runs: Sequence[Run], told: Sequence[str] = ()) -> Sheet:
    """The page that `write_outputs` writes; `told` has what is said of each run besides."""
    most = max(len(run.units) for run in runs)
    rows = math.ceil(most / OUTPUT_COLUMNS)
    columns = max(math.ceil(most / rows), LEAST_COLUMNS if told else 1)
    side = (WIDTH - 2 * MARGIN + GAP) / columns - GAP
    step = side + _lines(runs) * UNDER + GAP
    caption = _caption("Optimal pictures of units.", runs)
    tall = sum(ABOVE + step * math.ceil(len(run.units) / columns) for run in runs)
    sheet = Sheet(MARGIN + tall + _height(caption))
    y = MARGIN
    for run, words in zip(runs, told or [""] * len(runs), strict=True):
        name = f"{run.model}, {run.layer}"
        sheet.text(MARGIN, y, f"{name}: {words}" if words else name, TITLE, bold=True)
        y += ABOVE
        for i, unit in enumerate(run.units):
            x, below = MARGIN + i % columns * (side + GAP), y + i // columns * step
            layer = f"{unit.record.layer} " if len(run.record.layers) > 1 else ""
            _unit(sheet, x, below, side, unit, layer)
        y += step * math.ceil(len(run.units) / columns)
    sheet.caption(y + BEFORE_CAPTION, caption)
    return sheet


def layers(runs: Sequence[Run]) -> Sheet:
    """The page that `write_layers` writes."""
    networks = by_model(runs)
    columns = max(len(own) for own in networks.values())
    side = (WIDTH - 2 * MARGIN - GUTTER + GAP) / columns - GAP
    side = min(side, WIDEST)
    step = side + _lines(runs) * UNDER + GAP
    tall = [min(LAYER_ROWS, max(len(run.units) for run in own)) for own in networks.values()]
    caption = _caption("Optimal pictures of units of successive layers.", runs)
    sheet = Sheet(MARGIN + sum(ABOVE + step * rows for rows in tall) + _height(caption))
    wide = (WIDTH - 2 * MARGIN - GUTTER + GAP) / columns
    y = MARGIN
    for (name, own), rows in zip(networks.items(), tall, strict=True):
        band = step * rows - GAP
        middle = y + ABOVE + band / 2
        left = MARGIN + GUTTER / 2 - 0.03
        sheet.text(left, middle, name, TITLE, bold=True, upright=True, within=band)
        for column, run in enumerate(own):
            x = MARGIN + GUTTER + column * wide + (wide - GAP - side) / 2
            middle = x + side / 2
            sheet.text(middle, y, run.layer, TITLE, bold=True, centred=True, within=wide - GAP)
            for row, unit in enumerate(run.units[:rows]):
                _unit(sheet, x, y + ABOVE + row * step, side, unit)
        y += ABOVE + step * rows
    sheet.caption(y + BEFORE_CAPTION, caption)
    return sheet


def comparison(runs: Sequence[Run]) -> Sheet:
    """The page that `write_comparison` writes; raises `RequestError` unless networks are two."""
    networks = by_model(runs)
    if len(networks) != 2:
        raise RequestError(f"a comparison needs two networks, not {len(networks)}")
    half = (WIDTH - 2 * MARGIN - GUTTER) / 2
    side = (half - GUTTER + GAP) / SIDE_COLUMNS - GAP
    step = side + _lines(runs) * UNDER + GAP
    rows = max(len(own) for own in networks.values())
    caption = _caption("Layers from the first (top) to the output (bottom).", runs)
    sheet = Sheet(MARGIN + ABOVE + step * rows + _height(caption))
    for network, (name, own) in enumerate(networks.items()):
        left = MARGIN + network * (half + GUTTER)
        middle = left + GUTTER + (half - GUTTER) / 2
        sheet.text(middle, MARGIN, name, TITLE, bold=True, centred=True, within=half - GUTTER)
        for row, run in enumerate(own):
            y = MARGIN + ABOVE + row * step
            place, middle = left + GUTTER / 2, y + side / 2
            sheet.text(place, middle, run.layer, TEXT, bold=True, upright=True, within=side)
            for column, unit in enumerate(run.units[:SIDE_COLUMNS]):
                _unit(sheet, left + GUTTER + column * (side + GAP), y, side, unit)
    sheet.caption(MARGIN + ABOVE + step * rows + BEFORE_CAPTION, caption)
    return sheet


def adversarial(runs: Sequence[Run]) -> Sheet:
    """The page that `write_adversarial` writes."""
    units = [unit for run in runs for unit in run.units]
    rows = math.ceil(len(units) / ATTACKS)
    between = 0.16
    wide = (WIDTH - 2 * MARGIN - between * (ATTACKS - 1)) / ATTACKS
    side = (wide + GAP) / 3 - GAP
    below = 3 if all(unit.record_of(AdversarialRecord).success for unit in units) else 4
    step = side + below * UNDER + GAP
    names = ", ".join(f"{run.model}, {run.layer}" for run in runs)
    text = (
        "Each example: photograph, perturbation (amplified, on grey) and adversarial example, with "
        "the class that the network predicts and its probability. target: the unit whose "
        "activation is raised; a: this activation, before and after."
    )
    caption = _caption(text, runs, "")
    sheet = Sheet(MARGIN + ABOVE + step * rows + _height(caption))
    sheet.text(MARGIN, MARGIN, names, TITLE, bold=True)
    for i, unit in enumerate(units):
        x, y = MARGIN + i % ATTACKS * (wide + between), MARGIN + ABOVE + i // ATTACKS * step
        for column, (name, lines) in enumerate(_attack_lines(unit).items()):
            place = x + column * (side + GAP)
            sheet.picture(place, y, side, read_png(unit.file(f"{name}.png")))
            sheet.lines(place, y + side + 0.02, lines, side)
    sheet.caption(MARGIN + ABOVE + step * rows + BEFORE_CAPTION, caption)
    return sheet


def _attack_lines(unit: SavedUnit) -> dict[str, list[str]]:
    record = unit.record_of(AdversarialRecord)
    clean, after = record.clean[0], record.adversarial[0]
    initial, final = map(three_digits, (record.activation.initial, record.activation.final))
    reach = "" if record.linf is None else f", at most {three_digits(255 * record.linf)}/255"
    aim = short(record.class_name or "")
    verdict = [] if record.success else ["not the target"]
    is_class = record.probability is not None
    return {
        "clean": [*_seen(clean, is_class), f"a {initial}"],
        "perturbation": [
            f"\N{MULTIPLICATION SIGN} {three_digits(record.amplification)}{reach}",
            f"SSIM {three_digits(record.ssim)}",
            f"target: {record.unit} {aim}",
        ],
        "adversarial": [*_seen(after, is_class), f"a {final}", *verdict],
    }


def _seen(top: tuple[Any, float | None], is_class: bool) -> list[str]:
    """The class a network takes a picture for, and its probability; or a unit and its value."""
    name, number = top
    if is_class:
        return [short(name), _percent(number)]
    return [f"unit {name}", three_digits(number)]


def _percent(chance: float | None) -> str:
    return "n/a" if chance is None else f"{100 * chance:.0f} %"


def _lines(runs: Sequence[Run]) -> int:
    """The largest number of text lines under any unit's picture."""
    return max(len(unit_lines(unit.record)) for run in runs for unit in run.units)


def _unit(sheet: Sheet, x: float, y: float, side: float, unit: SavedUnit, before: str = "") -> None:
    """Draw a unit's picture and the lines under it; `before` begins the first one."""
    first, *others = unit_lines(unit.record)
    sheet.picture(x, y, side, still(unit))
    sheet.lines(x, y + side + 0.02, [before + first, *others], side)


def _caption(text: str, runs: Sequence[Run], activation: str = ACTIVATION) -> list[str]:
    words = " ".join(filter(None, [text, about(runs), activation, of_evidence(runs)]))
    return wrapped(words, WIDTH - 2 * MARGIN)


def _height(caption: Sequence[str]) -> float:
    return BEFORE_CAPTION + len(caption) * line_height(TEXT) + MARGIN
