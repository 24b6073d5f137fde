"""A run that a quiz can be made of, and the browser that plays it."""

import shutil
from pathlib import Path

import pytest

from tests.evidence.glyph_runs import ALL, draw, run
from tests.gallery.conftest import _chromium, browser

__all__ = ["_chromium", "browser"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two units beside 36 glyphs, each with four tasks; not to be changed."""
    base = tmp_path_factory.mktemp("quiz")
    run(base / "run", draw(base / "glyphs", 36), "target.units=[3,7]", *ALL)
    return base / "run"


@pytest.fixture
def judged(made: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run"))
