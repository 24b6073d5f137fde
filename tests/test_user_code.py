"""What a user's own network does wrong is an error of its own, and never looks like success."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Call

NETWORK = """
import sys

from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        {init}
        self.conv = nn.Conv2d(3, 4, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        {forward}
        return self.conv(x).mean((2, 3))

def build(layers=1):
    {build}
    return Net()

{top}
"""
OWN = {
    "top": "1 / 0", "build": "raise OSError(2, 'own')", "init": "raise KeyError('x')",
    "forward": "raise LookupError", "later": "if self.calls > 4: raise KeyError('x')",
}  # fmt: skip
PLACES = ("top", "build", "init", "forward")
SETTINGS = (
    "model.source=factory", "model.factory=net.py:build", "model.input.height=16",
    "model.input.width=16", "engine.steps=2", "engine.device=cpu",
)  # fmt: skip


def network(folder: Path, **code: str) -> None:
    lines = {place: code.get(place, "pass") for place in PLACES}
    (folder / "net.py").write_text(NETWORK.format(**lines))


@pytest.mark.parametrize("place", [*PLACES, "later"])
def test_code_that_exits_is_an_error(forked_fvis: Call, tmp_path: Path, place: str) -> None:
    code = {"forward": "if self.calls > 4: sys.exit(0)"} if place == "later" else None
    network(tmp_path, **(code or {place: "sys.exit(0)"}))
    ran = forked_fvis("run", *SETTINGS, "hydra.run.dir=out", cwd=tmp_path)
    assert ran.returncode in (1, 2)
    assert ran.stdout == ""
    assert "sys.exit(0)" in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("place", OWN)
def test_an_error_of_its_own_is_told_as_such(forked_fvis: Call, tmp_path: Path, place: str) -> None:
    network(tmp_path, **{"forward" if place == "later" else place: OWN[place]})
    ran = forked_fvis("run", *SETTINGS, "hydra.run.dir=out", cwd=tmp_path)
    assert ran.returncode == (1 if place == "later" else 2)
    line = ran.stderr.splitlines()[-1]
    assert line.startswith("fvis: error: ") and "net.py" in line
    assert re.search("ZeroDivisionError|FileNotFoundError|KeyError|LookupError", line)


@pytest.mark.parametrize("code", ["raise GeneratorExit", "sys.stderr = None", "sys.exit(3)"])
def test_the_streams_and_the_status_stay_ours(forked_fvis: Call, tmp_path: Path, code: str) -> None:
    network(tmp_path, build=code, init="raise ValueError('own')")
    ran = forked_fvis("run", *SETTINGS, "hydra.run.dir=out", cwd=tmp_path)
    assert ran.returncode in (1, 2)
    assert ran.stderr.startswith("fvis: error: ") and ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("torch.jit.script(nn.Conv2d(3, 4, 3))", "scripted"),
        ("nn.LazyConv2d(4, 3)", "no shape before"),
        ("nn.Conv2d(3, 4, 3).to('meta')", "meta device"),
    ],
)
def test_a_network_whose_layers_or_numbers_are_out_of_reach_is_refused(
    forked_fvis: Call, tmp_path: Path, network: str, says: str
) -> None:
    code = f"import torch\nfrom torch import nn\ndef build():\n    return {network}\n"
    (tmp_path / "net.py").write_text(code)
    ran = forked_fvis("run", *SETTINGS, "hydra.run.dir=out", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in ran.stderr.splitlines()[-1]


def test_a_sweeps_other_jobs_go_on(forked_fvis: Call, tmp_path: Path) -> None:
    network(tmp_path, build="if layers == 2: sys.exit(0)")
    ran = forked_fvis(
        "run", "-m", *SETTINGS, "+model.kwargs.layers=1,2,3", "hydra.sweep.dir=s", cwd=tmp_path
    )
    assert ran.returncode == 1
    assert ran.stdout.split() == ["s/0", "s/2"]
    assert "sys.exit(0)" in ran.stderr


def test_a_run_without_one_unit_alive_fails(forked_fvis: Call, tmp_path: Path) -> None:
    network(tmp_path, forward="return self.conv(x).mean((2, 3)) * float('nan')")
    ran = forked_fvis("run", *SETTINGS, "hydra.run.dir=out", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "no finite number for any of the 4 units" in ran.stderr.splitlines()[-1]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["statuses"] == {"dead": 4}
    assert (tmp_path / "out" / "index.html").is_file()


def test_an_attack_on_a_network_of_nan_is_no_success(forked_fvis: Call, tmp_path: Path) -> None:
    network(tmp_path, forward="return self.conv(x).mean((2, 3)) * float('nan')")
    ran = forked_fvis(
        "run", *SETTINGS, "method=adversarial", "method.images=zoo:glyphs", "method.target=2",
        "hydra.run.dir=out", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert set(record["statuses"]) == {"dead"}
    assert record["summary"]["success"]["mean"] == 0


def test_what_a_network_prints_without_an_end_does_not_share_our_line(
    forked_fvis: Call, tmp_path: Path
) -> None:
    text = "def build():\n    print('no end', end='')\n    raise ValueError('broken')\n"
    (tmp_path / "net.py").write_text(text)
    size = ("model.input.height=8", "model.input.width=8")
    ran = forked_fvis(
        "run", "model=factory", "model.factory=net.py:build", *size, cwd=tmp_path
    )  # fmt: skip
    assert ran.returncode == 2
    printed, said = ran.stderr.splitlines()
    assert printed == "no end"
    assert said.startswith("fvis: error: ") and "broken" in said
