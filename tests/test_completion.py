"""Tab completion, as a real bash asks for it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, QUIET, ROOT, TIMEOUT, Call

pytestmark = pytest.mark.slow

# What bash does at a tab: it sets COMP_* and calls the function that `complete` registered.
SESSION = """
eval "$(fvis run -sc install=bash)"
function=$(complete -p fvis | sed 's/.*-F \\([a-z_]*\\).*/\\1/')
while IFS= read -r COMP_LINE; do
    COMP_POINT=${#COMP_LINE}
    COMP_WORDS=($COMP_LINE)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    [[ $COMP_LINE == *" " ]] && COMP_CWORD=$((COMP_CWORD + 1))
    COMPREPLY=()
    $function
    echo "${COMPREPLY[*]}"
done
"""
LINES = (
    "fvis ",
    "fvis r",
    "fvis layers mod",
    "fvis run transforms=",
    "fvis run -m parametrization=p",
    "fvis run engine.",
    "fvis run engine.steps=3 target.la",
    "fvis run model=gl",
    "fvis run experiment=",
    "fvis layers model=t",
    "fvis models r3d",
    "fvis run model=timm model.name=resnet1",
    "fvis layers model=torchvision model.name=r3",
    "fvis run model=glyph_cnn target.layer=lo",
    "fvis run model=nosuch target.layer=lo",
)


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What bash offers for each of LINES."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", SESSION],
        input="".join(f"{line}\n" for line in LINES),
        env={**os.environ, **QUIET, "PATH": path},
        cwd=tmp_path_factory.mktemp("completion"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert ran.stderr == ""
    replies = ran.stdout.splitlines()
    assert len(replies) == len(LINES)
    return {line: set(reply.split()) for line, reply in zip(LINES, replies, strict=True)}


def choices(group: str) -> set[str]:
    """A group's choices; of experiments those in folders, too."""
    folder = Path(ROOT) / "configs" / group
    pattern = "**/*.yaml" if group == "experiment" else "*.yaml"
    return {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob(pattern)}


def test_commands_complete(completed: dict[str, set[str]]) -> None:
    assert completed["fvis r"] >= {"run", "report"}
    assert completed["fvis "] >= {"run", "layers", "models", "report"}
    assert all(word.startswith("r") for word in completed["fvis r"])


def test_a_command_completes(completed: dict[str, set[str]]) -> None:
    assert completed["fvis r"] == {"run", "resume", "report"}


@pytest.mark.parametrize(
    ("line", "group", "begins"),
    [
        ("fvis run transforms=", "transforms", ""),
        ("fvis run -m parametrization=p", "parametrization", "p"),
        ("fvis run model=gl", "model", "gl"),
        ("fvis run experiment=", "experiment", ""),
        ("fvis layers model=t", "model", "t"),
    ],
)
def test_a_groups_choices_complete(
    completed: dict[str, set[str]], line: str, group: str, begins: str
) -> None:
    names = {name for name in choices(group) if name.startswith(begins)}
    assert names
    assert completed[line] == {f"{group}={name}" for name in names}


def test_a_sections_settings_complete(completed: dict[str, set[str]]) -> None:
    offered = completed["fvis run engine."]
    assert offered >= {f"engine.{name}=" for name in ("device", "seed", "steps", "lr")}
    assert all(word.startswith("engine.") for word in offered)


def test_a_setting_completes_behind_others(completed: dict[str, set[str]]) -> None:
    assert completed["fvis run engine.steps=3 target.la"] == {"target.layer="}


def test_groups_and_sections_complete_from_their_first_letters(
    completed: dict[str, set[str]],
) -> None:
    assert completed["fvis layers mod"] & {"model=", "model."}
    assert all(word.startswith("model") for word in completed["fvis layers mod"])


def test_a_command_without_settings_offers_none(completed: dict[str, set[str]]) -> None:
    assert completed["fvis models r3d"] == set()


def test_models_complete_by_their_source(completed: dict[str, set[str]]) -> None:
    offered = completed["fvis run model=timm model.name=resnet1"]
    assert {"model.name=resnet18", "model.name=resnet101"} <= offered
    assert all(word.startswith("model.name=resnet1") for word in offered)
    assert completed["fvis layers model=torchvision model.name=r3"] == {"model.name=r3d_18"}


def test_layers_complete_once_the_model_is_named(completed: dict[str, set[str]]) -> None:
    assert completed["fvis run model=glyph_cnn target.layer=lo"] == {"target.layer=logits"}
    assert completed["fvis run model=nosuch target.layer=lo"] == set()


ZSH = """
compdef() { :; }
compadd() { print -l -- $found; }
eval "$(fvis run -sc install=zsh)"
words=(fvis run experiment=demo/); CURRENT=3; _fvis
words=(fvis re); CURRENT=2; _fvis
"""
FISH = """
fvis run -sc install=fish | source
complete -C 'fvis run experiment=demo/'
complete -C 'fvis re'
"""


@pytest.mark.parametrize(
    ("shell", "words", "session"), [("zsh", ["-fc"], ZSH), ("fish", ["--no-config", "-c"], FISH)]
)
def test_other_shells_ask_in_their_own_way(
    shell: str, words: list[str], session: str, tmp_path: Path
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [shell, *words, session],
        env={**os.environ, **QUIET, "PATH": path, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    demos = {f"experiment={name}" for name in choices("experiment") if name.startswith("demo/")}
    assert set(ran.stdout.split()) == demos | {"resume", "report"}, ran.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_each_offer_has_a_line_of_its_own(shell: str, fvis: Call) -> None:
    ran = fvis("-sc", f"query={shell}", COMP_LINE="fvis run transforms=")
    assert ran.stdout.split("\n") == [
        *(f"transforms={name}" for name in ("maximal", "natural", "none", "photograph")), "",
    ]  # fmt: skip
