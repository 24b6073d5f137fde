"""The sheet of a run of `target.grid`: how two units blend, weight by weight."""

import itertools
from pathlib import Path

from fvis.figures.sheet import (
    GAP,
    MARGIN,
    SMALL,
    TITLE,
    WIDTH,
    Sheet,
    line_height,
    three_digits,
)
from fvis.figures.stills import still
from fvis.objectives.joint import grid_name, grid_weights
from fvis.run_folder import SavedRun

NAME = "grid"  # of the files, grid.png and grid.pdf
LEFT, ABOVE = 0.4, 0.45  # inches, for the weights of the first unit, and for title and the second's


def write_grid(run: SavedRun) -> list[Path]:
    """Write the sheet of a run's pictures into its folder; returns the files' paths.

    The first unit's weight falls from 1 to -1 from above, and the second's rises from -1 to 1 to
    the right. Of clips the middle frame is shown. The place of weights zero and zero is left blank.
    """
    first, second = run.record.setting("target", "grid")
    weights = grid_weights(run.record.setting("target", "grid_steps"))
    units = {str(unit.record.unit): unit for unit in run.units()}
    side = (WIDTH - MARGIN - LEFT) / len(weights) - GAP
    step = side + line_height(SMALL) + GAP
    sheet = Sheet(ABOVE + step * len(weights) + MARGIN)
    title = f"{run.record.model.name}, {run.record.setting('target', 'layer')}: weights of units "
    sheet.text(MARGIN, MARGIN, f"{title}{first} (down) and {second} (across)", TITLE, bold=True)
    for row, column in itertools.product(range(len(weights)), repeat=2):
        x, y = LEFT + column * (side + GAP), ABOVE + row * step
        pair = (weights[-1 - row], weights[column])
        if column == 0:
            sheet.text(LEFT / 2, y + side / 2, three_digits(pair[0]), upright=True)
        if row == 0:
            sheet.text(x + side / 2, y - line_height(SMALL), three_digits(pair[1]), centred=True)
        unit = units.get(grid_name((first, second), pair))
        if unit:
            sheet.picture(x, y, side, still(unit))
            sheet.lines(
                x, y + side + 0.02, [f"a {three_digits(unit.record.activation.final)}"], side
            )
    return sheet.write(run.folder / NAME)
