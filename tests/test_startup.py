"""What a command imports: a wrong request is refused before torch, a short run is no long start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import QUIET, TIMEOUT

# Runs the command line, then prints its exit status and the libraries that it has imported.
CODE = """
import json, os, sys
from fvis import cli
sys.argv = ["fvis", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as ended:
    imported = [name for name in sys.modules if "." not in name or name == "torch._dynamo"]
    print(json.dumps([ended.code, imported, dict(os.environ)]))
"""


def status_and_imports(cwd: Path, *arguments: str) -> tuple[int, set[str], str]:
    """Exit status, top-level modules imported, and what was said on stderr."""
    ran = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=cwd,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    status, imported, environment = json.loads(ran.stdout.splitlines()[-1])
    assert int(environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) < 1024, "kernels fill the memory"
    return status, set(imported), ran.stderr


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("engine.steps=abc", "engine.steps"),
        ("target.units=0-4", "it takes 3, [1,5]"),
        ("target.units=[1,2-3]", "'2-3'"),
        ("target.position=centre", "center"),
        ("model.source=tim", "nearest: timm"),
        ("method.name=texture", "nearest: texture_motion"),
        ("method=texture", "nearest: texture_motion"),
        ("experiment=offline/zhu2025_layers", "nearest: offline/zhu2025_layers_glyph_"),
        ("modle=timm", "nearest: model"),
        ("engine.step=3", "nearest: engine.steps"),
    ],
)
def test_a_wrong_request_is_refused_before_torch_is_imported(
    argument: str, said: str, tmp_path: Path
) -> None:
    status, imported, stderr = status_and_imports(tmp_path, "run", argument)
    assert status == 2
    assert said in stderr
    assert stderr.count("\n") == 1
    assert not imported & {"torch", "timm", "torchvision", "matplotlib"}
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_short_run_of_an_embedded_network_imports_no_library_of_networks(tmp_path: Path) -> None:
    status, imported, _ = status_and_imports(
        tmp_path, "run", "target.units=2", "engine.steps=2", "hydra.run.dir=out"
    )
    assert status == 0
    assert "torch" in imported
    assert not imported & {
        "torch._dynamo",
        "sympy",
        "timm",
        "torchvision",
        "huggingface_hub",
        "matplotlib",
        "skimage",
    }
