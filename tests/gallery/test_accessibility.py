"""Axe finds nothing wrong with the page, a unit's, a comparison and a page in one file."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from fvis.gallery.page import write_index, write_single

from .conftest import Browser
from .fake_runs import attack_unit, clip_unit, image_unit, write_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run of images beside the patches of photographs, one of clips and one of attacks."""
    base = tmp_path_factory.mktemp("accessibility")
    strongest = [{"file": f"{i}.jpg", "activation": 3.0 - i, "box": [0, 0, 8, 8]} for i in range(3)]
    grounded = {
        "grounding": {"photographs": 9, "below": 1.0, "strongest": strongest},
        "files": ["image.png", "natural.png"],
    }
    return [
        write_run(base / "images", [image_unit(i) | grounded for i in range(4)]),
        write_run(base / "motion", [clip_unit(i) for i in range(4)]),
        write_run(base / "attacks", [attack_unit(i) for i in range(4)]),
    ]


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest, browser: Browser) -> str:
    browser.prefer(request.param)
    return str(request.param)


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def reader(request: pytest.FixtureRequest, scheme: str, browser: Browser) -> Browser:
    """A browser of each size, light and dark."""
    browser.size(*request.param)
    return browser


@pytest.mark.parametrize("write", [write_index, write_single])
def test_the_page(
    write: Callable[[list[Path], Path], Path], runs: list[Path], reader: Browser
) -> None:
    page = write(runs, runs[0].parent / f"{write.__name__}.html")
    reader.open(page)
    assert reader.violations() == []
    reader.open(page, "#unit=nothing")
    reader.js("document.querySelector('.card .pin').click()")
    assert reader.js("!document.getElementById('astray').hidden")
    assert reader.violations() == []


@pytest.mark.parametrize(("colours", "size"), [("light", (1280, 900)), ("dark", (390, 844))])
def test_units_and_a_comparison(
    colours: str, size: tuple[int, int], runs: list[Path], browser: Browser
) -> None:
    browser.prefer(colours)
    browser.size(*size)
    page = write_index(runs, runs[0].parent / "index.html")
    browser.open(page)
    units = browser.js("entries.map(entry => entry.id)")
    for run in runs:
        unit = next(unit for unit in units if unit.startswith(run.name))
        browser.open(page, "#unit=" + quote(unit, safe=""))
        browser.wait("document.querySelector('#unit figure img').naturalWidth")
        assert browser.violations() == []
    browser.open(page)
    browser.js("document.querySelectorAll('.card .pin').forEach(button => button.click())")
    browser.js("document.getElementById('compare').click()")
    browser.wait("document.querySelectorAll('#unit .compared section').length == entries.length")
    assert browser.violations() == []
