"""Folders of one's own configs (`--config-dir`) whose YAML is broken, huge or malicious."""

import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.hostile.case import CANARY, QUICK, RUN, TEXT, Draft, damaged

HEAD = "# @package _global_\n"
PLAIN = f"""{HEAD}defaults:
  - override /transforms: none
target:
  layer: layer1
  units: [0, 3]
engine:
  seed: 7
"""
CODE = f"!!python/object/apply:os.system ['touch {CANARY}']"
WHOLE = {  # whole files
    "syntax": "engine: [1, 2\ntarget: }",
    "tab": "engine:\n\tseed: 1\n",
    "colons": "a: b: c\n",
    "indent": "engine:\n  seed: 1\n seed: 2\n",
    "quote": "engine: 'x\n",
    "version": "%YAML 9.9\n---\nengine: {}\n",
    "directive": "%TAG ! tag:example.com,2000:\n---\n!x {a: 1}\n",
    "undefined alias": "engine: *x\n",
    "unknown tag": "engine: !nosuch {seed: 1}\n",
    "empty": "",
    "package": "# @package nosuch.place\nengine: {seed: 1}\n",
    "package below": "# @package _global_.engine.seed\nx: 1\n",
    "no package": "engine: {seed: 1}\n",
    "odd package": "# @package ${engine.seed}\nx: 1\n",
    "empty package": "# @package\nx: 1\n",
    "includes itself": "defaults: [x]\n",
    "includes itself absolutely": "defaults: [/experiment/x]\n",
    "includes a circle": "defaults: [y]\n",
    "defaults are no list": "defaults: {a: 1}\n",
    "defaults are a number": "defaults: 3\n",
    "defaults hold null": "defaults: [null]\n",
    "defaults hold lists": "defaults: [[x]]\n",
    "defaults hold two": "defaults: [{model: a, target: b}]\n",
    "defaults hold a number": "defaults: [3]\n",
    "defaults unknown": "defaults: [{/model: nosuch}]\n",
    "override unknown": "defaults: [{override /nosuch: a}]\n",
    "defaults interpolate": "defaults: [{/model: '${engine.seed}'}]\n",
    "defaults up": "defaults: [../../../etc/passwd]\n",
    "self twice": "defaults: [_self_, _self_]\n",
    "object": f"engine: !!python/object/new:subprocess.Popen [['touch', '{CANARY}']]\n",
}
GLOBAL = {  # what follows HEAD
    "only a comment": "",
    "duplicate keys": "engine:\n  seed: 1\nengine:\n  seed: 2\n",
    "several documents": "engine: {seed: 1}\n---\nengine: {seed: 2}\n",
    "scalar": "3\n",
    "list": "- engine\n- target\n",
    "null": "null\n",
    "section is a list": "engine: [1, 2]\n",
    "section is null": "engine: null\n",
    "section is a number": "target: 5\n",
    "section is text": "model: glyph_vit\n",
    "setting is a mapping": "engine: {seed: {a: 1}}\n",
    "includes config": "defaults: [/config]\n",
    "code": f"engine: {CODE}\n",
    "code as a key": f"? {CODE}\n: 1\n",
    "name": "engine: {seed: !!python/name:os.system }\n",
    "huge number": "engine: {seed: " + "9" * 10_000 + "}\n",
    "no date": "engine: {seed: 2020-99-99}\n",
    "date": "engine: {seed: 2020-01-01}\n",
    "no integer": "engine: {seed: !!int 'x'}\n",
    "no float": "engine: {lr: !!float 'x'}\n",
    "no truth": "engine: {channels_last: !!bool 'x'}\n",
    "no time": "engine: {seed: !!timestamp 'x'}\n",
    "sexagesimal": "engine: {seed: 1:2:3}\n",
    "nan": "engine: {lr: .nan}\n",
    "inf": "engine: {lr: .inf}\n",
    "binary": "engine: {seed: !!binary aGVsbG8=}\n",
    "no binary": "engine: {seed: !!binary '%%%'}\n",
    "set": "engine: {seed: !!set {a, b}}\n",
    "omap": "engine: !!omap [a: 1]\n",
    "pairs": "engine: !!pairs [a: 1]\n",
    "null key": "null: 1\n",
    "number as a key": "1: 2\n1.5: 3\ntrue: 4\n",
    "complex key": "? [a, b]\n: 1\n",
    "mapping as a key": "? {a: b}\n: 1\n",
    "null key below": "engine: {null: 1}\n",
    "number key below": "model: {kwargs: {1: 2, 1.5: 3}}\n",
    "merge": "engine: {<<: 3}\n",
    "merge a list": "engine: {<<: [1]}\n",
    "merge itself": "engine: &e {<<: *e}\n",
    "contains itself": "engine: &e {seed: *e}\n",
    "list contains itself": "target: {units: &u [*u]}\n",
    "interpolates itself": "engine: {seed: '${engine.seed}'}\n",
    "interpolates a circle": "engine: {seed: '${engine.lr}', lr: '${engine.seed}'}\n",
    "interpolates nothing": "engine: {seed: '${nosuch}'}\n",
    "half an interpolation": "engine: {seed: '${nosuch'}\n",
    "unknown resolver": "engine: {seed: '${nosuch:1}'}\n",
    "environment": "engine: {seed: '${oc.env:NO_SUCH}'}\n",
    "missing": "engine: {seed: ???}\n",
    "dotted keys": "engine.seed: 7\n",
    "empty key": "'': 7\n",
    "hydra null": "hydra: null\n",
    "hydra list": "hydra: [1]\n",
    "hydra run null": "hydra: {run: null}\n",
    "hydra callback": "hydra: {callbacks: {x: {_target_: nosuch.Class}}}\n",
    "hydra sweeper": "hydra: {sweeper: {params: [1]}}\n",
    "hydra mode": "hydra: {mode: 3}\n",
    "stray section": "colour: red\n",
    "stray setting": "engine: {stps: 3}\n",
    "escapes": 'engine: {precision: "\\x1b[31m\\u202e\\0"}\n',
    "line breaks": 'engine: {precision: "a\\nb\\r\\nc\\u2028d\\x85e"}\n',
    "surrogate": 'engine: {precision: "\\ud800"}\n',
}
LETTERS = "abcdefghij"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 10)}]\n"
    for before, after in itertools.pairwise(LETTERS)
)
OTHER_FILES = (
    "engine/default.yaml", "config.yaml", "model/glyph_cnn.yaml", "hydra/help/fvis.yaml",
    "experiment/z.yaml",
)  # fmt: skip
ODD_PLACES = (
    "directory", "fifo", "dangling", "loop", "yml", "link to zero", "deep folder",
    "folder is a file", "folder is a fifo", "folder loops", "folder is absent", "folder is long",
    "folder with quotes", "folder with interpolation",
)  # fmt: skip
FOLDERS = {
    "folder with quotes": "it's, [a] {b}",
    "folder with interpolation": "a${b}",
    "folder is long": "x" * 300,
}


