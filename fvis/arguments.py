"""What commands with options of their own make of their words: an options parser, and a config."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fvis import compose, schema
from fvis.errors import RequestError
from fvis.schema import Config

OVERRIDE = re.compile(r"~|\+{0,2}\w[\w@/.]*=")  # how Hydra's overrides of settings begin


def refusing_parser(program: str, usage: str) -> argparse.ArgumentParser:
    """A parser of `words` and --config-dir, which raises `RequestError` for what it cannot read."""
    parser = argparse.ArgumentParser(program, add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--config-dir", type=Path)
    parser.add_argument("words", nargs="*")

    def refuse(message: str) -> NoReturn:
        raise RequestError(f"{message}; {usage.strip()}")

    parser.error = refuse  # type: ignore[method-assign]  # one line, not argparse's own
    return parser


def told_apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that stand for themselves, and those that change the config: `a=b` and `~a`.

    What is the name of a file or folder stands for itself, and so does `./a=b`.

    >>> told_apart(["photos", "target.layer=layer2", "~prior", "./layer=2"])
    (['photos', './layer=2'], ['target.layer=layer2', '~prior'])
    """
    overrides = [word for word in words if OVERRIDE.match(word) and not _is_there(word)]
    return [word for word in words if word not in overrides], overrides


def _is_there(word: str) -> bool:
    try:
        return Path(word).exists()
    except OSError:  # longer than a name may be
        return False


def config_of(overrides: Sequence[str], directory: Path | None) -> Config:
    """The config that `fvis run` would use with these overrides, and a `--config-dir`."""
    if directory is not None:
        compose.check_config_directory(directory)
    return schema.parse(compose.compose(overrides, directory=directory))
