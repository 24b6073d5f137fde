"""Trials, answers and scores; the page itself is played in test_browser."""

import csv
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fvis.errors import RequestError
from fvis.quiz.answers import COLUMNS, read_answers
from fvis.quiz.command import quiz
from fvis.quiz.score import interval, score
from fvis.quiz.trials import choices, concealed, make_trials
from fvis.run_folder import read_run
from tests.conftest import Call


def content(page: Path) -> Any:
    found = re.search(r'id="content">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def tasks_of(run: Path) -> dict[str, Any]:
    units = read_run(run).units()
    return {unit.folder.name: unit.record.evidence.observer.tasks for unit in units}  # type: ignore[union-attr]


def write_answers(
    file: Path, run: Path, person: str, wrong: tuple[str, ...] = (), tasks: int = 3
) -> Path:
    """Answers to all trials, right but in the conditions that are named."""
    known = tasks_of(run)
    answers = []
    for trial in make_trials([read_run(run)], tasks, 0):
        right, _ = choices(known[trial.unit][trial.task], trial.condition)
        (other,) = {*trial.queries} - {right}
        answers.append(
            {
                "person": person,
                "run": trial.run,
                "unit": trial.unit,
                "condition": trial.condition,
                "task": trial.task,
                "chosen": concealed(other if trial.condition in wrong else right),
                "confidence": 2,
            }
        )
    if file.suffix == ".csv":
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(answers)
    else:
        file.write_text(json.dumps({"answers": answers}))
    return file


def evidence(run: Path, unit: str = "logits-00003") -> Any:
    return json.loads((run / "units" / unit / "metadata.json").read_text())["evidence"]


def test_every_run_has_catch_trials_of_its_own(made: Path, tmp_path: Path) -> None:
    first = read_run(made)
    other = shutil.copytree(made, tmp_path / "other")
    for file in other.rglob("*.json"):
        own, another = str(first.record.config_sha256), "0" * 64
        file.write_text(file.read_text().replace(own, another))
    for seed in range(4):
        trials = make_trials([first, read_run(other)], 3, seed)
        caught = {trial.run for trial in trials if trial.condition == "catch"}
        assert caught == {first.record.config_sha256, "0" * 64}


def test_every_unit_has_trials_of_both_kinds_and_some_catch(made: Path) -> None:
    trials = make_trials([read_run(made)], 3, 0)
    counts = Counter((trial.unit, trial.condition) for trial in trials)
    for unit in ("logits-00003", "logits-00007"):
        assert counts[unit, "natural"] == counts[unit, "synthetic"] == 3
    catching = [trial for trial in trials if trial.condition == "catch"]
    assert catching
    for trial in catching:
        assert {*trial.queries} & {*trial.maximising}
        assert {*trial.queries} & {*trial.minimising}
    known = tasks_of(made)
    for trial in trials:
        assert {*choices(known[trial.unit][trial.task], trial.condition)} == {*trial.queries}
    places = {
        trial.queries.index(choices(known[trial.unit][trial.task], trial.condition)[0])
        for trial in trials
    }
    assert places == {0, 1}


def test_the_order_follows_from_the_seed(made: Path) -> None:
    runs = [read_run(made)]
    assert make_trials(runs, 3, 0) == make_trials(runs, 3, 0)
    assert make_trials(runs, 3, 0) != make_trials(runs, 3, 1)


def test_the_page_is_whole_and_does_not_tell_the_answers(judged: Path) -> None:
    page = quiz([str(judged), "--tasks", "2", "--seed", "5"])
    assert page == judged / "quiz.html"
    text = page.read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert "://" not in text
    found = content(page)
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in found["pictures"])
    photographs = {
        name
        for tasks in tasks_of(judged).values()
        for one in tasks
        for name in choices(one, "natural")
    }
    assert not any(name in text for name in photographs), "they may say what is shown"
    assert len({*found["pictures"]}) == len(found["pictures"])
    for trial in found["trials"]:
        assert set(trial) == {
            *("run", "unit", "condition", "task", "minimising", "maximising", "queries"),
        }
        sides = (len(trial["minimising"]), len(trial["maximising"]))
        assert sides == ((1, 2) if trial["condition"] == "synthetic" else (2, 2))


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_answers_become_accuracy_with_an_interval(judged: Path, suffix: str) -> None:
    word = evidence(judged)["word"]
    files = [
        write_answers(judged.parent / f"ann{suffix}", judged, "ann"),
        write_answers(judged.parent / f"bob{suffix}", judged, "bob", wrong=("natural",)),
        write_answers(judged.parent / f"eve{suffix}", judged, "eve", wrong=("catch", "synthetic")),
    ]
    page = quiz(["--score", *map(str, files), str(judged)])
    people = evidence(judged)["people"]
    assert people["synthetic"]["accuracy"] == 1.0  # eve failed the catch trials
    assert people["synthetic"]["answers"] == 6
    assert people["synthetic"]["people"] == 2
    assert people["synthetic"]["interval"] == pytest.approx(interval(6, 6))
    assert people["synthetic"]["confidence"] == 2
    assert people["natural"]["accuracy"] == 0.5
    assert evidence(judged)["votes"]["people"] == "for"
    assert word in ("plausible", "supported", "unsupported")
    run = read_run(judged).record
    assert run.summary["evidence.people.synthetic"].mean == 1.0
    assert "people" in page.read_text()


