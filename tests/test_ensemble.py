"""A picture that networks share excites each of them, and says so; the first alone does not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fvis import models, runner, schema
from fvis.artifacts import read_png
from fvis.compose import compose
from fvis.errors import RequestError
from tests.test_resume import tree

SETTINGS = ("engine.device=cpu", "engine.steps=24", "target.units=[2,9]", "engine.batch_size=2")
SHARED = "target.ensemble=[zoo/glyph_vit]"


def config_of(*settings: str) -> schema.Config:
    return schema.parse(compose([*SETTINGS, *settings]))


def metadata(folder: Path) -> dict[str, Any]:
    files = folder.glob("units/*/metadata.json")
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of glyph_cnn alone, and one together with glyph_vit."""
    base = tmp_path_factory.mktemp("runs")
    alone = runner.run(config_of(), base / "alone")
    return alone, runner.run(config_of(SHARED), base / "shared")


def test_the_other_network_sees_more_of_the_class_in_a_shared_picture(
    runs: tuple[Path, Path],
) -> None:
    vit = models.load(schema.parse(compose(["model=glyph_vit"])).model)
    logits = []
    for folder in runs:
        units = sorted(folder.glob("units/*/image.png"))
        rgb = torch.stack([torch.from_numpy(read_png(file)) for file in units])
        with torch.no_grad():
            logits.append(vit.module(vit.preprocessing.normalise(rgb))[[0, 1], [2, 9]])
    gain = logits[1] - logits[0]
    assert (gain > 0).all() and gain.mean() > 1


def test_the_record_says_which_networks_share_the_picture_and_what_they_give(
    runs: tuple[Path, Path],
) -> None:
    alone, shared = map(metadata, runs)
    assert all("ensemble" not in unit for unit in alone.values())
    vit = models.load(schema.parse(compose(["model=glyph_vit"])).model)
    for name, unit in shared.items():
        rgb = torch.from_numpy(read_png(runs[1] / "units" / name / "image.png"))[None]
        with torch.no_grad():
            logit = vit.module(vit.preprocessing.normalise(rgb))[0, unit["unit"]].item()
        assert unit["ensemble"] == {"glyph_vit": pytest.approx(logit, rel=1e-4)}
        assert unit["activation"]["final"] > unit["activation"]["initial"]


def test_the_same_seed_gives_the_same_shared_picture(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    again = runner.run(config_of(SHARED), tmp_path / "again")
    pictures = [
        {name: content for name, content in tree(folder).items() if name.endswith(".png")}
        for folder in (runs[1], again)
    ]
    assert pictures[0] and pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("target.layer=layer2",), "target.layer=logits"),
        (("engine.canvas=24",), "engine.canvas=full"),
        (("target.ensemble=[glyph_vit]",), "source/name"),
        (("method=texture_motion", "model=drift_r3d"), "activation_maximization"),
        (("target.ensemble=[zoo/drift_r3d]",), "clips"),
        (
            (
                "model=timm",
                "model.name=resnet18",
                "model.pretrained=false",
                "target.ensemble=[{source: timm, name: resnet10t, pretrained: false, "
                "kwargs: {num_classes: 7}}]",
            ),
            "same classes",
        ),
    ],
)
def test_what_cannot_share_a_picture_is_refused(
    settings: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=words):
        runner.run(config_of(SHARED, *settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()
