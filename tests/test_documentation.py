"""What the documentation says can be done can be done: its commands, links, settings, example."""

import functools
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from fvis import cli, schema
from fvis.compose import compose
from fvis.launching import options_first
from fvis.models.sources.base import CATALOGUES
from fvis.settings import setting_names
from tests.conftest import ROOT, SMALL_CLIPS, Call

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(fvis run (?!-)[^`]*=[^`]*)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"")
# What needs a hub is composed, not run.
HUB = ("model=timm", "model=torchvision", "model=i3d_r50", "model=c3d")
SHORT = ("engine.steps=2", "engine.threads=1", "engine.device=cpu")
SHORT_MOTION = ("method.steps=2", "method.pilot_steps=1", "method.finalists=1")


def commands() -> list[tuple[str, list[str]]]:
    """Every `fvis` command of the pages' blocks, and of README's and tutorials' sentences."""
    found = []
    for page in PAGES:
        text = page.read_text()
        blocks = [line for _, _, block in BLOCK.findall(text) for line in lines_of(block)]
        told = page.name == "README.md" or page.parent.name == "tutorials"
        inline = INLINE.findall(BLOCK.sub("", text)) if told else []
        for line in (*blocks, *inline):
            words = shlex.split(line.replace("\n", " "), comments=True)
            if words[:1] == ["fvis"]:
                found.append((str(page.relative_to(ROOT)), words[1:]))
    return found


def lines_of(block: str) -> list[str]:
    return block.replace("\\\n", " ").splitlines()


def overrides_of(words: list[str]) -> list[str]:
    """A command's overrides, the first job's of a sweep; a launcher's are left out."""
    given = [word for word in options_first(words) if "=" in word and "/launcher=" not in word]
    given = [word for word in given if not word.startswith("hydra.")]
    if "-m" not in words:
        return given
    return [re.sub(r"=([^\[{,]+),.*", r"=\1", word) for word in given]


@functools.cache
def composed(overrides: tuple[str, ...]) -> schema.Config:
    return schema.parse(compose(overrides))


def config_of(words: list[str]) -> schema.Config:
    return composed(tuple(overrides_of(words)))


COMMANDS = commands()
RUN = [(page, words) for page, words in COMMANDS if words[0] in ("run", "layers")]
HERE = [(page, words) for page, words in RUN if not set(HUB) & set(words)]


def named(given: list[tuple[str, list[str]]]) -> list[str]:
    return [f"{page}: fvis {' '.join(words)}" for page, words in given]


@pytest.mark.parametrize(("page", "words"), RUN, ids=named(RUN))
def test_a_command_composes(page: str, words: list[str]) -> None:
    model = config_of(words).model
    if model.source in ("timm", "torchvision"):  # run by nobody here: they need a hub
        assert model.name in CATALOGUES[model.source]()


def test_the_other_commands_are_known() -> None:
    for page, words in COMMANDS:
        assert words[0] in cli.COMMANDS, page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name: photographs, and the networks of the tutorials."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "fvis" / "zoo" / "pictures" / "photographs", folder / "photos")
    for page in PAGES:
        for _, title, text in BLOCK.findall(page.read_text()):
            if title.endswith(".py") and "/" not in title:
                (folder / title).write_text(text)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("page", "words"), HERE, ids=named(HERE))
def test_a_command_runs(
    page: str, words: list[str], place: Path, forked_fvis: Call, tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    model, target = config_of(words).model, config_of(words).target
    for file in filter(None, (target.direction, target.dictionary)):
        if not (place / file.partition(":")[0]).is_file():
            pytest.skip(f"{page} makes {file} by the commands before this one")
    if model.source == "packages":
        request.getfixturevalue("lite")
    if model.factory and not (place / model.factory.partition(":")[0]).is_file():
        pytest.skip(f"{page} leaves {model.factory} to its reader")
    if model.factory and "width" in model.kwargs and model.input.frames:
        pytest.skip(f"{page}: this factory is of another page")
    if "execution=ray" in words:
        pytest.skip(f"{page}: this asks for Ray, or for a cluster")
    if words[0] == "layers":
        words = [word for word in words if not word.startswith("engine.")]
        ran = forked_fvis(*words, cwd=place)
    else:
        moves = isinstance(config_of(words).method, schema.TextureMotionConfig)
        motion = SHORT_MOTION if moves else ()
        small = SMALL_CLIPS if model.name == "drift_r3d" else ()
        folder = ("hydra.sweep.dir" if "-m" in words else "hydra.run.dir") + f"={tmp_path / 'out'}"
        ran = forked_fvis(*words, *SHORT, *motion, *small, folder, cwd=place)
        assert list(tmp_path.rglob("metadata.json"))
    assert ran.returncode == 0, ran.stderr


def hooks() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_link_is_dead() -> None:
    made = {(ROOT / "docs" / path).resolve() for path in hooks().pages()}
    for page in PAGES:
        for found in LINK.findall(page.read_text()):
            link = found[0] or found[1]
            if "://" not in link:
                target = (page.parent / link).resolve()
                assert target.exists() or target in made, f"{page.name}: {link}"


def test_every_setting_has_a_row_that_says_what_it_means() -> None:
    page = hooks().settings_page()
    rows = re.findall(r"^\| `([\w.]+)` \| .*? \| (.*) \|$", page, re.MULTILINE)
    said = {name: meaning for name, meaning in rows if meaning}
    for section, kind in schema.SECTIONS.items():
        names = list(setting_names(section, kind))
        for name in names:
            is_section = any(other.startswith(f"{name}.") for other in names)
            if not is_section and not name.endswith(
                (".name", "model.source", "model.kwargs", "model.factory")
            ):
                assert name in said, name


def test_a_comment_that_goes_on_is_read_to_its_end() -> None:
    text = (
        "# Speed.\ndefaults:\n  - x\nengine:\n  lr: 0.1   # the rate\n           # of steps\nn: 3\n"
    )
    intro, settings = hooks().settings_of(text)
    assert intro == "Speed."
    assert [(s.name, s.value, s.meaning) for s in settings] == [
        ("engine.lr", "0.1", "the rate of steps"),
        ("n", "3", ""),
    ]


@pytest.mark.slow
def test_the_contributors_example_runs(fvis: Call, tmp_path: Path) -> None:
    blocks = {
        title: text for _, title, text in BLOCK.findall((ROOT / "docs/contributing.md").read_text())
    }
    source, library = tmp_path / "source", tmp_path / "library"
    for name in ("lab/tint.py", "lab/configs/parametrization/tint.yaml", "pyproject.toml"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(blocks[name])
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet"]
    subprocess.run([*pip, "--no-build-isolation", "--target", library, source], check=True)
    ran = fvis(
        "run", "parametrization=tint", "target.units=0", "engine.steps=3", "hydra.run.dir=out",
        cwd=tmp_path, PYTHONPATH=f"{library}:{ROOT}",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "units" / "logits-00000" / "image.png").is_file()
