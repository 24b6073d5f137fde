"""The sheet of a grid: every picture at the place of its weights."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from fvis import runner
from fvis.figures.sheet import Sheet
from tests.conftest import SMALL_CLIPS
from tests.methods.test_adversarial import config_of


@pytest.mark.parametrize("model", [(), ("model=drift_r3d", *SMALL_CLIPS)])
def test_pictures_stand_where_their_weights_say(model: tuple[str, ...], tmp_path: Path) -> None:
    config = config_of("target.grid=[3,7]", "target.grid_steps=3", "engine.steps=1", *model)
    with (
        mock.patch.object(Sheet, "lines", autospec=True) as lines,
        mock.patch.object(Sheet, "picture", autospec=True) as picture,
    ):
        runner.run(config, tmp_path / "run")
    assert all(np.ptp(call.args[4]) > 0 for call in picture.call_args_list)
    assert picture.call_count == 8
    places = {(round(call.args[1], 3), round(call.args[2], 3)) for call in lines.call_args_list}
    assert len(places) == 8
    across, down = (sorted({place[axis] for place in places}) for axis in (0, 1))
    assert len(across) == len(down) == 3
    assert (across[1], down[1]) not in places, "weights zero and zero have no picture"
    assert {path.name for path in (tmp_path / "run").glob("grid.*")} == {"grid.png", "grid.pdf"}
