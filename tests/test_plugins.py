"""Another package's method, parametrization and source are chosen by name, as fvis's own are."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, QUIET, TIMEOUT

pytestmark = pytest.mark.slow

FILES = {
    "lab-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n",
    "lab-1.0.dist-info/entry_points.txt": (
        "[fvis.methods]\nflat = lab.flat\n"
        "[fvis.parametrizations]\ntint = lab.tint\n"
        "[fvis.sources]\nlab = lab.networks\n"
    ),
    "lab/__init__.py": "",
    "lab/configs/method/flat.yaml": "name: flat\nlevel: 0.25   # grey, from 0 to 1\n",
    "lab/configs/parametrization/tint.yaml": "name: tint\nstart: 0.0\n",
    "lab/configs/model/lab.yaml": "defaults:\n  - glyph_cnn\n\nsource: lab\nname: tiny\n",
    "lab/flat.py": """
import functools
from dataclasses import dataclass

import torch

from fvis import artifacts, schema
from fvis.methods.base import METHODS, Result
from fvis.record.run import UNIT_RECORDS
from fvis.record.unit import UnitRecord
from fvis.settings import setting


@dataclass
class FlatConfig(schema.MethodConfig):
    name: str = "flat"
    level: float = setting(0.25, at_least=0, at_most=1)


@dataclass(frozen=True, kw_only=True)
class FlatRecord(UnitRecord):
    level: float | None = None


schema.register(FlatConfig)
UNIT_RECORDS["flat"] = FlatRecord


@dataclass(frozen=True)
class Job:
    name: str


@METHODS.register("flat")
class Flat:
    refused, inputs, steps, share = {}, (), 1, 1.0
    groups = [[Job("grey")]]

    def __init__(self, context):
        self.context = context

    def solve(self, jobs, run):
        level = self.context.config.method.level
        write = functools.partial(artifacts.write_png, rgb=torch.full((3, 8, 8), level))
        record = FlatRecord(method="flat", model=self.context.model.name, status="ok", level=level)
        return [Result(job.name, record, {"image.png": write}) for job in jobs]
""",
    "lab/tint.py": """
from dataclasses import dataclass

import torch

from fvis import schema
from fvis.parametrizations.base import PARAMETRIZATIONS, Parametrization, leaf


@dataclass
class TintConfig(schema.ParametrizationConfig):
    name: str = "tint"
    start: float = 0.0


schema.register(TintConfig)


@PARAMETRIZATIONS.register("tint")
def build(config, generators, shape, device):
    tint = leaf(torch.full((len(generators), 3, 1, 1), config.start), device)
    return Parametrization((tint,), lambda: torch.sigmoid(tint).expand(-1, *shape))
""",
    "lab/networks.py": """
from torch import nn

from fvis.models.base import Preprocessing
from fvis.models.sources.base import CATALOGUES, SOURCES, SourceModel


@SOURCES.register("lab")
def load(config):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SourceModel(module, Preprocessing(16, 16, None, (0.5,) * 3, (0.5,) * 3))


@CATALOGUES.register("lab")
def names():
    return ["tiny"]
""",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages, with one that extends fvis."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def fvis(site: Path, cwd: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **QUIET, "PYTHONPATH": str(site)}
    return subprocess.run(
        [PROGRAM, *arguments], cwd=cwd, env=environment, capture_output=True, text=True,
        timeout=TIMEOUT, check=False,
    )  # fmt: skip


def test_a_method_of_another_package_runs_with_its_config(site: Path, tmp_path: Path) -> None:
    ran = fvis(site, tmp_path, "run", "method=flat", "method.level=0.5", "hydra.run.dir=out")
    assert ran.returncode == 0, ran.stderr
    text = (tmp_path / "out" / "units" / "grey" / "metadata.json").read_text()
    assert '"level": 0.5' in text
    wrong = fvis(site, tmp_path, "run", "method=flat", "method.level=2", "hydra.run.dir=wrong")
    assert wrong.returncode == 2
    assert "method.level is 2.0; it must be at most 1" in wrong.stderr
    typo = fvis(site, tmp_path, "run", "method=flatt")
    assert typo.returncode == 2


def test_a_parametrization_and_a_source_of_another_package_are_found(
    site: Path, tmp_path: Path
) -> None:
    ran = fvis(
        site, tmp_path, "run", "model=lab", "parametrization=tint", "target.layer='1'",
        "target.units=[2]", "engine.steps=3", "hydra.run.dir=out",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "units" / "1-00002" / "image.png").is_file()
    listed = fvis(site, tmp_path, "models", "tiny")
    assert ["lab", "tiny"] in [line.split() for line in listed.stdout.splitlines()]


def test_a_package_that_cannot_be_imported_is_named(site: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[fvis.methods]\nbroken = nowhere.to.be.found\n")
    others = fvis(tmp_path, tmp_path, "run", "target.units=[1]", "engine.steps=1")
    assert others.returncode == 0, "a run that does not need it goes on"
    ran = fvis(tmp_path, tmp_path, "run", "method.name=broken", "engine.steps=1")
    assert ran.returncode == 2
    assert "entry point 'broken' fails" in ran.stderr
    assert ran.stderr.count("\n") == 1
