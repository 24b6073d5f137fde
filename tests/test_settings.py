"""Sections are refused by their own name, and no secret of the environment is recorded."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fvis import schema
from fvis.compose import compose
from fvis.errors import RequestError
from fvis.schema import EngineConfig, TargetConfig, unknown_setting
from fvis.settings import section
from tests.conftest import Call

SECRET = "s3cret"
READINGS = (
    "model.classes=[${oc.env:SECRET}]",
    "model.classes=[a${oc.env:SECRET,default}]",
    "model.classes='[\"${oc.${oc.decode:env}:SECRET}\"]'",
    "target.layer='${oc.decode:${oc.env:SECRET}}'",
    "+model.kwargs.width=${oc.env:SECRET}",
)


@pytest.mark.parametrize("setting", READINGS)
def test_an_environment_variable_is_refused_in_one_line(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    with pytest.raises(RequestError, match="the environment variable SECRET would be") as caught:
        schema.parse(compose([setting]))
    said = str(caught.value)
    assert said.startswith(setting.partition("=")[0].lstrip("+"))
    assert "\n" not in said and SECRET not in said and "raised while" not in said


def test_a_variable_of_fvis_is_read_and_oc_env_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FVIS_WEIGHTS", "/weights")
    monkeypatch.setenv("SECRET", SECRET)
    config = schema.parse(compose(["model.checkpoint=${oc.env:FVIS_WEIGHTS}/w.pth"]))
    assert config.model.checkpoint == "/weights/w.pth"
    config = schema.parse(compose(["model.checkpoint=${oc.env:FVIS_NONE,none.pth}"]))
    assert config.model.checkpoint == "none.pth"
    with pytest.raises(RequestError, match="environment variable FVIS_NONE is not set"):
        schema.parse(compose(["model.checkpoint=${oc.env:FVIS_NONE}/w.pth"]))
    assert OmegaConf.create({"own": "${oc.env:SECRET}"}).own == SECRET


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_no_file_holds_the_variable(
    forked_fvis: Call, tmp_path: Path, sweep: tuple[str, ...]
) -> None:
    experiment = tmp_path / "configs" / "experiment" / "curious.yaml"
    experiment.parent.mkdir(parents=True)
    text = "# @package _global_\nmodel: {classes: ['${oc.env:SECRET}']}\n"
    experiment.write_text(text, encoding="utf-8")
    words = ("--config-dir", "configs", "experiment=curious", *sweep, "engine.steps=1")
    folders = ("hydra.run.dir=out", "hydra.sweep.dir=out")
    ran = forked_fvis("run", *words, *folders, cwd=tmp_path, SECRET=SECRET)
    assert ran.returncode == 2
    said = [line for line in ran.stderr.splitlines() if "error" in line]
    assert "the environment variable SECRET" in said[0]
    assert said[1:] == (["fvis: error: jobs that failed: 0"] if sweep else [])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [5, [1, 2], "text", None])
def test_a_section_that_is_no_mapping(given: object) -> None:
    with pytest.raises(RequestError, match=r"^target is .*; it takes settings"):
        section(given, "target", TargetConfig)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("evidence.strangers=zoo/x", "evidence.strangers is 'zoo/x'; it takes a list, as [zoo/x]"),
        ("model.input.mean=0.5", "model.input.mean is 0.5; it takes a list, as [0.5]"),
    ],
)
def test_a_single_value_for_a_list_is_told_how_to_be_one(setting: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        schema.parse(compose([setting]))
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("engine.stps", "nearest: engine.steps"),
        ("parametrization.coarsest", "a setting of parametrization=pyramid alone"),
        ("engine.steps", "no section engine"),
    ],
)
def test_a_setting_that_the_config_lacks_is_not_suggested_for_itself(name: str, says: str) -> None:
    assert says in str(unknown_setting(name))


def test_a_wrong_value_is_told_from_a_wrong_name_whatever_it_says() -> None:
    with pytest.raises(RequestError) as caught:
        section({"steps": "not in range"}, "engine", EngineConfig)
    assert "engine.steps: " in str(caught.value) and "nearest" not in str(caught.value)


def test_a_whole_number_that_no_float_holds_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^engine: int too large"):
        section({"lr": 10**400}, "engine", EngineConfig)
