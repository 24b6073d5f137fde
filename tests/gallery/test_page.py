"""The page's text holds every unit, and nothing that a name says."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fvis import cli
from fvis.errors import RequestError
from fvis.gallery.page import write_index

from ..conftest import Call
from .fake_runs import (
    MODELS,
    attack_unit,
    awkward_runs,
    clip_unit,
    image_unit,
    read_units,
    write_overrides,
    write_run,
    write_unit,
)


class Page(HTMLParser):
    """The tags, pictures, text and data of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[str] = []
        self.alternatives: list[str] = []
        self.options: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.scripts: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.data: list[dict[str, Any]] = [
            unit for kind, text in self.scripts if kind == "units" for unit in json.loads(text)
        ]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs).get("class") or "", ""))
        if tag == "option":
            self.options.append(dict(attrs)["value"] or "")
        if tag == "img":
            self.pictures.append(unquote(dict(attrs)["src"] or ""))
            self.alternatives.append(dict(attrs)["alt"] or "")

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif self._inside != "style":
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def page_of(*runs: Path) -> Page:
    return Page(write_index(runs, runs[0].parent / "index.html"))


def test_every_picture_and_file_is_linked_where_it_lies(tmp_path: Path) -> None:
    runs = list(awkward_runs(tmp_path))
    page = page_of(*runs)
    assert len(page.data) == 3 * len(runs)
    assert page.pictures
    for picture in page.pictures:
        assert (tmp_path / picture).is_file()
    for unit in page.data:
        for file in unit["pictures"] + unit["files"]:
            assert (tmp_path / unquote(f"{unit['folder']}/{file['link']}")).is_file()


def test_every_picture_says_what_it_is(tmp_path: Path) -> None:
    dead = image_unit(4)
    runs = write_run(tmp_path / "a", [image_unit(1), dead, clip_unit(7), attack_unit(9)])
    alternatives = page_of(runs).alternatives
    assert f"Picture that excites unit 1 of layer2, {image_unit(1)['class']}" in alternatives
    assert any(text.startswith("Picture that failed to excite unit 4") for text in alternatives)
    assert any(text.startswith("Clip that excites unit 7") for text in alternatives)
    assert any("changed to be taken for" in text for text in alternatives)


def test_a_card_shows_the_strongest_patches_of_photographs(tmp_path: Path) -> None:
    strongest = [{"file": f"/photos/{i}.jpg", "activation": 9.0 - i} for i in range(5)]
    units = [image_unit(1), image_unit(2) | {"files": ["image.png", "natural.png"]}, image_unit(3)]
    units[1] |= {"grounding": {"strongest": strongest}}
    units[2] |= {"grounding": {"strongest": strongest}}  # the sheet is gone
    run = write_run(tmp_path / "run", units)
    shown = [unit["patches"] for unit in read_units(run, tmp_path)]
    assert shown.count(None) == 2
    (row,) = filter(None, shown)
    assert (row["across"], row["names"]) == (3, "0.jpg, 1.jpg, 2.jpg")
    assert (tmp_path / unquote(row["picture"])).is_file()
    told = page_of(run).alternatives
    assert "Patches that excite it most, of 0.jpg, 1.jpg, 2.jpg" in told


def test_a_unit_that_moves_says_where_and_what_photographs_say(tmp_path: Path) -> None:
    """A direction with its spread, or, where none is sure, the kind of motion alone."""
    sure, unsure = clip_unit(0), clip_unit(1)
    sure["motion"] |= {"kind": "moving", "confidence": {"direction_deg": 12.4}}
    sure["natural"] = {"photographs": 5, "disagreement_deg": 33.3}
    unsure["motion"] |= {"kind": "undirected", "direction_deg": None}
    text = page_of(write_run(tmp_path / "run", [sure, unsure])).text
    assert "moving at 10° ± 12°; 33° from photographs'" in text
    assert "<p>undirected</p>" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_names_are_shown_not_run(tmp_path: Path) -> None:
    page = page_of(*awkward_runs(tmp_path))
    assert page.tags.count("script") == 4
    assert not [name for name in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "<script>alert(2)<" in page.text
    assert "<img src=x onerror=alert(3)>.png" in page.text
    source = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in source
    assert "<img src=x" not in source


def test_the_page_asks_for_nothing_from_a_network(tmp_path: Path) -> None:
    source = write_index([write_run(tmp_path / "a", [image_unit(0)])], tmp_path / "index.html")
    text = source.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text
    assert "//cdn" not in text


def test_activations_that_are_missing_or_not_finite_are_said_to_be(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [], status="running")
    old = {"layer": "l", "unit": 1, "activation": {"initial": 1.0, "final": None}}
    write_unit(run / "units" / "l-00001", old)
    nan = '{"activation": {"initial": NaN, "final": Infinity, "trace": [[0, NaN]]}, "files": []}'
    (run / "units" / "l-00002").mkdir()
    (run / "units" / "l-00002" / "metadata.json").write_text(nan)
    (run / "units" / "l-00003").mkdir()
    (run / "units" / "l-00003" / "metadata.json").write_text("[1, 2")
    page = page_of(run)
    assert "activation 1  to  not finite" in " ".join(page.text.replace("→", "").split(" "))
    assert [unit["name"] for unit in page.data] == ["l-00001", "l-00002", "l-00003"]
    assert page.data[1]["metadata"]["activation"] == {
        "initial": None,
        "final": None,
        "trace": [[0, None]],
    }


def test_files_are_found_where_the_metadata_does_not_name_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [image_unit(1)], units=None)
    metadata = image_unit(2)
    del metadata["files"]
    write_unit(run / "units" / "x", metadata)
    (run / "units" / "x" / "clip.gif").write_bytes(b"")
    (unit,) = [unit for unit in read_units(run, tmp_path) if unit["name"] == "x"]
    assert unit["picture"] == "a/units/x/clip.gif"


