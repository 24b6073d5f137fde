"""The table of ways to execute has their seconds and ratios, of runs that ended well."""

import pytest

from fvis import schema
from fvis.compose import compose

from . import execution
from .execution import MAIN, ONE, THREADS, TWO, markdown, measure

TINY = ("model=glyph_cnn", "target.layer=layer1", "target.units=0:2", "engine.steps=2")


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n")]


def test_the_table_has_the_ratios_of_the_seconds() -> None:
    rows = cells(markdown({"net": {MAIN: 6.0, THREADS: 4.0, ONE: 10.0, TWO: 8.0}}))
    assert rows[2] == ["net", "6.0", "4.0", "10.0", "8.0", "1.50", "1.25"]
    assert all(len(row) == len(rows[0]) for row in rows)


def test_the_table_leaves_out_what_was_not_measured() -> None:
    rows = cells(markdown({"net": {MAIN: 6.0, THREADS: 4.0}}))
    assert rows[0] == ["case", "main thread, s", "threads, s", "main thread / threads"]


@pytest.mark.slow
def test_a_run_is_timed_and_a_failed_one_is_an_error() -> None:
    found = measure(TINY, [MAIN, THREADS], rounds=1)
    assert found.keys() == {MAIN, THREADS} and all(seconds > 0 for seconds in found.values())
    with pytest.raises(RuntimeError, match="nosuch"):
        measure((*TINY, "model=nosuch"), [MAIN], rounds=1)


def test_every_case_can_be_composed() -> None:
    for case in execution.CASES.values():
        words = [word for word in (*case, *execution.COMMON) if not word.startswith("--")]
        config = schema.parse(compose(words))
        assert config.engine.threads == 1
