"""`quiz.html`: the trials of a quiz, on a page that holds all of its pictures."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from PIL import Image

from fvis import artifacts, photographs
from fvis.artifacts import to_bytes
from fvis.errors import RequestError
from fvis.models.base import Preprocessing
from fvis.photographs import UnreadableError
from fvis.quiz.trials import Trial, concealed, make_trials
from fvis.run_folder import SavedRun
from fvis.workspace import working_directory

SIDE = 192  # px of the pictures on the page, at most
QUALITY = 85  # of JPEG


def write_quiz(runs: Sequence[SavedRun], path: Path, tasks: int, seed: int) -> Path:
    """Write the page to `path`; `tasks` and `seed` are as for `make_trials`.

    Raises `RequestError` where a run's photographs are no longer there.
    """
    trials = make_trials(runs, tasks, seed)
    album = _Album(runs)
    shown = [album.shown(trial) for trial in trials]
    content = {"trials": shown, "pictures": album.pictures}
    number = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:12]
    environment = Environment(loader=PackageLoader("fvis.quiz"), autoescape=True)
    page = environment.get_template("quiz.html").render(content={"page": number, **content})
    artifacts.write_text(path, page)
    return path


class _Album:
    """The pictures of a page, each of them once, as JPEG in text."""

    def __init__(self, runs: Sequence[SavedRun]) -> None:
        self.pictures: list[str] = []
        self._places: dict[tuple[str, str], int] = {}
        self._runs = {run.record.config_sha256: run for run in runs}
        self._files: dict[str, Mapping[str, Path]] = {}

    def shown(self, trial: Trial) -> dict[str, Any]:
        """A trial as the page has it: pictures by their numbers, queries under concealed names."""
        return {
            "run": trial.run,
            "unit": trial.unit,
            "condition": trial.condition,
            "task": trial.task,
            "minimising": [self._place(trial.run, one) for one in trial.minimising],
            "maximising": [self._place(trial.run, one) for one in trial.maximising],
            "queries": [
                {"name": concealed(q), "picture": self._place(trial.run, q)} for q in trial.queries
            ],
        }

    def _place(self, run: str, picture: str | Path) -> int:
        key = (run, str(picture))
        if key not in self._places:
            made = picture if isinstance(picture, Path) else self._photograph(run, picture)
            self._places[key] = len(self.pictures)
            self.pictures.append(_data(made))
        return self._places[key]

    def _photograph(self, run: str, name: str) -> Image.Image:
        """A photograph as the run's network saw it."""
        saved = self._runs[run]
        if run not in self._files:
            self._files[run] = _photographs(saved)
        if name not in self._files[run]:
            raise RequestError(f"{saved.folder}: the photograph {name} is no longer there")
        seen = Preprocessing(**saved.record.model.preprocessing)
        try:
            with working_directory(saved.record.directory):
                return Image.fromarray(to_bytes(photographs.load(self._files[run][name], seen)))
        except UnreadableError as error:
            raise RequestError(str(error)) from None


def _photographs(run: SavedRun) -> Mapping[str, Path]:
    """The files of a run's photographs by the names that its records give them."""
    with working_directory(run.record.directory):
        files = photographs.find(run.record.setting("grounding", "images") or [])
        named = {photographs.shown(file): file for file in files}
    if len(named) < len(files):
        raise RequestError(f"{run.folder}: two of its photographs have the same name")
    return named


def _data(picture: Image.Image | Path) -> str:
    """A picture as a data: address, at most `SIDE` px on a side."""
    image = Image.open(picture) if isinstance(picture, Path) else picture
    with image:
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        made = io.BytesIO()
        small.save(made, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(made.getvalue()).decode()}"