def test_a_file_outside_the_units_folder_is_not_linked(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [], units=None)
    write_unit(run / "units" / "x", {"files": ["a.png"]})
    (run / "units" / "x" / "metadata.json").write_text('{"files": ["../../run.json", 3, "a.png"]}')
    (unit,) = read_units(run, tmp_path)
    assert [file["name"] for file in unit["pictures"]] == ["a.png"]
    assert [file["name"] for file in unit["files"]] == ["metadata.json"]


def test_links_that_may_lead_out_of_the_folder_are_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = write_run(tmp_path / "elsewhere", [image_unit(1), image_unit(2)])
    run = write_run(tmp_path / "run", [image_unit(3), image_unit(4)], units=None, status="running")
    kept, linked = (run / "units" / name for name in ("layer3-00003", "linked"))
    kept.mkdir(exist_ok=True)
    there = elsewhere / "units" / "layer2-00001"
    linked.symlink_to(there)
    planted = run / "units" / "planted"
    planted.mkdir()
    (planted / "metadata.json").symlink_to(there / "metadata.json")
    (unit, _) = (u for u in read_units(run, tmp_path) if u["name"] not in ("linked", "planted"))
    assert len(read_units(run, tmp_path)) == 2
    (run / "units" / unit["name"] / "image.png").unlink()
    (run / "units" / unit["name"] / "image.png").symlink_to(there / "image.png")
    assert read_units(run, tmp_path)[0]["pictures"] == []
    (run / ".hydra" / "overrides.yaml").unlink()
    (run / ".hydra" / "overrides.yaml").symlink_to(elsewhere / ".hydra" / "overrides.yaml")
    assert read_units(run, tmp_path)[0]["command"] is None
    (run / "units").rename(tmp_path / "moved")
    (run / "units").symlink_to(tmp_path / "moved")
    assert read_units(run, tmp_path) == []
    assert "is a link" in caplog.text


def test_the_page_names_no_folder_of_the_machine_that_made_it(tmp_path: Path) -> None:
    private = "/home/alice/private folder"
    attack = attack_unit(1) | {"source": f"{private}/cat.png"}
    grounded = image_unit(2) | {
        "grounding": {"strongest": [{"file": f"{private}/dog.png", "box": [0, 0, 1, 1]}]}
    }
    refused = {f"{private}/x.png": f"{private}/x.png is not an image"}
    run = write_run(tmp_path / "run", [attack, grounded], refused=refused)
    words = [
        *(f"model.checkpoint={private}/w.pth", f"model.factory={private}/net.py:build"),
        *(f"grounding.images=[{private}/a.png,/srv/b/c.png]", "method.epsilon=8/255"),
    ]
    settings = f"hydra:\n  runtime:\n    cwd: {private}\n    config_sources:\n"
    settings += "    - {path: /srv/configs, provider: command-line}\n"
    write_overrides(run, words, settings)
    source = write_index([run], tmp_path / "index.html").read_text(encoding="utf-8")
    assert "alice" not in source and "/srv" not in source
    unit = next(u for u in read_units(run, tmp_path) if "grounding" in u["metadata"])
    assert unit["typed_in"] == "private folder"
    assert unit["shortened"], "the configs and c.png lie elsewhere"
    assert unit["command"] == (
        "fvis run --config-dir configs 'model.checkpoint=w.pth' 'model.factory=net.py:build' "
        "'grounding.images=[a.png,c.png]' method.epsilon=8/255 target.layer=blocks.6.mlp.act "
        "target.units=2"
    )


