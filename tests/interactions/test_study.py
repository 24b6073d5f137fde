"""A network of known combinations is read as it was built, from its pictures alone."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from fvis.artifacts import to_bytes
from fvis.errors import RequestError
from fvis.gallery.page import INTERACTIONS
from fvis.interactions import files
from fvis.interactions.study import Study, carry_out
from tests.gallery.conftest import Browser
from tests.interactions import planted
from tests.methods.test_adversarial import config_of

NETWORK = [
    "model=factory",
    f"model.factory={planted.__file__}:build",
    f"model.input.height={planted.SIDE}",
    f"model.input.width={planted.SIDE}",
    "target.layer=units",
    "target.channel_dim=1",
    "target.position=center",
    "engine.device=cpu",
    "engine.steps=40",
    "grounding.patches=1",
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    generator = torch.Generator().manual_seed(0)
    for number in range(12):
        coarse = torch.rand(1, 3, 16, 16, generator=generator)
        rgb = functional.interpolate(coarse, (planted.SIDE, planted.SIDE), mode="bicubic")[0]
        Image.fromarray(to_bytes(rgb)).save(folder / f"{number}.png")
    return folder


def asked(photographs: Path, *overrides: str) -> list[str]:
    cache = photographs.parent / "cache"
    images = [f"grounding.images={photographs}", f"grounding.cache={cache}"]
    return [*NETWORK, *images, *overrides]


@pytest.fixture(scope="module")
def made(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    folder = tmp_path_factory.mktemp("study")
    study = carry_out(config_of(*asked(photographs, "target.units=[0,1,2,3,4,5,6]")), folder)
    files.write(study, folder)
    return study, folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "kind", "inhibitor"),
    [
        (planted.GREEN, "none", None),
        (planted.AND, "and", None),
        (planted.OR, "or", None),
        (planted.SUM, "sum", None),
        (planted.INHIBITED, "inhibition", planted.BLUE),
    ],
)
def test_what_was_planted_is_named(
    made: tuple[Study, Path], unit: int, kind: str, inhibitor: int | None
) -> None:
    study, _ = made
    (found,) = (
        one
        for one in study.found
        if (one.first, one.second, one.unit) == (planted.RED, planted.BLUE, unit)
    )
    assert (found.kind, found.inhibitor) == (kind, inhibitor)


@pytest.mark.slow
def test_optima_of_independent_units_leave_one_another_alone(made: tuple[Study, Path]) -> None:
    study, _ = made
    patterns = study.alone[:3, :3]
    assert (patterns.diag() > 8).all()
    assert (patterns - patterns.diag().diag()).abs().max() < 2
    assert study.alone[planted.INHIBITED, planted.BLUE] < 1


def test_of_two_units_the_table_of_interactions_has_its_header_alone(
    photographs: Path, tmp_path: Path
) -> None:
    brief = asked(photographs, "target.units=[0,1]", "engine.steps=2")
    files.write(carry_out(config_of(*brief), tmp_path), tmp_path)
    (header,) = (tmp_path / files.PAIRS).read_text().splitlines()
    assert header.split(",") == list(files.COLUMNS)


@pytest.mark.slow
def test_the_files_hold_what_was_measured(made: tuple[Study, Path]) -> None:
    study, folder = made
    with (folder / files.PAIRS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21 * 5, "each pair, and each unit that is not of it"
    assert [float(row["synergy"]) for row in rows] == [one.synergy for one in study.found]
    content = json.loads((folder / files.METADATA).read_text())
    assert content["responses"] == study.alone.tolist()
    assert content["units"] == list(range(7))
    with (folder / files.RESPONSES).open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 49
    page = (folder / INTERACTIONS).read_text()
    assert all(f"<td>{word}" in page for word in ("and", "or", "sum", "inhibition by 1"))
    links = {part.partition('"')[0] for part in page.split('src="')[1:]}
    assert len(links) > 21 and all((folder / link).is_file() for link in links)
    assert f'href="{INTERACTIONS}"' in (folder / "index.html").read_text()
    assert 'href="index.html"' in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_the_page(
    made: tuple[Study, Path], browser: Browser, width: int, scheme: str
) -> None:
    _, folder = made
    browser.size(width, 900)
    browser.prefer(scheme)
    browser.open(folder / INTERACTIONS)
    assert browser.violations() == []
    root = "document.documentElement"
    assert browser.js(f"{root}.scrollWidth <= {root}.clientWidth"), "only the table scrolls"


@pytest.mark.slow
def test_what_is_finished_is_used_again(made: tuple[Study, Path], photographs: Path) -> None:
    study, folder = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("image.png")}
    config = config_of(*asked(photographs, "target.units=[0,1,2,3,4,5,6]"))
    again = carry_out(config, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("image.png")} == before
    assert again.found == study.found


def test_an_ensembles_units_are_refused(tmp_path: Path) -> None:
    ensemble = (
        "target.units=0:2",
        "target.ensemble=[zoo/glyph_vit]",
        "grounding.images=zoo:glyphs",
    )
    with pytest.raises(RequestError, match=r"not target\.ensemble"):
        carry_out(config_of(*ensemble), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_few_photographs_are_refused(photographs: Path, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes((photographs / f"{number}.png").read_bytes())
    with pytest.raises(RequestError, match=r"8 photographs or more; grounding\.images has 2"):
        carry_out(config_of(*asked(tmp_path, "target.units=0:3")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["target.units=3"], "two units or more"),
        (["target.units=0:3", "grounding.images=null"], "needs grounding.images"),
        (["target.grid=[0,1]"], "not target.joint or target.grid"),
        (["target.layer=[units,logits]"], "not several layers"),
        (["target.layer=unit?"], "not several layers"),
        (["target.units=0:3", "target.repeats=2"], "not target.repeats"),
        (["target.units=0:3", "method=adversarial"], "grounding.images needs a method"),
    ],
)
def test_bad_requests_leave_nothing_behind(
    overrides: list[str], says: str, photographs: Path, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=says):
        carry_out(config_of(*asked(photographs, *overrides)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
