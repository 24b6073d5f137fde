"""`index.html`: the units of one or more runs, on a page that needs nothing but a browser.

It is written as the units are read, so that its size costs no memory. The browser, too, shows them
page by page.
"""

import base64
import functools
import mimetypes
import os
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote_to_bytes

from jinja2 import Environment, PackageLoader
from jinja2.utils import htmlsafe_json_dumps

from fvis import artifacts, whole_files
from fvis.evidence.record import WORDS
from fvis.gallery.contents import ENTRY, Contents
from fvis.gallery.units import shown_text, shown_units, tidy
from fvis.origin import differing_words
from fvis.record.run import RUNNING, RunRecord
from fvis.run_folder import SavedRun, read_run
from fvis.typed_json import to_json

LONGEST_NAME = 100  # characters of what tells a run from the others
PAGE = 400  # units whose cards the browser adds at once
INTERACTIONS = "interactions.html"  # the page of `fvis interactions`, beside its `index.html`


def write_index(runs: Sequence[Path], path: Path) -> Path:
    """Write the page of all units of `runs` to `path`; raises `RequestError` if one has no run.

    The page links to the runs' files by relative paths and works from `file://`. What a run lacks
    (units, keys of an older schema, finite numbers) is left out or shown as missing.
    """
    return write_page([read_run(run) for run in runs], path)


def write_page(runs: Sequence[SavedRun], path: Path) -> Path:
    """Write the page of all units of `runs` to `path`, as `write_index` does."""
    return _write(runs, path, [])


def write_single(runs: Sequence[Path], path: Path) -> Path:
    """Write the page of all units of `runs` as one file, with its pictures inside, to be sent.

    Other files of the units (numbers of clips, MP4s) are left out. Raises as `write_index` does.
    """
    saved = [read_run(run) for run in runs]
    pictures = [
        picture
        for run in saved
        for unit in shown_units(run, path.parent)
        for picture in (f"{unit['folder']}/{file['link']}" for file in unit["pictures"])
    ]
    return _write(saved, path, pictures)


COUNTS = {f"evidence.{word}" for word in WORDS}  # means that are told as counts
SUMMARY = {  # names of others
    "evidence.observer.natural": "observer's accuracy by photographs",
    "evidence.observer.synthetic": "observer's accuracy by pictures",
    "evidence.observer.gap": "observer's gap",
    "evidence.people.natural": "people's accuracy by photographs",
    "evidence.people.synthetic": "people's accuracy by pictures",
}


def _write(runs: Sequence[SavedRun], path: Path, inside: Sequence[str]) -> Path:
    """Write the page of `runs`; `inside` has the links to the pictures that it holds itself."""
    folders = _run_names([run.folder for run in runs], path.parent)
    own = differing_words([run.folder for run in runs])
    pairs = zip(folders, own, strict=True)
    names = [f"{name}: {_short(words)}" if words else name for name, words in pairs]
    headers = [_header(run, name) for run, name in zip(runs, names, strict=True)]
    templates, contents = _templates(), Contents()
    with whole_files.whole_file(path) as place, _spool() as data, _spool() as table:
        first = ""
        for number, units in enumerate(_pages(_all_units(runs, folders, names, path.parent))):
            units = [unit | {"files": []} for unit in units] if inside else units
            rows = ",".join(map(_as_json, contents.add(units)))
            table.write(f",{rows}" if number else rows)
            cards = templates.get_template("cards.html").render(
                units=units, single=bool(inside), several=len(runs) > 1
            )
            first = first or cards
            page = templates.get_template("data.html")
            data.write(page.render(units=units, cards=cards if number else ""))
        for spooled in (data, table):
            spooled.seek(0)
        templates.get_template("index.html").stream(
            runs=headers,
            count=contents.count,
            cards=first,
            page_size=PAGE,
            size=_size(inside, path.parent),
            inside=((link, _as_data(_file_of(link, path.parent))) for link in inside),
            keys=ENTRY,
            rows=_pieces(table),
            models=len({header["model"] for header in headers}),
            interactions=_interactions(path.parent) if not inside else None,
            atlas=contents.atlas([run.record for run in runs]),
            choices=contents.choices(),
            sorts=contents.sorts(),
            data=_pieces(data),
        ).dump(str(place), "utf-8", "backslashreplace")
    return path