def test_a_file_that_is_gone_is_not_linked(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [image_unit(1), clip_unit(2)])
    (run / "units" / "layer2-00001" / "image.png").unlink()
    (run / "units" / "blocks.6.mlp.act-00002" / "optimal.gif").unlink()
    page = page_of(run)
    assert set(page.pictures) == {"a/units/blocks.6.mlp.act-00002/reconstruction.gif"}
    assert "no picture" in page.text
    for unit in page.data:
        for file in unit["pictures"] + unit["files"]:
            assert (tmp_path / unquote(f"{unit['folder']}/{file['link']}")).is_file()


def test_what_a_unit_does_not_say_is_no_choice_of_a_filter(tmp_path: Path) -> None:
    units = [image_unit(1), image_unit(2), image_unit(3) | {"model": None}]
    del units[2]["layer"]
    write_unit(tmp_path / "a" / "units" / "x", units.pop())
    page = page_of(write_run(tmp_path / "a", units, units=None))
    assert len(page.data) == 3
    assert {"resnet50", "vit_base_patch16_224", "layer2"} <= set(page.options)
    assert "None" not in page.options
    assert page.options.count("") == page.tags.count("select")  # "all" alone


def test_a_run_that_is_done_shows_no_units_of_an_earlier_one_in_its_folder(tmp_path: Path) -> None:
    units = [image_unit(1), image_unit(2)]
    run = write_run(tmp_path / "a", units, units=["layer2-00001"])
    assert [unit["name"] for unit in read_units(run, tmp_path)] == ["layer2-00001"]
    for status in ("running", "interrupted"):
        (run / "run.json").write_text(json.dumps({"status": status, "units": []}))
        assert len(read_units(run, tmp_path)) == 2


def test_a_unit_that_is_being_written_is_not_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [image_unit(1)], status="running")
    write_unit(run / "units" / ".tmpx", image_unit(2))
    assert [unit["name"] for unit in read_units(run, tmp_path)] == ["layer2-00001"]


def test_a_run_says_what_it_was(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "the run", [image_unit(0)], status="interrupted")).text
    for part in ("the run", "interrupted", "resnet50", "abababababab", "12.5 s", "not a picture"):
        assert part in text
    assert "success, mean of 8" in text


def test_a_run_without_units_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "run.json").write_text("{}")
    page = page_of(tmp_path / "empty")
    assert page.data == []
    assert "No units yet." in page.text


def test_runs_of_one_name_keep_their_units_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / side / "run", [image_unit(1)]) for side in ("a", "b")]
    page = Page(write_index(runs, tmp_path / "index.html"))
    assert [unit["run"] for unit in page.data] == ["a/run", "b/run"]
    assert len({unit["id"] for unit in page.data}) == 2


def test_a_folder_whose_name_is_no_text_has_a_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "bad\udcff", [image_unit(1)])
    write_overrides(run, ["target.units=1"])
    page = page_of(run)
    assert (tmp_path / unquote(page.data[0]["folder"], errors="surrogateescape")).is_dir()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no run\.json"):
        write_index([tmp_path], tmp_path / "index.html")
    assert list(tmp_path.iterdir()) == []


def test_a_run_given_twice_is_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "r", [image_unit(1)])
    monkeypatch.chdir(tmp_path)
    cli.report(["r", "r/", str(run)])
    assert Path(capsys.readouterr().out.strip()) == Path("r/index.html")
    assert len(Page(run / "index.html").data) == 1


def test_runs_in_one_another_leave_each_its_own_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path / name, [image_unit(1)]) for name in ("a/r", "a/r/sub")]
    for run in runs:
        cli.report([str(run)])
    own = [(run / "index.html").read_bytes() for run in runs]
    cli.report([str(run) for run in runs])
    assert capsys.readouterr().out.split()[-1] == str(tmp_path / "a" / "index.html")
    assert [(run / "index.html").read_bytes() for run in runs] == own
    assert len(Page(tmp_path / "a" / "index.html").data) == 2


def test_the_atlas_has_a_row_for_each_layer_in_the_order_of_depth(tmp_path: Path) -> None:
    layers = {"blocks.10": 20, "blocks.2": 4, "logits": 30}
    for name in ("one", "two"):
        units = [
            image_unit(i) | {"layer": layer, "model": MODELS[0]} for layer in layers for i in (0, 1)
        ]
        write_run(tmp_path / name, units, layers=layers, jobs=[])
    page = page_of(tmp_path / "one")
    names = [unit["name"] for unit in page.data]
    assert [name.rpartition("-")[0] for name in names] == [
        *("blocks.2", "blocks.2", "blocks.10", "blocks.10", "logits", "logits")
    ]
    source = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert re.findall('data-layer="([^"]*)" data-run="one"', source) == [
        "blocks.2", "blocks.10", "logits",
    ]  # fmt: skip
    page_of(tmp_path / "one", tmp_path / "two")
    source = (tmp_path / "index.html").read_text(encoding="utf-8")
    found = re.findall('<h2><a href="#cards" data-layer="([^"]*)" data-run="([^"]*)"', source)
    assert found == [(layer, run) for layer in ("blocks.2", "blocks.10", "logits")
                     for run in ("one", "two")]  # fmt: skip


