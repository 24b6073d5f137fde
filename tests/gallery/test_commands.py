"""The command that a unit's page shows is the run's own, for that unit alone."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fvis.gallery.commands import command
from fvis.origin import Origin, read_origin
from fvis.record.attack import AdversarialRecord
from fvis.record.unit import UnitRecord

from ..conftest import Call
from .fake_runs import read_units, write_overrides

PARSER = OverridesParser.create()


def words_of(line: str) -> dict[str, Any]:
    """What Hydra reads in a shell's line, by setting."""
    program, run, *overrides = shlex.split(line)
    assert (program, run) == ("fvis", "run")
    parsed = PARSER.parse_overrides(overrides)
    assert len({one.key_or_group for one in parsed}) == len(parsed)
    return {str(one.key_or_group): one.value() for one in parsed}


@pytest.mark.parametrize("key", ["target.units", "+target.units", "++target.units"])
def test_the_units_asked_for_give_way_to_the_one(key: str) -> None:
    origin = Origin(("model=timm", f"{key}=[1,5]", "engine.seed=3", "+model.kwargs.a='x y'"))
    line = command(origin, {"target": {}}, UnitRecord(unit=17))
    said = words_of(line)
    assert said["target.units"] == 17
    assert (said["model"], said["engine.seed"]) == ("timm", 3)
    assert str(said["model.kwargs.a"]) == "x y"


def test_of_several_layers_the_one_is_named() -> None:
    origin = Origin(("model=timm", "target.layer=blocks.*", "target.units={blocks.0: all}"))
    config = {"target": {"layer": "blocks.*"}}
    said = words_of(command(origin, config, UnitRecord(layer="blocks.0", unit=17)))
    assert (said["target.layer"], said["target.units"]) == ("blocks.0", 17)
    alone = {"target": {"layer": "blocks.0"}}
    line = command(Origin(("experiment=mine",)), alone, UnitRecord(layer="blocks.0", unit=17))
    assert line == "fvis run experiment=mine target.units=17"


@pytest.mark.parametrize(
    ("config", "unit"),
    [
        ({"target": {"direction": "a.npy"}}, "direction-a-1"),
        ({"target": {"joint": [{"unit": 3}]}}, "joint"),
        ({}, None),
    ],
)
def test_what_no_unit_index_names_keeps_the_words_it_had(
    config: dict[str, Any], unit: int | str | None
) -> None:
    assert command(Origin(("target.direction=a.npy",)), config, UnitRecord(unit=unit)) == (
        "fvis run target.direction=a.npy"
    )


@pytest.mark.parametrize(
    "source",
    ["/a/b.png", 'it\'s, [a] = "b" #1.png', "back\\slash\\'s.png", "ends\\", "猫 100%.png"],
)
def test_an_attack_is_made_again_from_its_picture_for_its_target(source: str) -> None:
    origin = Origin(("method=adversarial", "method.images=[x.png,y.png]", "method.target=random"))
    unit = AdversarialRecord(unit=4, target=4, source=source)
    said = words_of(command(origin, {}, unit))
    value = said["method.images"]
    assert getattr(value, "text", value) == source
    assert said["method.target"] == 4
    assert "target.units" not in said


def test_a_clip_is_attacked_again_from_its_video_and_away_from_any_class() -> None:
    origin = Origin(("method=adversarial", "method.clips=videos", "method.target=[3,any]"))
    unit = AdversarialRecord(unit="any", target="any", source="a.mp4", start=8)
    assert words_of(command(origin, {}, unit)) == {
        "method": "adversarial",
        "method.clips": "a.mp4",
        "method.target": "any",
    }


def test_the_words_are_read_as_hydra_left_them(tmp_path: Path) -> None:
    hydra = """
hydra:
  job: {name: '${hydra.job.override_dirname}'}
  runtime:
    cwd: /home/me
    config_sources:
    - {path: hydra.conf, schema: pkg, provider: hydra}
    - {path: '/my configs', schema: file, provider: command-line}
"""
    words = ["model.kwargs.x=${model.name}", "hydra.run.dir=/tmp/x", "experiment=<b>"]
    write_overrides(tmp_path, words, hydra)
    assert read_origin(tmp_path) == Origin(
        ("--config-dir", "/my configs", "model.kwargs.x=${model.name}", "experiment=<b>"),
        "/home/me",
    )


def test_a_run_made_without_a_command_line_has_no_command(tmp_path: Path) -> None:
    assert read_origin(tmp_path) is None
    write_overrides(tmp_path, ["a=b"])
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- [not: closed")
    assert read_origin(tmp_path) is None


def test_a_run_of_defaults_has_a_command(tmp_path: Path) -> None:
    write_overrides(tmp_path, [])
    (tmp_path / ".hydra" / "overrides.yaml").write_text("[]\n")
    origin = read_origin(tmp_path)
    assert origin is not None
    assert command(origin, {"target": {}}, UnitRecord(unit=3)) == "fvis run target.units=3"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "picture"),
    [
        (("target.units=2:4",), "image.png"),
        (("experiment=glyph_cnn_adversarial", "method.target=7"), "adversarial.png"),
    ],
)
def test_the_command_makes_the_same_picture(
    forked_fvis: Call, tmp_path: Path, words: tuple[str, ...], picture: str
) -> None:
    alone = "engine.batch_size=1"  # a batch of two differs in the last bit
    asked = ("run", *words, alone, "engine.steps=6", "engine.seed=5", "hydra.run.dir=first run")
    assert forked_fvis(*asked, cwd=tmp_path).returncode == 0
    unit = read_units(tmp_path / "first run", tmp_path)[1]
    line = shlex.split(unit["command"])
    again = forked_fvis(*line[1:], "hydra.run.dir=again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    (made,) = (tmp_path / "again" / "units").glob(f"*/{picture}")
    first = tmp_path / "first run" / "units" / unit["name"] / picture
    assert made.read_bytes() == first.read_bytes()


def test_a_command_asks_for_no_execution(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    words = ["execution=ray", "execution.workers=2", "engine.steps=4", "hydra.run.dir=out"]
    (tmp_path / ".hydra" / "overrides.yaml").write_text("".join(f"- {word}\n" for word in words))
    assert read_origin(tmp_path) == Origin(("engine.steps=4",))
