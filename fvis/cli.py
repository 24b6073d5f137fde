"""The command line: parse, call, print."""

import contextlib
import io
import logging
import os
import shlex
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from fvis import __version__, completion, compose, launching, schema, waiting
from fvis.concept_command import concept
from fvis.errors import (
    InterruptedRunError,
    JobError,
    RequestError,
    UnwritableError,
    exit_status,
    one_line,
    unknown,
)
from fvis.interruption import end_on_signals, interruptions_first, was_interrupted
from fvis.listing import layers, models
from fvis.streams import ForgivingStream, open_missing, own_streams

if TYPE_CHECKING:
    from fvis.record.run import RunRecord

USAGE = """\
usage: fvis COMMAND ...

  fvis run [OVERRIDE...]          one run; -m for a sweep; --force; --help lists every setting
  fvis resume OUTPUT_DIR          finish an interrupted run or sweep; --force
  fvis interactions [OVERRIDE...]  how units of a layer combine; overrides as of run
  fvis layers [PATTERN] [OVERRIDE...]  the model's layers: path, type, output shape, units;
                                  --depth N, --all
  fvis models [PATTERN]           what model.name accepts, by source
  fvis report OUTPUT_DIR...       (re)build index.html over runs, sweeps, or folders of them;
                                  --single FILE.html: one file to send, pictures inside;
                                  --sheet FILE.png: all pictures on a sheet, as PNG and PDF
  fvis concept WITH WITHOUT [OVERRIDE...]  a direction at target.layer that tells two folders of
                                  photographs apart; --name N, --fit probe, --out FILE, --force
  fvis quiz OUTPUT_DIR...         a page on which people judge the pictures; --tasks N, --seed N;
                                  fvis quiz --score FILE... RUN adds their answers to the run

  fvis --version
  eval "$(fvis run -sc install=bash)"   tab completion; or install=zsh;
                                        in fish: fvis run -sc install=fish | source
"""
FORCE = "--force"
SINGLE, SHEET = "--single", "--sheet"

# What a job does: it gets its config and --force, and returns the path of what it made.
JobFunction = Callable[[schema.Config, launching.LaunchedJob, bool], Path]


