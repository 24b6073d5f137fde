"""`fvis report --sheet`: all pictures of runs on one sheet, told apart by the runs' words."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from fvis import cli
from fvis.errors import RequestError
from fvis.figures.sheet import Sheet
from tests.conftest import SMALL_CLIPS


@pytest.mark.parametrize("model", [["model=glyph_cnn"], ["model=drift_r3d", *SMALL_CLIPS]])
def test_a_sweeps_pictures_stand_under_the_words_of_their_runs(
    model: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*model, "target.units=[3,7]", "engine.steps=1", "engine.device=cpu", "engine.seed=0,1"]
    assert cli.run(["-m", *words, "hydra.sweep.dir=sweep"]) == 0
    with (
        mock.patch.object(Sheet, "text", autospec=True) as text,
        mock.patch.object(Sheet, "picture", autospec=True) as picture,
    ):
        assert cli.report(["--sheet", "all.png", "sweep"]) == 0
    headings = [call.args[3] for call in text.call_args_list if "engine.seed=" in call.args[3]]
    assert [heading.partition(": ")[2] for heading in headings] == [
        "engine.seed=0",
        "engine.seed=1",
    ]
    assert picture.call_count == 4
    assert all(np.ptp(call.args[4]) > 0 for call in picture.call_args_list)
    assert {path.name for path in tmp_path.glob("all.*")} == {"all.png", "all.pdf"}


def test_a_sheet_needs_a_name_of_a_picture() -> None:
    with pytest.raises(RequestError, match=r"--sheet takes the name of a file, such as page\.png"):
        cli.report(["--sheet", "sweep"])
