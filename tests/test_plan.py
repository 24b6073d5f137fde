"""A run of several layers: each as it would be alone, shallow layers first."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fvis
from fvis import runner, schema
from fvis.compose import compose
from fvis.errors import RequestError

BRIEF = ("engine.device=cpu", "engine.steps=2", "engine.batch_size=2")


def run(folder: Path, *words: str) -> dict[str, Any]:
    """Run, and return run.json."""
    runner.run(schema.parse(compose([*BRIEF, *words])), folder)
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return content


def units(folder: Path) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Each unit's picture, and its metadata without what is the run's or the clock's."""
    return {
        place.name: ((place / "image.png").read_bytes(), _own(place / "metadata.json"))
        for place in (folder / "units").iterdir()
    }


def _own(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    return {k: v for k, v in content.items() if k not in ("seconds", "config_sha256")}


def test_each_layer_is_as_in_a_run_of_its_own(tmp_path: Path) -> None:
    grounded = ("grounding.images=zoo:glyphs", f"grounding.cache={tmp_path / 'cache'}")
    together = run(
        tmp_path / "both", "target.layer=[logits,layer1.0]", "target.units=random:3", *grounded
    )
    expected = {}
    for layer in ("layer1.0", "logits"):
        alone = tmp_path / layer
        run(alone, f"target.layer={layer}", "target.units=random:3", *grounded)
        expected |= units(alone)
    assert units(tmp_path / "both") == expected
    layers = [name.rpartition("-")[0] for name in together["jobs"]]
    assert layers == ["layer1.0"] * 3 + ["logits"] * 3
    assert together["batches"] == [2, 1, 2, 1]  # no batch has units of two layers


def test_units_per_layer_and_classes_by_name(tmp_path: Path) -> None:
    record = run(
        tmp_path / "out",
        "target.layer=[layer1,logits]",
        "target.units={layer1: 5:7, logits: ['striped disc', 3]}",
    )
    assert record["jobs"] == ["layer1-00005", "layer1-00006", "logits-00001", "logits-00003"]


def test_layers_of_a_pattern_that_cannot_be_shown_are_left_out(tmp_path: Path) -> None:
    record = run(tmp_path / "out", "target.layer=[layer1,'f*']", "target.units=20")
    assert record["jobs"] == ["layer1-00020"]
    assert "units 0 to 11" in record["refused"]["fc"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("target.layer=[layer1,fc]", "target.units=20"), "units 0 to 11"),
        (("target.layer=f*", "target.units=20"), "no layer is left: target.units has 20"),
        (("target.layer=nothing*",), "no layer 'nothing*'"),
        (("target.layer=[layer1,layr2]",), "nearest: layer2"),
        (
            ("target.layer=layer?", "target.direction=v.npy"),
            "target.direction takes a single layer",
        ),
        (("target.layer=layer?", "target.joint=[{unit: 3}]"), "target.joint takes a single layer"),
        (
            ("target.layer=layer?", "method=adversarial", "method.images=zoo:glyphs"),
            "method=adversarial takes a single layer",
        ),
        (("target.layer=[]",), "target.layer is []"),
        (("target.layer=[[layer1]]",), "it takes a path"),
        (("target.layer=null",), "target.layer is None"),
        (("target.units={layer1: 3}",), "no selected layer 'layer1'"),
        (("target.units=squared",), "a class's name"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    np.save(tmp_path / "v.npy", np.ones(12))
    with pytest.raises(RequestError, match=re.escape(said)) as raised:
        run(tmp_path / "out", *words)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_layers_path_may_look_like_a_number() -> None:
    several = schema.parse(compose(["target.layer=[3,4]", "target.units={3: all}"])).target
    assert (several.layer, several.units) == (["3", "4"], {"3": "all"})
    assert schema.parse(compose(["target.layer=3"])).target.layer == "3"


def test_several_layers_in_a_notebook() -> None:
    engine = {"steps": 2, "device": "cpu"}
    found = fvis.visualize("zoo/glyph_cnn", ["layer2", "layer1"], {"layer?": [3]}, engine=engine)
    assert [unit.name for unit in found] == ["layer1-00003", "layer2-00003"]
    (alone,) = fvis.visualize("zoo/glyph_cnn", "layer2", [3], engine=engine)
    assert alone.read("image.png") == found[1].read("image.png")
