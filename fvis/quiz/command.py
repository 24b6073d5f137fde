"""`fvis quiz`: writes a page on which people judge pictures, or counts what they answered."""

from collections.abc import Sequence
from pathlib import Path

from fvis.errors import RequestError
from fvis.quiz.answers import read_answers
from fvis.quiz.page import write_quiz
from fvis.quiz.score import score
from fvis.run_folder import read_run, runs_in

USAGE = "usage: fvis quiz OUTPUT_DIR... [--tasks N] [--seed N], or fvis quiz --score FILE... RUN"
TASKS = 3  # trials of a unit with each kind of picture
PAGE = "quiz.html"


def quiz(arguments: Sequence[str]) -> Path:
    """Carry out the command; returns the page that it has written.

    Raises `RequestError` for words that it does not know, and for folders without runs.
    """
    words = list(arguments)
    if "--score" in words:
        words.remove("--score")
        if len(words) < 2 or any(word.startswith("-") for word in words):
            raise RequestError(USAGE)
        *files, run = map(Path, words)
        return score(run, [answer for file in files for answer in read_answers(file)])
    tasks, seed = (_number(words, *option) for option in (("--tasks", TASKS, 1), ("--seed", 0, 0)))
    if not words or any(word.startswith("-") for word in words):
        raise RequestError(USAGE)
    runs = [read_run(run) for run in runs_in(map(Path, words))]
    return write_quiz(runs, Path(words[0]) / PAGE, tasks, seed)


def _number(words: list[str], option: str, default: int, least: int) -> int:
    """The number after an option, which is taken out of the words."""
    if option not in words:
        return default
    place = words.index(option)
    _, *given = words[place : place + 2]
    del words[place : place + 2]
    if not given or not given[0].isdecimal() or int(given[0]) < least:
        raise RequestError(f"{option} takes a whole number from {least}")
    return int(given[0])
