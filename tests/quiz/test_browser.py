"""The quiz played through in a real browser, by keys and by touch, and scored."""

import csv
import io
import json
from pathlib import Path

import pytest

from fvis.quiz.command import quiz
from fvis.quiz.trials import choices, concealed
from tests.gallery.conftest import Browser

from .test_quiz import content, evidence, tasks_of

pytestmark = pytest.mark.slow

UP, DOWN = "\ue013", "\ue015"


def download(browser: Browser, kind: str) -> str:
    """What a link of the page's end has to be saved."""
    script = "const done = arguments[1]; fetch(document.getElementById(arguments[0]).href)"
    text = browser.driver.execute_async_script(f"{script}.then((r) => r.text()).then(done)", kind)
    assert isinstance(text, str)
    return text


def test_a_quiz_is_played_by_keys_and_scored(judged: Path, browser: Browser) -> None:
    page = quiz([str(judged)])
    trials, known = content(page)["trials"], tasks_of(judged)
    browser.open(page)
    assert browser.js("document.getElementById('count').textContent") == str(len(trials))
    browser.js("document.getElementById('begin').click()")
    for number, trial in enumerate(trials, 1):
        shown = browser.js("document.getElementById('progress').textContent")
        assert shown == f"{number} of {len(trials)}"
        browser.wait("[...document.images].every((i) => i.complete && i.naturalWidth)")
        left, right = (
            browser.js(f"document.querySelectorAll('#{side} img').length")
            for side in ("minimising", "maximising")
        )
        assert (left, right) == (len(trial["minimising"]), len(trial["maximising"]))
        browser.keys("3")  # before anything is chosen: it says nothing
        right_name, _ = choices(known[trial["unit"]][trial["task"]], trial["condition"])
        upper = trial["queries"][0]["name"] == concealed(right_name)
        wrong = trial["condition"] == "natural"
        browser.keys(UP if upper != wrong else DOWN, str(1 + number % 3))
    assert browser.js("!document.getElementById('end').hidden")
    answers = json.loads(download(browser, "json"))
    assert [a["confidence"] for a in answers["answers"]] == [
        1 + number % 3 for number in range(1, len(trials) + 1)
    ]
    table = list(csv.DictReader(io.StringIO(download(browser, "csv"))))
    assert [row["chosen"] for row in table] == [a["chosen"] for a in answers["answers"]]
    file = judged.parent / "answers.json"
    file.write_text(json.dumps(answers))
    quiz(["--score", str(file), str(judged)])
    people = evidence(judged)["people"]
    assert people["synthetic"]["accuracy"] == 1.0
    assert people["natural"]["accuracy"] == 0.0


def test_a_quiz_is_played_by_touch_on_a_small_screen(judged: Path, browser: Browser) -> None:
    page = quiz([str(judged), "--tasks", "1"])
    browser.size(360, 740)
    browser.open(page)
    driver = browser.driver
    driver.find_element("id", "begin").click()
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")
    for _ in content(page)["trials"]:
        assert not driver.find_element("css selector", "[data-confidence='2']").is_enabled()
        driver.find_elements("css selector", ".query")[1].click()
        assert browser.js("document.querySelectorAll('.query[aria-checked=true]').length") == 1
        driver.find_element("css selector", "[data-confidence='2']").click()
    assert browser.js("!document.getElementById('end').hidden")


def test_axe_finds_nothing_wrong_with_a_quiz(judged: Path, browser: Browser) -> None:
    page = quiz([str(judged)])
    browser.open(page)
    assert browser.violations() == []
    browser.js("document.getElementById('begin').click()")
    for key in ("", UP):
        browser.keys(key)
        assert browser.violations() == []
    for _ in content(page)["trials"]:
        browser.keys(DOWN, "1")
    assert browser.js("!document.getElementById('end').hidden")
    assert browser.violations() == []
