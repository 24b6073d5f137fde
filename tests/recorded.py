"""Records that real runs wrote: one short run of every method, made once per test session."""

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

from fvis import runner, schema
from fvis.compose import compose
from tests.conftest import SMALL_CLIPS

SETTINGS = {
    "activation_maximization": ("target.units=3", "engine.steps=2"),
    "texture_motion": (
        "model=drift_r3d",
        *SMALL_CLIPS,
        "target.units=3",
        "engine.steps=2",
        "method.steps=2",
        "method.pilot_steps=1",
        "output.mp4=false",
    ),
    "adversarial": (
        "method.images=zoo:glyphs",
        "method.target=3",
        "engine.steps=2",
        "method.models=[zoo/glyph_vit]",
        "method.transfer=[zoo/glyph_vit]",
    ),
    "accentuation": (
        "parametrization.start=zoo:glyphs/03-striped-disc.png",
        "target.units=3",
        "engine.steps=2",
    ),
    "inversion": ("method.images=zoo:glyphs", "target.layer=layer2", "engine.steps=2"),
}
_FOLDER = tempfile.TemporaryDirectory(prefix="fvis-recorded-")


@functools.cache
def run_folder(method: str) -> Path:
    """The folder of the method's run."""
    config = schema.parse(compose([f"method={method}", *SETTINGS[method], "engine.device=cpu"]))
    return runner.run(config, Path(_FOLDER.name) / method)


def run_json(method: str) -> dict[str, Any]:
    """What the run's run.json holds."""
    content: dict[str, Any] = json.loads((run_folder(method) / "run.json").read_text())
    return content


def unit_json(method: str) -> dict[str, Any]:
    """What the metadata.json of the run's first unit holds."""
    files = sorted((run_folder(method) / "units").glob("*/metadata.json"))
    content: dict[str, Any] = json.loads(files[0].read_text())
    return content