def test_a_single_layer_has_no_atlas_and_a_long_row_says_how_many_more(tmp_path: Path) -> None:
    units = [image_unit(i) | {"layer": "layer2", "model": MODELS[0]} for i in range(70)]
    page_of(write_run(tmp_path / "one", units))
    assert 'id="atlas"' not in (tmp_path / "index.html").read_text(encoding="utf-8")
    units.append(image_unit(99) | {"layer": "logits", "model": MODELS[0]})
    page_of(write_run(tmp_path / "two", units))
    source = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "6 more" in source


def test_runs_are_told_apart_by_what_their_commands_differ_in(tmp_path: Path) -> None:
    runs = []
    for seed in range(2):
        runs.append(write_run(tmp_path / str(seed), [image_unit(1)]))
        words = ["model=glyph_cnn", f"engine.seed={seed}", "transforms.noise=0.1"]
        write_overrides(runs[-1], words)
    source = write_index(runs, tmp_path / "index.html").read_text()
    for seed in range(2):
        assert f">{seed}: engine.seed={seed}</span>" in source, "in its header"
        assert f"<p>{seed}: engine.seed={seed}</p>" in source, "on its units' cards"


def test_a_killed_run_says_how_many_units_it_has(tmp_path: Path) -> None:
    """Its run.json is of some time before."""
    run = write_run(tmp_path, [image_unit(1), image_unit(2)], jobs=["a", "b", "c"])
    record = json.loads((run / "run.json").read_text())
    record |= {"status": "interrupted", "statuses": {}}
    (run / "run.json").write_text(json.dumps(record))
    assert "2 of 3 units" in page_of(run).text


def test_a_running_run_says_how_far_it_is(tmp_path: Path) -> None:
    now = {"pid": 1, "host": "elsewhere", "boot": "", "started": ""}
    jobs = [f"layer2-{i:05d}" for i in range(12)]
    run = write_run(tmp_path / "a", [image_unit(1)], status="running", process=now, jobs=jobs)
    assert "1 of 12 units, at " in page_of(run).text
    (tmp_path / "b").mkdir()
    run = write_run(tmp_path / "b", [image_unit(1)], status="interrupted", jobs=jobs)
    assert "1 of 12 units" in page_of(run).text


def test_a_page_of_one_file_says_what_it_takes(forked_fvis: Call, tmp_path: Path) -> None:
    write_run(tmp_path / "run", [image_unit(0)])
    ran = forked_fvis("report", "--single", "page.html", "run", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "page.html\n")
    assert "MB, with the pictures inside" in ran.stderr
    text = (tmp_path / "page.html").read_text()
    assert text.count("data:image/png;base64,") == 1, "each picture is there once"
    for words, said in (
        (["--single", "run"], "takes the name of a file"),
        (["--single", "nowhere/page.html", "run"], "no folder nowhere"),
        (["--single", "page.html"], "usage: fvis report"),
    ):
        ran = forked_fvis("report", *words, cwd=tmp_path)
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
        assert said in ran.stderr


@pytest.mark.parametrize(
    ("metadata", "title"),
    [
        ({"layer": "blocks.4", "unit": 1}, "blocks.4 unit 1"),
        ({"layer": "blocks.4", "unit": 1, "repeat": 2}, "blocks.4 unit 1, repeat 2"),
        ({"layer": "logits", "unit": 7, "class": "zebra, Equus"}, "zebra"),
        ({"layer": "layer1", "unit": 7, "class": "zebra"}, "layer1 unit 7"),
    ],
)
def test_a_unit_has_a_title_that_a_person_would_give(
    tmp_path: Path, metadata: dict[str, Any], title: str
) -> None:
    unit = {key: value for key, value in image_unit(0).items() if key != "class"}
    run = write_run(tmp_path / "run", [unit | metadata])
    assert read_units(run, tmp_path)[0]["title"] == title


def test_an_attacks_title_says_what_becomes_of_what(tmp_path: Path) -> None:
    attack = attack_unit(0) | {"image": "cat.jpg", "class": "zebra, Equus", "target": 340}
    run = write_run(tmp_path / "run", [attack])
    assert read_units(run, tmp_path)[0]["title"] == "cat.jpg → zebra"