def write_interactions(path: Path, content: Mapping[str, Any]) -> Path:
    """Write the page of how units combine, `interactions.html`, from what it is to show."""
    artifacts.write_text(path, _templates().get_template("interactions.html").render(content))
    return path


def _interactions(folder: Path) -> str | None:
    """The page of how the units of a folder's runs combine, if there is one, as a link."""
    return INTERACTIONS if (folder / INTERACTIONS).is_file() else None


@functools.cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("fvis.gallery"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    environment.filters["number"] = four_digits
    environment.filters["address"] = lambda text: quote(text, safe="")
    return environment


def _file_of(link: str, base: Path) -> Path:
    return base / os.fsdecode(unquote_to_bytes(link))


def _as_data(file: Path) -> str:
    """A picture as an address that holds the picture itself."""
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _size(inside: Sequence[str], base: Path) -> str | None:
    """The size of the pictures that a page holds, as it holds them; None for a page of links."""
    if not inside:
        return None
    size = sum(_file_of(link, base).stat().st_size for link in inside) * 4 / 3
    return f"{max(size, 1e5) / 1e6:.1f} MB"


def _spool() -> IO[str]:
    """A temporary file for what the page's end will hold."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="")


_as_json = functools.partial(htmlsafe_json_dumps, separators=(",", ":"))


def _pieces(spooled: IO[str]) -> Iterator[str]:
    return iter(lambda: spooled.read(1 << 16), "")


def _all_units(
    runs: Sequence[SavedRun], folders: Sequence[str], names: Sequence[str], base: Path
) -> Iterator[dict[str, Any]]:
    for run, folder, name in zip(runs, folders, names, strict=True):
        for unit in shown_units(run, base):
            yield unit | {"run": name, "id": f"{folder}/{unit['name']}"}


def _pages(units: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(units)
    while page := list(islice(remaining, PAGE)):
        yield page


def four_digits(value: Any) -> str:
    """A number with four significant digits, or "not finite" where `tidy` made it None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not finite"
    return f"{value:.4g}"


def _run_names(runs: Sequence[Path], base: Path) -> list[str]:
    """A name for each run: its folder's, or its path from `base` where folders share a name."""
    names = [run.resolve().name for run in runs]
    often = Counter(names)
    paths = [os.path.relpath(run.resolve(), base.resolve()) for run in runs]
    return [shown_text(p if often[n] > 1 else n) for n, p in zip(names, paths, strict=True)]


def _short(words: str) -> str:
    """The words of a command that fit into `LONGEST_NAME` characters."""
    return textwrap.shorten(shown_text(words), LONGEST_NAME, placeholder=" …")


def _layers(record: RunRecord) -> str | None:
    """The run's layer; of several, what was asked for and how many they are."""
    asked = record.setting("target", "layer")
    words = asked if isinstance(asked, str | None) else ", ".join(map(str, asked))
    if len(record.layers) < 2:
        return next(iter(record.layers), words)
    return f"{words} ({len(record.layers)} layers)"


def _header(run: SavedRun, name: str) -> dict[str, Any]:
    """What the page says about a run as a whole."""
    record = run.record
    header = {
        "name": name,
        "status": run.status,
        "model": record.model.name,
        "sha256": record.model.weights.sha256,
        "method": record.setting("method", "name"),
        "layer": _layers(record),
        "device": record.device,
        "statuses": record.statuses,
        "made": run.made,
        "asked": len(record.jobs),
        "at": datetime.now(UTC).isoformat() if run.status == RUNNING else None,
        "started": record.timings.started,
        "seconds": record.timings.seconds,
        "versions": record.versions,
        "words": record.words,
        "judged": sum(record.words.values()),
        "summary": {
            SUMMARY.get(k, shown_text(k)): to_json(v)
            for k, v in record.summary.items()
            if v.mean is not None and k not in COUNTS
        },
        "refused": record.refused,
    }
    return {key: tidy(value) for key, value in header.items()}
