"""How far to believe a picture: on its card, on its page, as a filter and an order."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fvis.gallery.page import write_index

from .conftest import Browser
from .fake_runs import image_unit, read_units, write_run
from .test_browser import NAMES, choose

WORDS = ("supported", "plausible", "unsupported", None)
TASK = {"strong": "a-secret.png", "weak": "b.png", "strong_references": [], "weak_references": []}


def judged_unit(i: int) -> dict[str, Any]:
    """Unit `i` with the word `WORDS[i % 4]`."""
    word = WORDS[i % 4]
    if word is None:
        return image_unit(i)
    condition = {"accuracy": 0.9, "score": 0.5 + i / 100, "shuffled": 0.5, "matched": 0.1}
    observer = {"embedding": "net", "natural": condition, "synthetic": condition, "gap": 0.0}
    votes = {"supported": {"path": "for"}, "unsupported": {"path": "against", "observer": "for"}}
    people = {"accuracy": 0.8, "interval": [0.6, 0.9], "answers": 20, "people": 2, "confidence": 2}
    path = {"layers": ["a"], "picture": [0.5], "photographs": [0.6], "others": [0], "kept": 0.8}
    evidence = {
        "word": word,
        "votes": votes.get(word, {}),
        "observer": {**observer, "tasks": [TASK]},
        "path": path,
        "strangers": {"other": {"top": [["zebra", 0.75], ["horse", 0.25]], "rank": 1}},
    }
    if i == 0:
        evidence["people"] = {"synthetic": people}
    return {**image_unit(i), "evidence": evidence}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    run = write_run(tmp_path / "run", [judged_unit(i) for i in range(12)])
    return write_index([run], tmp_path / "index.html")


def test_cards_say_the_word_and_what_speaks_for_and_against(page: Path) -> None:
    text = page.read_text()
    assert text.count('class="badge supported"') == 3
    assert text.count('class="badge unsupported"') == 3
    assert "for: path; people 80 % (60 to 90 %)" in text
    assert "for: observer; against: path" in text
    assert "a-secret.png" not in text  # tasks are for the quiz


def test_the_page_says_how_many_are_supported(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [judged_unit(i) for i in range(3)])
    record = json.loads((run / "run.json").read_text())
    shares = {"supported": 3, "plausible": 1, "unsupported": 0}
    record["summary"] = {
        **{f"evidence.{word}": {"mean": n / 4, "of": 4} for word, n in shares.items()},
        "evidence.observer.synthetic": {"mean": 0.75, "of": 4},
    }
    (run / "run.json").write_text(json.dumps(record))
    text = write_index([run], tmp_path / "index.html").read_text()
    assert "<dt>Evidence</dt><dd>3 of 4 supported, 1 plausible</dd>" in text
    assert "<dt>observer&#39;s accuracy by pictures, mean of 4</dt><dd>0.75</dd>" in text
    assert "evidence.supported" not in text


def test_the_atlas_marks_what_is_supported_and_what_is_not(tmp_path: Path) -> None:
    units = [{**judged_unit(i), "layer": f"layer{i % 2}"} for i in range(8)]
    run = write_run(tmp_path / "run", units)
    text = write_index([run], tmp_path / "index.html").read_text()
    for word in ("supported", "plausible", "unsupported"):
        assert len(re.findall(rf'<li class="(?:\w+ )?{word}">', text)) == 2


def test_a_picture_that_excites_its_unit_least_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [{**image_unit(0), "sign": -1}])
    (unit,) = read_units(run, tmp_path)
    assert unit["title"].endswith(", minimised")
    assert "excites" in unit["alt"]
    assert " least" in unit["alt"]


def test_units_without_evidence_say_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [image_unit(i) for i in range(3)])
    write_index([run], tmp_path / "index.html")
    assert all(unit["evidence"] is unit["votes"] is None for unit in read_units(run, tmp_path))
    text = (tmp_path / "index.html").read_text()
    assert 'data-key="evidence"' not in text
    assert 'value="-believed"' not in text


@pytest.mark.slow
def test_units_are_filtered_and_sorted_by_how_far_to_believe_them(
    page: Path, browser: Browser
) -> None:
    browser.open(page)
    choose(browser, "[data-key=evidence]", "supported")
    assert {int(name[-5:]) % 4 for name in browser.js(NAMES)} == {0}
    choose(browser, "[data-key=evidence]", "")
    choose(browser, "#sort", "-believed")
    assert [int(name[-5:]) % 4 for name in browser.js(NAMES)] == [0] * 3 + [1] * 3 + [2] * 3 + [
        3
    ] * 3
    choose(browser, "#sort", "-observer")
    scored = [int(name[-5:]) for name in browser.js(NAMES)][:9]
    assert scored == sorted(scored, reverse=True)


@pytest.mark.slow
def test_a_units_page_has_its_evidence(page: Path, browser: Browser) -> None:
    browser.open(page)
    choose(browser, "[data-key=evidence]", "supported")
    browser.driver.find_element("css selector", ".card a").click()
    browser.wait("document.querySelector('#unit .evidence')")
    said = browser.js("document.querySelector('#unit .evidence').textContent")
    for words in ("supported", "for: path", "kept", "other sees", "zebra", "synthetic score"):
        assert words in said, words
