"""`fvis layers` and `fvis models`: tables of what can be asked for."""

import argparse
import dataclasses
import fnmatch
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fvis.arguments import config_of, refusing_parser, told_apart
from fvis.errors import RequestError, unknown
from fvis.streams import own_streams

if TYPE_CHECKING:
    from fvis.models.layers import Layer

LAYERS_USAGE = "usage: fvis layers [PATTERN] [--depth N] [--all] [--config-dir DIR] [OVERRIDE...]\n"


def layers(arguments: Sequence[str]) -> int:
    """`fvis layers`: a table of the model's layers that have units; it needs no weights."""
    asked = _layers_parser().parse_args(arguments)
    if asked.help:
        sys.stdout.write(LAYERS_USAGE)
        return 0
    if asked.depth is not None and asked.depth < 1:
        raise RequestError(f"--depth takes a whole number from 1, not {asked.depth}")
    patterns, overrides = told_apart(asked.words)
    config = config_of(overrides, asked.config_dir)
    from fvis import models
    from fvis.models.layers import survey
    from fvis.objectives.selection import matches
    from fvis.objectives.targets import dictionary_of

    plain = dataclasses.replace(config.model, pretrained=False, checkpoint=None)
    with own_streams():
        model = models.load(plain, config.engine.seed)
        every = list(survey(model, config.target.output).values())
        latents = dictionary_of(config.target, model) if config.target.dictionary else None
    found = [
        layer
        for layer in every
        if all(matches(_glob(pattern, "**"), layer.path) for pattern in patterns)
        and (asked.depth is None or layer.path.count(".") < asked.depth)
    ]
    shown = [layer for layer in found if asked.all or layer.units]
    if not found:
        paths = [layer.path for layer in every]
        raise unknown("layer", " ".join(patterns), paths)
    rows = [("layer", "type", "output", "units")]
    for layer in shown:
        rows.append(_layer_row(layer))
        if latents is not None and layer.path == config.target.layer:
            read = f"read: {latents.read}"
            rows.append(("  its dictionary", latents.file, read, str(latents.count)))
    _print_table(rows)
    if len(found) > len(shown):
        sys.stderr.write(f"fvis: {len(found) - len(shown)} without units left out (--all)\n")
    return 0


def _layers_parser() -> argparse.ArgumentParser:
    parser = refusing_parser("fvis layers", LAYERS_USAGE)
    parser.add_argument("--depth", type=int)
    parser.add_argument("--all", action="store_true")
    return parser


def _layer_row(layer: "Layer") -> tuple[str, str, str, str]:
    sizes = (
        f"{axis}={size}" if axis not in "B?" else axis if axis == "B" else str(size)
        for axis, size in zip(layer.axes, layer.shape, strict=True)
    )
    shape = " ".join(sizes) or f"several: {', '.join(map(str, layer.outputs))}"
    prefix = f" ({layer.prefix} prefix)" if layer.prefix else ""
    return layer.path, layer.kind, shape + prefix, str(layer.units or "-")


def _glob(pattern: str, anything: str = "*") -> str:
    """A glob as it is; other text as the glob of the names that have it in them.

    `anything` is what stands for any text.
    """
    return pattern if any(letter in pattern for letter in "*?[") else anything + pattern + anything


def models(arguments: Sequence[str]) -> int:
    """`fvis models`: what model.name accepts, by source; PATTERN is a glob or a part of a name."""
    from fvis.models.sources.base import CATALOGUES

    if len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        raise RequestError("usage: fvis models [PATTERN]")
    pattern = _glob(arguments[0] if arguments else "*")
    rows = [
        (source, name)
        for source in CATALOGUES
        for name in CATALOGUES[source]()
        if fnmatch.fnmatch(name, pattern)
    ]
    if not rows:
        raise RequestError(f"no model matches {arguments[0]!r}")
    _print_table(rows)
    return 0


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