def make(rng: random.Random) -> Draft:
    """A run with an experiment of a folder of one's own."""
    if rng.random() < 0.15:
        return _odd_place(rng)
    what, content = _content(rng)
    usual = rng.random() < 0.85
    where = "experiment/x.yaml" if usual else rng.choice(OTHER_FILES)

    def plant(folder: Path) -> None:
        file = folder / "mine" / where
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        if usual:
            (file.parent / "y.yaml").write_text("defaults: [x]\n")

    words = ("--config-dir", "mine", *(("experiment=x",) if usual else ()))
    if rng.random() < 0.08:
        return Draft(("layers", *words), f"{where}: {what}", plant, TEXT)
    return Draft(("run", *QUICK, *words), f"{where}: {what}", plant, RUN)


def _content(rng: random.Random) -> tuple[str, bytes]:
    """What a file is called here, and what it holds."""
    texts = WHOLE | {name: HEAD + text for name, text in GLOBAL.items()}
    draw = rng.random()
    if draw < 0.6:
        name = rng.choice(sorted(texts))
        return name, texts[name].encode("utf-8", "surrogatepass")
    if draw < 0.75:
        return "damaged", damaged(PLAIN.encode(), rng)
    makers: dict[str, Callable[[random.Random], bytes]] = {
        "nested": _nested,
        "flat bomb": _flat_bomb,
        "wide": _wide,
        "long": _long,
        "encoded": _encoded,
        "bomb": lambda _: BOMB.encode(),
    }
    name = rng.choice(sorted(makers))
    return name, makers[name](rng)


