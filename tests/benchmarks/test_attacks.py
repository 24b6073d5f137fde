"""What must be true of the attacks' comparison: what is judged, timed and printed."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fvis.models import Model, Preprocessing
from fvis.perturbation.search import Search

from . import attacks
from .attacks import HEADS, Row, Task


class Brightest(nn.Module):
    """Takes a picture for its strongest channel."""

    def forward(self, rgb: Tensor) -> Tensor:
        return rgb.mean((2, 3))


def model() -> Model:
    return Model(
        Brightest(), "net", Preprocessing(8, 8, None, (0.0,) * 3, (1.0,) * 3), None, "", ""
    )


def task(norm: str = "linf", bound: str = "8/255") -> Task:
    return Task("net", norm, bound, torch.full((2, 3, 8, 8), 100 / 255), torch.tensor([1, 2]))


def test_pictures_are_judged_by_what_they_are_taken_for() -> None:
    files = task().clean.clone()
    files[:, 1] += 2 / 255
    row = attacks.judge(model(), task(), files, "tool", 3.0)
    assert row.success == [True, False]
    likely = files.mean((2, 3)).softmax(1)
    assert row.probability == pytest.approx([likely[0, 1].item(), likely[1, 2].item()])
    assert row.change == pytest.approx([2 / 3, 2 / 3], rel=1e-4)
    assert row.centroid == pytest.approx([0, 0])
    assert row.tv == pytest.approx([0, 0])
    assert row.l2 == pytest.approx([16 / 255, 16 / 255])  # of 64 values each
    assert row.cpu_seconds == 1.5


def test_a_picture_out_of_its_ball_is_no_result() -> None:
    files = task().clean + 2 / 255
    with pytest.raises(ValueError, match="left the ball of 1/255"):
        attacks.judge(model(), task(bound="1/255"), files, "tool", 0.0)
    with pytest.raises(ValueError, match=r"left the ball of 0\.1"):
        attacks.judge(model(), task("l2", "0.1"), files, attacks.FVIS, 0.0)
    beyond = attacks.judge(model(), task("l2", "0.1"), files, attacks.PGD_L2, 0.0)
    assert max(beyond.l2) > 0.1, "the rounding of a peer's files is told, and refused of fvis alone"


def test_a_row_has_a_cell_for_each_head() -> None:
    measures = [[0.5, 0.9], [1.0, 2.0], [0.9, 1.0], [0.1, 0.3], [0.5, 0.7], [0.25, 0.75]]
    row = Row("net", "2/255", "tool", [True, False], *measures, 0.25)
    cells = dict(zip(HEADS, row.cells(), strict=True))
    assert (cells["success"], cells["probability"]) == ("1 of 2", "0.70")
    assert (cells["bound"], cells["TV"], cells["SSIM"]) == ("2/255", "1.50", "0.9500")
    assert cells["greatest l2"] == "0.75"


def test_only_the_search_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Search.run
    monkeypatch.setattr(attacks.time, "process_time", iter([1.0, 4.0, 10.0, 11.0]).__next__)
    monkeypatch.setattr(Search, "run", lambda *_: "found")
    with attacks._Timed() as seconds:
        assert [Search.run(1), Search.run(2)] == ["found", "found"]  # type: ignore[arg-type]
    assert seconds == [4.0]
    monkeypatch.undo()
    assert Search.run is before


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        attacks.main([str(tmp_path), "--tools", "absent"])
