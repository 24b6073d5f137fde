"""`parametrization.start`: a run's pictures start as a photograph."""

import json
from pathlib import Path

import pytest
import torch

from fvis import models, photographs, runner, schema
from fvis.artifacts import read_png
from fvis.compose import compose
from fvis.errors import RequestError

GLYPH = "zoo:glyphs/03-striped-disc.png"
WORDS = ("target.layer=layer1", "target.units=[3,5]", "engine.device=cpu", "transforms=none")


def config_of(*words: str) -> schema.Config:
    return schema.parse(compose([*WORDS, *words]))


@pytest.mark.parametrize("name", sorted(schema.PARAMETRIZATIONS))
def test_the_saved_picture_is_the_photograph_until_a_step_changes_it(
    name: str, tmp_path: Path
) -> None:
    (file,) = photographs.find(GLYPH)
    words = (f"parametrization={name}", f"parametrization.start={file}", "engine.steps=1")
    runner.run(config_of(*words, "engine.lr=1e-9"), tmp_path / "still")
    model = models.load(config_of().model)
    clean = photographs.load(file, model.preprocessing)
    for unit in (3, 5):
        folder = tmp_path / "still" / "units" / f"layer1-{unit:05d}"
        assert torch.equal(torch.from_numpy(read_png(folder / "image.png")), clean)
        assert not (folder / "motif.png").exists(), "the whole picture is synthesised"
    runner.run(config_of(*words, "engine.steps=12"), tmp_path / "moved")
    folder = tmp_path / "moved" / "units" / "layer1-00003"
    activation = json.loads((folder / "metadata.json").read_text())["activation"]
    assert activation["final"] > activation["initial"]
    run = json.loads((tmp_path / "moved" / "run.json").read_text())
    assert str(file) in run["inputs"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("parametrization.start=absent.jpg",), "no file 'absent.jpg'"),
        ((f"parametrization.start={GLYPH}", "engine.canvas=32"), "takes engine.canvas=full"),
        ((f"parametrization.start={GLYPH}", "method=texture_motion"), "not texture_motion"),
        ((f"parametrization.start={GLYPH}", "model=drift_r3d"), "takes clips"),
        (("parametrization.start=zoo:glyphs",), "it takes one photograph, not 8"),
        (("parametrization.start=zoo:fonts",), "no set of pictures 'zoo:fonts'"),
        ((f"parametrization.start={__file__}",), "is not an image that Pillow can read"),
    ],
)
def test_what_no_picture_can_start_as_is_refused_before_anything_is_written(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        runner.run(config_of(*words), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
