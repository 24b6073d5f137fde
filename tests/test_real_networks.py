"""On trained networks: what random ones cannot show."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fvis import models, runner, schema
from fvis.artifacts import read_png
from fvis.compose import compose

pytestmark = pytest.mark.slow

DEIT = "deit_tiny_patch16_224"
HIDDEN = "target.layer=blocks.6.mlp.act"


def config_of(shared: Path, overrides: Sequence[str]) -> schema.Config:
    settings = ["model=timm", f"model.name={DEIT}"]
    settings.append(f"model.checkpoint={shared / 'weights' / DEIT}.safetensors")
    return schema.parse(compose([*settings, *overrides]))


def run(shared: Path, folder: Path, *overrides: str) -> dict[int, dict[str, Any]]:
    """The metadata of each unit's directory."""
    runner.run(config_of(shared, overrides), folder)
    files = (folder / "units").glob("*/metadata.json")
    return {unit["unit"]: unit for unit in map(json.loads, (f.read_text() for f in files))}


def test_a_unit_on_gelus_flat_side_is_rescued(shared: Path, tmp_path: Path) -> None:
    units = run(
        shared, tmp_path, HIDDEN, "target.units=[5,17]", "transforms=maximal", "engine.steps=48"
    )
    assert units[5]["status"] == "ok"
    assert units[17]["status"] == "rescued"
    assert units[17]["activation"]["initial"] < 0
    assert units[17]["activation"]["final"] > 3


def test_a_unit_left_of_gelus_dip_is_not_shown_by_what_silences_it(
    shared: Path, tmp_path: Path
) -> None:
    units = run(shared, tmp_path, "target.layer=blocks.7.mlp.act", "target.units=2")
    assert units[2]["status"] == "rescued"
    assert units[2]["activation"]["final"] > 3, "the strongest of 200 photographs gives 0.87"


def test_a_unit_alone_and_in_a_batch_of_four_agree(shared: Path, tmp_path: Path) -> None:
    settings = [HIDDEN, "engine.steps=24"]
    together = run(shared, tmp_path / "4", *settings, "target.units=[5,40,100,200]")
    alone = run(shared, tmp_path / "1", *settings, "target.units=40")
    final = alone[40]["activation"]["final"]
    assert final == pytest.approx(together[40]["activation"]["final"], rel=0.02)


def test_the_same_batch_gives_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    pictures = []
    for name in ("a", "b"):
        run(shared, tmp_path / name, HIDDEN, "target.units=[5,40]", "engine.steps=8")
        pictures.append((tmp_path / name / "units/blocks.6.mlp.act-00040/image.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_a_class_is_recognised_in_its_picture(shared: Path, tmp_path: Path) -> None:
    units = run(shared, tmp_path, "target.units=555", "engine.steps=40")
    assert "fire engine" in units[555]["class"]
    picture = torch.from_numpy(read_png(tmp_path / "units/logits-00555/image.png"))[None]
    model = models.load(config_of(shared, []).model)
    with torch.no_grad():
        logits = model.module(model.preprocessing.normalise(picture))[0]
    assert logits.argmax() == 555
    assert logits[555].item() == pytest.approx(units[555]["activation"]["final"], rel=1e-3)
