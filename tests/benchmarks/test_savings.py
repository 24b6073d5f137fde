"""The table of savings has every layer, and its ratios are those of the seconds."""

import pytest

from . import savings
from .savings import Saving, markdown, measure


def test_the_table_has_the_ratios_of_the_seconds() -> None:
    seconds = {"plain": 3.0, "folded": 2.0, "canvas": 0.25}
    found = [
        Saving("net", "layer1", "center", 4, 32, seconds),
        Saving("net", "logits", "mean", 4, None, seconds),
    ]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in markdown(found).split("\n")
    ]
    assert rows[2] == ["net", "layer1", "center", "32", "3.0000", "1.5x", "12.0x"]
    assert rows[3][3] == "full"
    assert all(len(row) == len(rows[0]) for row in rows)


@pytest.mark.slow
def test_all_ways_are_measured_on_the_canvas_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(savings, "ROUNDS", 1)
    saving = measure("resnet10t", "layer1", "center", 2)
    assert saving.side is not None and saving.side < 100
    assert saving.seconds.keys() == savings.WAYS.keys()
    assert all(seconds > 0 for seconds in saving.seconds.values())