def test_who_answered_no_catch_trial_does_not_count(
    judged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ann = write_answers(judged.parent / "ann.json", judged, "ann")
    zoe = write_answers(judged.parent / "zoe.json", judged, "zoe", wrong=("natural", "synthetic"))
    answers = json.loads(zoe.read_text())
    answers["answers"] = [one for one in answers["answers"] if one["condition"] != "catch"]
    zoe.write_text(json.dumps(answers))
    score(judged, [*read_answers(ann), *read_answers(zoe)])
    people = evidence(judged)["people"]
    assert (people["natural"]["people"], people["natural"]["accuracy"]) == (1, 1.0)
    assert "the answers of zoe do not count: no catch trial was answered" in caplog.text


def test_a_short_quiz_has_a_catch_trial_too(made: Path) -> None:
    trials = make_trials([read_run(made)], 1, 0)
    assert sum(trial.condition != "catch" for trial in trials) == 4, "fewer than come before one"
    assert sum(trial.condition == "catch" for trial in trials) == 1


def test_answers_that_name_no_photograph_of_the_trial_do_not_count(
    judged: Path, forked_fvis: Call
) -> None:
    file = write_answers(judged.parent / "ann.json", judged, "ann")
    quiz(["--score", str(file), str(judged)])
    once = evidence(judged)["people"]
    told = json.loads(file.read_text())
    strange = [answer | {"person": "dan", "chosen": "nonsense.jpg"} for answer in told["answers"]]
    other = judged.parent / "dan.json"
    other.write_text(json.dumps(told | {"answers": strange}))
    scored = forked_fvis("quiz", "--score", str(file), str(other), str(judged))
    assert evidence(judged)["people"] == once
    assert scored.stderr == (
        "fvis: answers that name neither photograph of their trial do not count: "
        f"{len(strange)}, of dan\n"
    )


def test_scoring_twice_is_scoring_once(judged: Path) -> None:
    file = str(write_answers(judged.parent / "ann.json", judged, "ann"))
    quiz(["--score", file, str(judged)])
    once = evidence(judged)
    quiz(["--score", file, file, str(judged)])
    assert evidence(judged) == once


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "0", "RUN"], "--tasks takes a whole number from 1"),
        (["RUN", "--seed"], "--seed takes"),
        ([], "usage"),
        (["--frobnicate", "RUN"], "usage"),
        (["--score", "RUN"], "usage"),
        (["EMPTY"], "holds no run"),
        (["--score", "ABSENT.json", "RUN"], "cannot be read"),
        (["--score", "BROKEN.json", "RUN"], "no answers"),
        (["--score", "BROKEN.csv", "RUN"], "no answers"),
        (["--score", "OTHERS.json", "RUN"], "no answer is about"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_written(
    judged: Path, words: list[str], said: str
) -> None:
    base = judged.parent
    (base / "EMPTY").mkdir()
    (base / "BROKEN.json").write_text('{"answers": [{"person": 3}]}')
    (base / "BROKEN.csv").write_text("person,run\nann,x\n")
    (base / "OTHERS.json").write_text('{"answers": []}')
    before = evidence(judged)
    named = [str(judged) if w == "RUN" else w if w[0] in "-0" else str(base / w) for w in words]
    with pytest.raises(RequestError, match=said):
        quiz(named)
    assert evidence(judged) == before
    assert not (judged / "quiz.html").exists()


def test_a_run_without_tasks_says_what_it_lacks(judged: Path) -> None:
    for file in judged.glob("units/*/metadata.json"):
        found = json.loads(file.read_text())
        del found["evidence"]["observer"]
        file.write_text(json.dumps(found))
    with pytest.raises(RequestError, match=r"evidence\.embedding"):
        quiz([str(judged)])


def test_photographs_that_are_gone_are_named(judged: Path, made: Path) -> None:
    found = json.loads((judged / "run.json").read_text())
    found["config"]["grounding"]["images"] = "zoo:glyphs"
    (judged / "run.json").write_text(json.dumps(found))
    with pytest.raises(RequestError, match="no longer there"):
        quiz([str(judged)])


def test_csv_and_json_say_the_same(judged: Path) -> None:
    one = write_answers(judged.parent / "a.json", judged, "ann")
    other = write_answers(judged.parent / "a.csv", judged, "ann")
    assert read_answers(one) == read_answers(other)
