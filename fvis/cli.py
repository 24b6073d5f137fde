"""The command line: parse, call, print."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser  # the parser that hydra.main uses
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fvis import __version__, schema
from fvis.errors import RequestError, unknown

USAGE = """\
usage: fvis COMMAND ...

  fvis run [OVERRIDE...]          one run; -m for a sweep; --help lists every setting
  fvis layers [OVERRIDE...]       the model's layers: path, type, output shape, units
  fvis models [PATTERN]           what model.name accepts, by source
  fvis report OUTPUT_DIR...       (re)build index.html over one or more runs

  fvis --version
  eval "$(fvis run -sc install=bash)"   tab completion
"""
HYDRA_BASE = "1.3"


def main() -> NoReturn:
    """Entry point: exit status 0 done, 2 the request is wrong, 1 anything else."""
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us, who print them in one line
    try:
        sys.exit(_dispatch(sys.argv[1:]))
    except (RequestError, HydraException, OmegaConfBaseException) as error:
        _fail(error, 2)
    except _JobError as error:  # its line was written as the job ended
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.stderr.write("fvis: interrupted\n")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:  # the command line's own last resort: one line, status 1
        _fail(error, 1)


def _dispatch(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(USAGE)
        return 0 if arguments else 2
    command, *rest = arguments
    if command == "--version":
        sys.stdout.write(f"fvis {__version__}\n")
        return 0
    if command in ("-sc", "--shell-completion"):
        return _complete(rest)
    if command not in COMMANDS:
        raise unknown("command", command, COMMANDS)
    return COMMANDS[command](rest)


def run(arguments: Sequence[str]) -> int:
    """`fvis run`: one run, or with -m a sweep; each prints its folder as it ends."""
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # one line, not argparse's usage
    parser.parse_args(arguments)
    sys.argv = [sys.argv[0], *arguments]
    _hydra_main()(_task)()
    return 0


def _refuse(message: str) -> NoReturn:
    raise RequestError(f"{message}; see `fvis run --help`")


def layers(arguments: Sequence[str]) -> int:
    """`fvis layers`: a table of the model's layers."""
    from fvis import models
    from fvis.models.layers import survey

    config = schema.parse(_compose(arguments))
    found = survey(models.load(config.model, config.engine.seed), config.target.output)
    rows = [("layer", "type", "output", "units")]
    for layer in found.values():
        sizes = (
            f"{axis}={size}" if axis not in "B?" else axis if axis == "B" else str(size)
            for axis, size in zip(layer.axes, layer.shape, strict=True)
        )
        shape = " ".join(sizes) or f"several: {', '.join(map(str, layer.outputs))}"
        prefix = f" ({layer.prefix} prefix)" if layer.prefix else ""
        rows.append((layer.path, layer.kind, shape + prefix, str(layer.units or "-")))
    _print_table(rows)
    return 0


def models(arguments: Sequence[str]) -> int:
    """`fvis models`: what model.name accepts, by source; PATTERN is a glob or a part of a name."""
    import fnmatch

    from fvis.models.sources.base import CATALOGUES

    if len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        raise RequestError("usage: fvis models [PATTERN]")
    pattern = arguments[0] if arguments else "*"
    pattern = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
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


def report(arguments: Sequence[str]) -> int:
    """`fvis report`: index.html over the runs given, in the run or in a folder around them all.

    Files among them, as a shell's * gives them, are passed over where there are folders too.
    """
    from fvis.report.gallery import write_index

    if not arguments:
        raise RequestError("usage: fvis report OUTPUT_DIR...")
    paths = list(map(Path, arguments))
    folders = [path for path in paths if not path.is_file()]
    runs = {path.resolve(): path for path in folders or paths}
    if len(runs) == 1:
        place = next(iter(runs.values()))
    else:
        place = Path(os.path.commonpath([run.parent for run in runs]))
    _print_path(write_index(list(runs.values()), place / "index.html"))
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": run,
    "layers": layers,
    "models": models,
    "report": report,
}


def config_directory() -> Path:
    """The folder of configs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def _task(composed: DictConfig) -> None:
    """What Hydra calls for each job."""
    from fvis import runner

    settings = HydraConfig.get()
    single = settings.mode is RunMode.RUN
    directory = Path(settings.runtime.output_dir)
    records = {
        ".hydra/config.yaml": OmegaConf.to_yaml(composed),
        ".hydra/hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})),
        ".hydra/overrides.yaml": OmegaConf.to_yaml(settings.overrides.task),
    }
    try:
        shown = runner.run(schema.parse(composed), directory, records)
    except Exception as error:
        status = 2 if isinstance(error, RequestError) else 1
        if status == 2:
            _remove_if_empty(directory)
        if single:  # Hydra would add a line of its own
            _fail(error, status)
        _show(error)
        raise _JobError(status) from None
    _print_path(shown)


def _hydra_main() -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    return hydra.main(
        version_base=HYDRA_BASE, config_path=str(config_directory()), config_name="config"
    )


def _compose(arguments: Sequence[str]) -> DictConfig:
    """The config that `fvis run` would use with these arguments."""
    overrides = []
    words = iter(arguments)
    for word in words:
        if word == "--config-dir":
            overrides.append(f"hydra.searchpath=[file://{Path(next(words, '')).resolve()}]")
        elif word.startswith("-"):
            raise RequestError(f"no option {word!r}; there is: --config-dir")
        else:
            overrides.append(word)
    with hydra.initialize_config_dir(str(config_directory()), version_base=HYDRA_BASE):
        return hydra.compose("config", overrides)


def _complete(arguments: Sequence[str]) -> int:
    """Tab completion: the command itself, then Hydra's own for its overrides."""
    line = os.environ.get("COMP_LINE", "")
    program, _, rest = line.partition(" ")
    command, space, overrides = rest.lstrip().partition(" ")
    if not space:
        sys.stdout.write(" ".join(name for name in COMMANDS if name.startswith(command)) + "\n")
        return 0
    if command not in ("run", "layers"):
        return 0
    os.environ["COMP_LINE"] = f"{program} {overrides}"
    return run(["-sc", *arguments])


class _JobError(Exception):
    """A job of a sweep failed, and has said why; the others go on."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _fail(error: BaseException | None, status: int) -> NoReturn:
    _show(error)
    sys.exit(status)


def _show(error: BaseException | None) -> None:
    if os.environ.get("FVIS_TRACEBACK") == "1":
        traceback.print_exception(error)
    sys.stderr.write(f"fvis: error: {_one_line(error)}\n")


def _one_line(error: BaseException | None) -> str:
    if isinstance(error, HydraException) and str(error).startswith("Could not override"):
        name = str(error).split("'")[1]
        return str(unknown("setting", name, _setting_names()))
    text = " ".join(str(error).split())
    return text or type(error).__name__


def _setting_names() -> Iterable[str]:
    for section, kind in schema.SECTIONS.items():
        yield from schema.setting_names(section, kind)
    for section, kinds in schema.CHOICES.items():
        for kind in kinds.values():
            yield from schema.setting_names(section, kind)


def _remove_if_empty(directory: Path) -> None:
    """Take away the folders Hydra made for a run that never began; never the user's own place."""
    base = Path.cwd()
    for folder in (directory, *directory.parents):
        if folder == base or not (folder == directory or folder.is_relative_to(base)):
            return
        try:
            folder.rmdir()
        except OSError:
            return


def _print_path(path: Path) -> None:
    """A result's path on stdout, relative where it lies below the current directory."""
    base = Path.cwd()
    sys.stdout.write(f"{path.relative_to(base) if path.is_relative_to(base) else path}\n")
    sys.stdout.flush()


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