def main() -> NoReturn:
    """Entry point: exit status 0 done, 2 the request is wrong, 1 anything else."""
    try:
        _prepare()
        sys.exit(_dispatch(sys.argv[1:]))
    except JobError as error:  # its line was written as the job ended
        if error.jobs:
            sys.stderr.write(f"fvis: error: jobs that failed: {', '.join(error.jobs)}\n")
        sys.exit(error.status)
    except InterruptedRunError as error:
        shown = shlex.quote(str(_relative(error.directory, Path.cwd())))
        how = "the same command again" if error.repeat else f"fvis resume {shown}"
        sys.stderr.write(f"fvis: interrupted; to go on: {how}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("fvis: interrupted\n")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:  # the command line's own last resort: one line
        if was_interrupted():
            sys.stderr.write("fvis: interrupted\n")
            sys.exit(1)
        _show(error)
        sys.exit(exit_status(error))


def _prepare() -> None:
    """Set what holds for the whole process: signals, and how things are told."""
    end_on_signals()
    open_missing()
    sys.stderr = ForgivingStream(sys.stderr)
    threading.excepthook = _show_thread
    warnings.filterwarnings("ignore", category=UserWarning, module="omegaconf")  # of oc.deprecated
    if logging.lastResort:  # what tells warnings before Hydra has set up its own, or without it
        logging.lastResort.setFormatter(logging.Formatter("fvis: %(message)s"))
    waiting.settle()
    # oneDNN keeps a kernel for every shape that it has met. Second tries have a batch size of their
    # own each time, so that by its own 1024 a long run's memory would grow by these alone.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us, who print them in one line


def _dispatch(arguments: Sequence[str]) -> int:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise RequestError("the folder that this is run in is no longer there") from None
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
    option, _, shell = "".join(arguments).partition("install=")
    if option == "-sc" and shell in completion.SCRIPTS:
        sys.stdout.write(completion.SCRIPTS[shell])
        return 0
    words, force = _words_for_hydra(arguments)
    base = Path.cwd()  # hydra.job.chdir changes it
    process, launched = os.getpid(), list[Path]()

    def work(job: launching.LaunchedJob) -> None:
        launched.append(job.directory)
        shown = _run_job(job, force)
        if os.getpid() == process:  # the processes of some launchers have a stdout of their own
            _print_run(shown, base)

    sweeps = launching.HydraCallback.sweeps
    try:
        launching.launch(words, work)
    except InterruptedRunError:
        raise
    except KeyboardInterrupt as interruption:  # between two jobs, say
        for sweep in sweeps:
            raise InterruptedRunError(sweep) from interruption
        raise
    finally:
        for sweep, planned in sweeps.items():
            if not launched:
                _print_done(sweep, planned.done, base)
            _show_sweep(sweep, base)
    return 0


def interactions(arguments: Sequence[str]) -> int:
    """`fvis interactions`: how units of a layer combine; what is finished is used again."""
    words, force = _words_for_hydra(arguments)
    if {"-m", "--multirun"} & set(words):
        raise RequestError("fvis interactions makes no sweep: call it once for each choice")
    base = Path.cwd()
    launching.launch(words, lambda job: _print_path(_run_job(job, force, _study), base))
    return 0


def _words_for_hydra(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments as Hydra takes them, and whether `--force` is among them."""
    words = launching.options_first([word for word in arguments if word != FORCE])
    words = compose.as_in_other_tools(words)
    launching.check_arguments(words)
    return words, FORCE in arguments


def _study(config: schema.Config, job: launching.LaunchedJob, force: bool) -> Path:
    from fvis.interactions import files, study

    try:
        found = study.carry_out(config, job.directory, job.texts, force=force)
    except KeyboardInterrupt as interruption:
        raise InterruptedRunError(job.directory, repeat=True) from interruption
    return files.write(found, job.directory)


def _make(config: schema.Config, job: launching.LaunchedJob, force: bool) -> Path:
    from fvis import runner  # after the settings are checked: it takes a second

    return runner.run(config, job.directory, job.texts, force=force)


def _run_job(job: launching.LaunchedJob, force: bool, work: JobFunction = _make) -> Path:
    """Carry out what Hydra launches; a job of a sweep that fails lets the others go on."""
    try:
        config = schema.parse(job.config)
        with interruptions_first(), own_streams():
            shown = work(config, job, force)
    except KeyboardInterrupt as interruption:
        if job.sweep is not None:
            raise InterruptedRunError(job.sweep) from interruption
        raise
    except Exception as error:
        _show(error)
        raise JobError(exit_status(error)) from None
    return shown


def resume(arguments: Sequence[str]) -> int:
    """`fvis resume`: finish a run, a sweep, or all of them in a folder; prints what it finished."""
    from fvis import resuming
    from fvis.run_folder import SWEEP_FILE

    words = [word for word in arguments if word != FORCE]
    if len(words) != 1 or words[0].startswith("-"):
        raise RequestError("usage: fvis resume OUTPUT_DIR [--force]")
    status, finished, sweeps = 0, 0, set[Path]()
    for work in resuming.unfinished(Path(words[0])):
        try:
            with interruptions_first(), own_streams():
                worked = work(force=FORCE in arguments)
            if worked:
                _print_run(work.directory, Path.cwd())
                finished += 1
                sweeps |= {p for p in work.directory.parents if (p / SWEEP_FILE).is_file()}
        except KeyboardInterrupt as interruption:
            raise InterruptedRunError(Path(words[0])) from interruption
        except Exception as error:  # the others go on
            _show(error)
            failed = exit_status(error)
            status = failed if status == 0 else min(status, failed)
    for sweep in sorted(sweeps):
        _show_sweep(sweep, Path.cwd())
    if finished == 0 and status == 0:
        sys.stderr.write(f"fvis: {words[0]} is done: there is nothing to resume\n")
    return status


def report(arguments: Sequence[str]) -> int:
    """`fvis report`: index.html over all runs in the folders given, and below them.

    It is written into the folder if only one is given, else into the folder around them all. Files
    among them, as a shell's * gives them, are passed over where there are folders too. With
    `--single FILE.html` the page is that one file, and its size is said on stderr. With
    `--sheet FILE.png` all pictures of the runs are laid out on one sheet instead.
    """
    from fvis.gallery.page import write_index, write_single
    from fvis.run_folder import runs_in
    from fvis.workspace import INDEX

    arguments, single = _with_file(arguments, SINGLE, (".html", ".htm"))
    arguments, sheet = _with_file(arguments, SHEET, (".png", ".pdf"))
    if not arguments or any(word.startswith("-") for word in arguments):
        raise RequestError(
            f"usage: fvis report OUTPUT_DIR... [{SINGLE} FILE.html] [{SHEET} FILE.png]"
        )
    if single and sheet:
        raise RequestError(f"fvis report takes {SINGLE} or {SHEET}, not both")
    paths = list(map(Path, arguments))
    folders = [path for path in paths if not path.is_file()] or paths
    runs = runs_in(folders)
    if single is not None:
        write_single(runs, single)
        sys.stderr.write(f"fvis: {single.stat().st_size / 1e6:.1f} MB, with the pictures inside\n")
        _print_path(single)
        return 0
    if sheet is not None:
        from fvis.figures.images import write_contact_sheet

        for file in write_contact_sheet(sheet.with_suffix(""), runs):
            _print_path(file)
        return 0
    if len({folder.resolve() for folder in folders}) == 1:
        place = folders[0]
    else:
        place = Path(os.path.commonpath([folder.resolve().parent for folder in folders]))
    _print_path(write_index(runs, place / INDEX))
    return 0


def quiz(arguments: Sequence[str]) -> int:
    """`fvis quiz`: a page on which people judge pictures; with --score, their answers are added."""
    from fvis.quiz import command

    _print_path(command.quiz(arguments))
    return 0


def _with_file(
    arguments: Sequence[str], option: str, suffixes: Sequence[str]
) -> tuple[list[str], Path | None]:
    """The other arguments, and the file that an option names, where it is given."""
    words = list(arguments)
    if option not in words:
        return words, None
    place = words.index(option)
    named = words[place + 1 : place + 2]
    if not named or Path(named[0]).suffix.lower() not in suffixes:
        raise RequestError(f"{option} takes the name of a file, such as page{suffixes[0]}")
    file = Path(named[0])
    if not file.parent.is_dir():
        raise RequestError(f"{option} {file}: there is no folder {file.parent}")
    return words[:place] + words[place + 2 :], file


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": run,
    "interactions": interactions,
    "resume": resume,
    "layers": layers,
    "models": models,
    "report": report,
    "concept": concept,
    "quiz": quiz,
}


def _complete(arguments: Sequence[str]) -> int:
    """Tab completion: the command itself, models and layers, else Hydra's own for overrides."""
    asked, _, shell = arguments[0].partition("=") if arguments else ("", "", "")
    if asked != "query":
        return run(["-sc", *arguments])
    apart = "\n" if shell in ("fish", "zsh") else " "
    line = os.environ.get("COMP_LINE", "")
    program, _, rest = line.partition(" ")
    command, space, overrides = rest.lstrip().partition(" ")
    if not space:
        sys.stdout.write(apart.join(name for name in COMMANDS if name.startswith(command)) + "\n")
        return 0
    if command not in ("run", "layers", "concept", "interactions"):
        return 0
    found: list[str] | None = []
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()), own_streams():
        found = completion.offered(overrides)
    if found is not None:
        sys.stdout.write(apart.join(found) + "\n")
        return 0
    os.environ["COMP_LINE"] = f"{program} {overrides}"
    return run(["-sc", f"query={'fish' if shell == 'zsh' else shell}"])


def _show(error: BaseException) -> None:
    if os.environ.get("FVIS_TRACEBACK") == "1":
        traceback.print_exception(error)
    sys.stderr.write(f"fvis: error: {one_line(error)}\n")


def _show_thread(ended: threading.ExceptHookArgs) -> None:
    """Say in one line that a thread, which a network may have started, ended with an error."""
    if ended.exc_value is None:
        return
    if os.environ.get("FVIS_TRACEBACK") == "1":
        traceback.print_exception(ended.exc_value)
    sys.stderr.write(f"fvis: warning: a thread ended: {one_line(ended.exc_value)}\n")


def _print_run(folder: Path, base: Path) -> None:
    """What a run has made, and its page, on stderr; its folder on stdout."""
    from fvis.record.unit import DEAD, OK, RESCUED
    from fvis.run_folder import read_run
    from fvis.workspace import INDEX

    record = read_run(folder).record
    counts = {OK: 0, RESCUED: 0, DEAD: 0} | record.statuses
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    seconds, page = record.timings.seconds or 0, _relative(folder / INDEX, base)
    more = f"{success_words(record)}{evidence_words(record)}"
    sys.stderr.write(f"fvis: {told} in {seconds:.1f} s{more}; {page}\n")
    _print_path(folder, base)


def success_words(record: "RunRecord") -> str:
    """How many attacks have succeeded; nothing of other methods."""
    success = record.summary.get("success")
    if success is None or success.mean is None:
        return ""
    return f"; {round(success.mean * success.of)} of {success.of} attacks succeeded"


def evidence_words(record: "RunRecord") -> str:
    """How many pictures are supported by evidence, and so on; nothing where there is none."""
    counts = [f"{count} {word}" for word, count in record.words.items()]
    return f"; evidence: {', '.join(counts)}" if counts else ""


def _print_done(sweep: Path, before: Set[Path], base: Path) -> None:
    """Print the runs that a sweep has done: a launcher has run them in other processes."""
    from fvis.run_folder import is_done, runs_below

    for folder in runs_below(sweep):
        if folder not in before and is_done(folder):
            _print_run(folder, base)


def _show_sweep(folder: Path, base: Path) -> None:
    """Write the page of all runs of a sweep, if there are any, and say on stderr where it is."""
    from fvis.gallery.page import write_index
    from fvis.run_folder import runs_below
    from fvis.workspace import INDEX

    runs = list(runs_below(folder))
    if not runs:
        return
    try:
        page = write_index(runs, folder / INDEX)
    except UnwritableError as error:
        sys.stderr.write(f"fvis: warning: {error}\n")
    else:
        told = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
        sys.stderr.write(f"fvis: {told}; {_relative(page, base)}\n")


def _print_path(path: Path, base: Path | None = None) -> None:
    """A result's path on stdout, seen from where the command was given."""
    try:
        sys.stdout.write(f"{_relative(path, base or Path.cwd())}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnwritableError(Path("stdout"), error.strerror or str(error)) from error


def _relative(path: Path, base: Path) -> Path:
    """The path from a folder, where it lies below."""
    return path.relative_to(base) if path.is_relative_to(base) else path
