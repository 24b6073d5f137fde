"""`fvis concept`: fits a concept's direction, and writes it only if it tells photographs apart."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fvis.arguments import config_of, refusing_parser, told_apart
from fvis.errors import RequestError
from fvis.streams import own_streams

FITS = ("mean", "probe")
USAGE = (
    "usage: fvis concept WITH WITHOUT [--name NAME] [--fit mean|probe] [--out FILE] [--force] "
    "[--config-dir DIR] [OVERRIDE...]\n"
)


def concept(arguments: Sequence[str]) -> int:
    """`fvis concept`: a direction at target.layer from photographs without a concept to those with.

    A direction whose held-out accuracy is not above chance is refused; `--force` writes it all the
    same, as a control.
    """
    asked = _parser().parse_args(arguments)
    if asked.help:
        sys.stdout.write(USAGE)
        return 0
    folders, overrides = told_apart(asked.words)
    if len(folders) != 2:
        raise RequestError(f"two folders of photographs are needed; {USAGE.strip()}")
    config = config_of(overrides, asked.config_dir)
    from fvis.artifacts import safe_name
    from fvis.concepts import add_concept, fit_concept
    from fvis.context import prepare  # after the settings are checked: it takes a second

    name = safe_name(asked.name or Path(folders[0]).resolve().name)
    path = asked.out or Path(safe_name(f"{name}-{config.target.layer}") + ".safetensors")
    with own_streams():
        found = fit_concept(prepare(config), (folders[0], folders[1]), asked.fit)
    record = found[0]
    told = (
        f"{name} at {record.layer}: held-out accuracy {record.accuracy:.2f} "
        f"({' and '.join(map(str, record.photographs))} photographs; chance reaches "
        f"{record.chance:.2f} in one of twenty)"
    )
    if not record.separates and not asked.force:
        raise RequestError(f"{told}: this direction shows nothing (--force writes it as a control)")
    add_concept(path, name, found)
    sys.stderr.write(f"fvis: {told}\n")
    sys.stdout.write(f"{path}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = refusing_parser("fvis concept", USAGE)
    parser.add_argument("--name")
    parser.add_argument("--fit", choices=FITS, default="mean")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--force", action="store_true")
    return parser
