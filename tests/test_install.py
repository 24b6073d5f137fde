"""The built wheel, installed away from the checkout, holds all that a run needs."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.conftest import QUIET, ROOT, TIMEOUT
from tests.test_cli import files, read

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    ran = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **QUIET, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built of the checkout."""
    pytest.importorskip("build", reason="needs the dev extra: build, hatchling")
    pytest.importorskip("hatchling", reason="needs the dev extra: build, hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    run(*command, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment's Python: the wheel is its own, the dependencies this environment's."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place.parent)
    interpreter = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", interpreter, "install")
    run(*pip, "--no-deps", "--no-index", "--quiet", wheel, cwd=place.parent)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    library = Path(run(interpreter, "-c", code, cwd=place.parent).stdout.strip())
    # a plain path line: dependencies are found, the checkout's own editable hook is not run
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


def test_the_wheel_holds_package_configs_weights_and_page_but_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    configs = {f"fvis/configs/{name}" for name in files(ROOT / "configs")}
    weights = {f"fvis/zoo/weights/{name}" for name in files(ROOT / "fvis" / "zoo" / "weights")}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "fvis").rglob("*.py")}
    assert configs | weights | modules | {"fvis/gallery/templates/index.html"} <= names
    assert not [name for name in names if name.startswith(("tests/", "outputs/"))]
    assert not [name for name in names if "__pycache__" in name]


def test_the_installed_package_is_not_the_checkout(python: Path, tmp_path: Path) -> None:
    code = "import fvis, fvis.compose; print(fvis.__file__); print(fvis.compose.config_directory())"
    module, configs = run(python, "-c", code, cwd=tmp_path).stdout.splitlines()
    for path in (Path(module), Path(configs)):
        assert path.is_relative_to(python.parent.parent)
        assert not path.is_relative_to(ROOT)
    assert files(Path(configs)) == files(ROOT / "configs")


def test_the_installed_program_makes_a_picture(python: Path, tmp_path: Path) -> None:
    overrides = ("target.units=[2]", "engine.steps=2", "engine.device=cpu", "hydra.run.dir=out")
    ran = run(python.with_name("fvis"), "run", *overrides, cwd=tmp_path)
    assert ran.stdout == "out\n"
    assert read(tmp_path / "out" / "run.json")["status"] == "done"
    assert files(tmp_path / "out" / "units") == {
        "logits-00002/image.png",
        "logits-00002/metadata.json",
    }
    assert (tmp_path / "out" / "index.html").is_file()
