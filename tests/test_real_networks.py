"""On trained networks: what random ones cannot show."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fvis import models, photographs, runner, schema
from fvis.artifacts import read_png
from fvis.compose import compose

pytestmark = pytest.mark.slow

DEIT = "deit_tiny_patch16_224"
LITE = ("model=efficientnet_lite0",)
HIDDEN = "target.layer=blocks.6.mlp.act"


def config_of(shared: Path, overrides: Sequence[str]) -> schema.Config:
    settings = ["model=timm", f"model.name={DEIT}"]
    settings.append(f"model.checkpoint={shared / 'weights' / DEIT}.safetensors")
    return schema.parse(compose([*settings, *overrides]))


def run_lite(folder: Path, *overrides: str) -> dict[int, dict[str, Any]]:
    """The metadata of each unit's directory."""
    runner.run(schema.parse(compose([*overrides])), folder)
    return by_unit(folder)


def run(shared: Path, folder: Path, *overrides: str) -> dict[int, dict[str, Any]]:
    """The metadata of each unit's directory."""
    runner.run(config_of(shared, overrides), folder)
    return by_unit(folder)


def by_unit(folder: Path) -> dict[int, dict[str, Any]]:
    """The metadata in a run's folder, by unit."""
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
    assert units[2]["status"] in ("ok", "rescued")
    assert units[2]["activation"]["final"] > 3, "the strongest of 200 photographs gives 0.87"


def test_a_unit_alone_and_in_a_batch_of_four_agree(lite: None, tmp_path: Path) -> None:
    settings = (*LITE, "target.layer=blocks.2", "engine.steps=24")
    together = run_lite(tmp_path / "4", *settings, "target.units=[5,12,20,33]")
    alone = run_lite(tmp_path / "1", *settings, "target.units=12")
    final = alone[12]["activation"]["final"]
    assert final == pytest.approx(together[12]["activation"]["final"], rel=0.02)


def test_the_same_batch_gives_the_same_bytes(lite: None, tmp_path: Path) -> None:
    pictures = []
    for name in ("a", "b"):
        settings = ("target.layer=blocks.2", "target.units=[5,33]", "engine.steps=8")
        run_lite(tmp_path / name, *LITE, *settings)
        pictures.append((tmp_path / name / "units/blocks.2-00033/image.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_a_class_is_recognised_in_its_picture(lite: None, tmp_path: Path) -> None:
    units = run_lite(tmp_path, *LITE, "target.units=cheeseburger", "engine.steps=40")
    assert "cheeseburger" in units[933]["class"]
    picture = torch.from_numpy(read_png(tmp_path / "units/logits-00933/image.png"))[None]
    model = models.load(schema.parse(compose([*LITE])).model)
    with torch.no_grad():
        logits = model.module(model.preprocessing.normalise(picture))[0]
    assert logits.argmax() == 933
    assert logits[933].item() == pytest.approx(units[933]["activation"]["final"], rel=1e-3)


def test_photographs_are_classified(lite: None) -> None:
    """The weights are in place: the network tells what the embedded photographs show."""
    model = models.load(schema.parse(compose([*LITE])).model)
    files = [photographs.EXAMPLES / "photographs" / f"{name}.jpg" for name in ("cat", "coffee")]
    rgb = photographs.batch(files, model.preprocessing)
    with torch.no_grad():
        top = model.module(model.preprocessing.normalise(rgb)).topk(5).indices.tolist()
    cat, coffee = ({model.class_name(index) for index in row} for row in top)
    assert any("cat" in str(name) for name in cat)
    assert any(str(name) in ("espresso", "cup", "coffee mug") for name in coffee)


def test_a_photograph_is_accentuated_and_stays_nearer_to_itself_than_to_another(
    shared: Path, tmp_path: Path
) -> None:
    units = run(
        shared,
        tmp_path / "run",
        "method=accentuation",
        "target.layer=blocks.8.mlp.act",
        "target.units=[3,17]",
        "method.strongest=1",
        "engine.steps=32",
        "engine.lr=0.15",
        f"grounding.images={shared / 'images'}",
        f"grounding.cache={tmp_path / 'cache'}",
    )
    for unit in units.values():
        assert unit["times"] > 3
        assert unit["distance"]["picture"] < unit["distance"]["photographs"]
