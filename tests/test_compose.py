"""What Hydra cannot compose or launch is refused in one line, with status 2, and leaves nothing."""

import shlex
from pathlib import Path

import pytest

from fvis.compose import compose
from fvis.errors import RequestError
from fvis.schema import AdversarialConfig, StatisticsConfig, parse
from tests.conftest import Call

HEAD = "# @package _global_\n"
TEXTS = {
    "syntax": "engine: [1, 2\n",
    "merge": "engine: {<<: 3}\n",
    "code": "engine: !!python/name:os.system\n",
    "defaults are no list": "defaults: 3\n",
    "defaults hold null": "defaults: [null]\n",
    "defaults include themselves": "defaults: [x]\n",
    "an unknown choice": "defaults: [{/model: nosuch}]\n",
    "an interpolation of nothing": "engine: {seed: '${nosuch}'}\n",
    "a surrogate": 'engine: {precision: "\\ud800"}\n',
}


def assert_refused(fvis: Call, tmp_path: Path, *words: str) -> str:
    ran = fvis("run", "hydra.run.dir=out", *words, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("fvis: error: ") and ran.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    return ran.stderr


@pytest.mark.parametrize("what", TEXTS)
def test_a_broken_experiment(forked_fvis: Call, tmp_path: Path, what: str) -> None:
    file = tmp_path / "mine" / "experiment" / "x.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(HEAD + TEXTS[what], encoding="utf-8")
    line = assert_refused(forked_fvis, tmp_path, "--config-dir", "mine", "experiment=x")
    assert "search path" not in line


@pytest.mark.parametrize(
    "words",
    [
        ("hydra.searchpath=[nosuch]",),
        ("hydra.callbacks.x._target_=nosuch.Class",),
        ("-sc", "install=nosuch"),
    ],
)
def test_what_hydra_warns_of_or_does_not_know(
    forked_fvis: Call, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert_refused(forked_fvis, tmp_path, *words)


def test_a_setting_of_another_choice_is_told_as_such(forked_fvis: Call, tmp_path: Path) -> None:
    line = assert_refused(forked_fvis, tmp_path, "parametrization.coarsest=3")
    assert "parametrization.coarsest is a setting of parametrization=pyramid alone" in line


def test_a_bad_job_of_a_sweep_is_told_once(forked_fvis: Call, tmp_path: Path) -> None:
    words = ("-m", "target.units=98,99", "hydra.sweep.dir=out")
    ran = forked_fvis("run", *words, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.count("fvis: error: ") == 3
    assert ran.stderr.splitlines()[-1] == "fvis: error: jobs that failed: 0, 1"
    assert "Error executing job" not in ran.stderr


def test_a_list_in_the_place_of_an_experiments_mapping_says_what_to_write() -> None:
    with pytest.raises(RequestError) as refused:
        compose(["experiment=demo/glyph_cnn", "target.units=[0]"])
    message = str(refused.value)
    assert message.startswith("target.units=[0]: a list and a mapping do not mix")
    words = shlex.split(message.partition("write ")[2])
    assert compose(["experiment=demo/glyph_cnn", *words]).target.units == [0]


def test_a_value_that_hydra_cannot_read_is_shown_as_it_is_written() -> None:
    pattern = "blocks.[12]"
    with pytest.raises(RequestError) as refused:
        compose([f"target.layer={pattern}"])
    told, _, written = str(refused.value).rpartition(": ")
    assert told.startswith(f"target.layer={pattern}: Hydra cannot read this value")
    assert compose(shlex.split(written)).target.layer == pattern


def test_a_folder_whose_name_is_a_number_is_a_folder() -> None:
    words = ["grounding.images=0", "grounding.clips=7", "prior=statistics", "prior.images=2.5"]
    config = parse(compose(words))
    assert (config.grounding.images, config.grounding.clips) == ("0", "7")
    assert config.prior == StatisticsConfig(images="2.5")
    attack = parse(compose(["method=adversarial", "method.images=0"])).method
    assert isinstance(attack, AdversarialConfig)
    assert attack.images == "0"
