"""YAML that would take all memory is found before it is loaded."""

import os
from pathlib import Path

import pytest

from fvis.origin import read_origin
from fvis.yaml_files import LARGEST, UnsafeYamlError, check
from tests.conftest import Call

REFUSED = {
    "bomb": "alias", "large": "larger", "deep": "deep", "wide": "values", "flat": "values",
    "pipe": "regular",
}  # fmt: skip
BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)


@pytest.mark.parametrize(
    "text",
    ["a: 1\n", "base: &b {x: 1}\nother: *b\nthird: *b\n", "a: [1, 2", "\tx", "", "- &a 1\n- *a\n"],
)
def test_plain_yaml_passes_broken_or_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert check(tmp_path / "a.yaml") is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("text", ["5", "a word", "--- 'text'\n"])
def test_a_single_value_is_no_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UnsafeYamlError, match="holds a single value"):
        check(tmp_path / "a.yaml")


def test_what_stands_for_too_much_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMB)
    (tmp_path / "large.yaml").write_text("x" * (LARGEST + 1))
    (tmp_path / "deep.yaml").write_text("[" * 60 + "]" * 60)
    (tmp_path / "wide.yaml").write_text("a: 1\n" * 6000)
    (tmp_path / "flat.yaml").write_text(f"- &a [{'x,' * 300}]\n" + "- *a\n" * 100)
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, word in REFUSED.items():
        with pytest.raises(UnsafeYamlError, match=word):
            check(tmp_path / f"{name}.yaml")


def test_a_planted_bomb_costs_the_command_alone(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text(BOMB)
    assert read_origin(tmp_path) is None


@pytest.mark.parametrize("command", ["run", "layers"])
def test_a_folder_of_configs_is_looked_at_first(
    forked_fvis: Call, tmp_path: Path, command: str
) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "bomb.yaml").write_text(BOMB)
    for folder, word in (("mine", "alias inside"), ("absent", "no folder 'absent'")):
        ran = forked_fvis(command, "--config-dir", folder, "target.units=1", cwd=tmp_path)
        assert ran.returncode == 2
        assert word in ran.stderr and ran.stderr.count("\n") == 1