def _nested(rng: random.Random) -> bytes:
    depth = rng.choice((200, 900, 5000, 100_000))
    begin, end = rng.choice((("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")))
    return f"{HEAD}engine:\n  {begin * depth}1{end * depth}".encode()


def _flat_bomb(rng: random.Random) -> bytes:
    """Aliases side by side, none inside of an anchored node: many copies all the same."""
    size = rng.choice((100, 1000, 10_000))
    items, aliases = ",".join(["x"] * size), ",".join(["*a"] * size)
    return f"{HEAD}model:\n  kwargs:\n    a: &a [{items}]\n    b: [{aliases}]\n".encode()


def _wide(rng: random.Random) -> bytes:
    count = rng.choice((1000, 30_000, 60_000))
    return (f"{HEAD}engine:\n" + "".join(f"  k{i}: 1\n" for i in range(count))).encode()


def _long(rng: random.Random) -> bytes:
    size = rng.choice((900_000, 1_100_000, 30_000_000))
    return f"{HEAD}engine:\n  precision: '{'x' * size}'\n".encode()


def _encoded(rng: random.Random) -> bytes:
    text = PLAIN + "# ünïcödé 猫\n"
    whole = text.encode()
    return rng.choice(
        (
            text.encode("utf-8-sig"),
            text.encode("utf-16"),
            text.encode("utf-32-be"),
            b"\xff\xfe" + whole,
            "# ü\nengine: {device: ü}\n".encode("latin-1"),
            whole.replace(b"seed", b"se\0ed"),
            whole.replace(b"\n", b"\r"),
            b"\x1b[31m" + whole,
            rng.randbytes(2000),
        )
    )


def _odd_place(rng: random.Random) -> Draft:
    """The file, or the folder, is something else than a file or a folder."""
    what = rng.choice(ODD_PLACES)
    name = FOLDERS.get(what, "mine")

    def plant(folder: Path) -> None:
        place = folder / name
        if what == "folder is a file":
            place.touch()
        elif what == "folder is a fifo":
            os.mkfifo(place)
        elif what == "folder loops":
            place.symlink_to(name)
        elif what not in ("folder is absent", "folder is long"):
            _plant_odd_file(place / "experiment", what)

    return Draft(("run", *QUICK, "--config-dir", name, "experiment=x"), what, plant)


def _plant_odd_file(place: Path, what: str) -> None:
    place.mkdir(parents=True)
    file = place / "x.yaml"
    links = {"dangling": "nosuch", "loop": "x.yaml", "link to zero": "/dev/zero"}
    if what == "directory":
        file.mkdir()
    elif what == "fifo":
        os.mkfifo(file)
    elif what in links:
        file.symlink_to(links[what])
    elif what == "deep folder":
        deep = place / "/".join(["d"] * 200)
        deep.mkdir(parents=True)
        (deep / "z.yaml").write_text("a: [")
        file.write_text(PLAIN)
    else:
        file.with_suffix(".yml" if what == "yml" else ".yaml").write_text(PLAIN)
