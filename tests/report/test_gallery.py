"""The page shows every unit and runs nothing that a name says."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fvis.errors import RequestError
from fvis.report.gallery import write_index


class Page(HTMLParser):
    """The tags, pictures and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[str] = []
        self.alternatives: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(unquote(dict(attrs)["src"] or ""))
            self.alternatives.append(dict(attrs)["alt"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def make_run(folder: Path, *units: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    for unit in units:
        place = folder / "units" / unit.pop("name")
        place.mkdir(parents=True)
        for name in unit["files"]:
            (place / name).write_bytes(b"")
        defaults = {"model": "m", "status": "ok", "activation": {"initial": 0.5, "final": 2.0}}
        (place / "metadata.json").write_text(json.dumps(defaults | unit))
    return folder


def test_every_units_picture_is_linked_where_it_lies(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", {"name": "l-00001", "files": ["image.png"], "class": "chow"})
    b = make_run(tmp_path / "b c", {"name": "l-00002", "files": ["clip.gif", "clip.mp4"]})
    page = Page(write_index([a, b], tmp_path / "index.html"))
    assert page.pictures == ["a/units/l-00001/image.png", "b c/units/l-00002/clip.gif"]
    assert all((tmp_path / picture).is_file() for picture in page.pictures)
    assert "chow" in page.alternatives[0]
    assert "0.5 to 2" in page.text


def test_names_are_shown_not_run(tmp_path: Path) -> None:
    unit = {"name": "l-00001", "files": [], "class": "<script>alert(1)</script>"}
    page = Page(write_index([make_run(tmp_path / "a", unit)], tmp_path / "index.html"))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text


def test_an_activation_that_is_not_finite_is_said_to_be(tmp_path: Path) -> None:
    unit = {"name": "l-1", "files": [], "activation": {"initial": 1.0, "final": None}}
    page = Page(write_index([make_run(tmp_path / "a", unit)], tmp_path / "index.html"))
    assert "1 to not finite" in page.text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no run\.json"):
        write_index([tmp_path], tmp_path / "index.html")
    assert list(tmp_path.iterdir()) == []
