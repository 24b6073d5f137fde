"""Drifting photographs say which direction a layer's units prefer, and are asked but once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fvis.capture import Network
from fvis.errors import RequestError
from fvis.models import load
from fvis.motion import witnesses
from fvis.motion.witnesses import NaturalTuning, disagreement_deg, natural_tuning
from fvis.objectives import resolve
from fvis.record.motion import TuningRecord
from fvis.schema import GroundingConfig, InputConfig, ModelConfig, TargetConfig
from tests.motion.reference import places, waves

UNITS = {"angles_deg": [0.0, 90.0, 200.0], "speeds": 1.5, "wavelengths": 9.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of many orientations, and a file that is none."""
    made = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        rgb = (0.5 + 0.2 * waves(seed, 3 * places(150, 140))).clamp(0, 1) * 255
        Image.fromarray(rgb.byte().permute(1, 2, 0).numpy()).save(made / f"{seed}.png")
    (made / "broken.png").write_bytes(b"no picture")
    return made


def ask(folder: Path, cache: Path, **target: Any) -> NaturalTuning:
    network = ModelConfig(
        name="planted_motion", kwargs=UNITS, input=InputConfig(height=52, width=52)
    )
    model = load(network)
    config = TargetConfig(layer="energy", **target)
    targets = resolve(config, model, 0)
    grounding = GroundingConfig(images=str(folder), cache=str(cache))
    return natural_tuning(grounding, model, targets, Network(model, targets.layers))


@pytest.fixture(scope="module")
def natural(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> NaturalTuning:
    return ask(folder, tmp_path_factory.mktemp("cache"), units=[0])


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_the_preferred_direction_is_the_planted_one(natural: NaturalTuning, unit: int) -> None:
    truth = UNITS["angles_deg"][unit]  # type: ignore[index]
    found = natural.of(unit, truth)
    assert found.photographs == 3, "the broken file is left out"
    assert found.disagreement_deg is not None
    assert found.disagreement_deg < 15
    assert found.tuning.direction_index is not None
    assert found.tuning.direction_index > 0.2
    opposite = natural.of(unit, truth + 180).disagreement_deg
    assert opposite == pytest.approx(180 - found.disagreement_deg)


def test_the_second_time_they_come_from_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(folder, tmp_path, units=[0])
    monkeypatch.setattr(witnesses, "_measure", None)
    again = ask(folder, tmp_path, units=[1])
    assert first.files == again.files == sorted(folder.iterdir())
    for name in witnesses.ARRAYS:
        assert torch.equal(getattr(first, name), getattr(again, name))


def test_only_units_are_asked_about(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "direction.npy"
    np.save(path, np.ones(11, dtype=np.float32))
    with pytest.raises(RequestError, match="takes units"):
        ask(folder, tmp_path, direction=str(path))


def test_units_that_photographs_excite_alike_in_all_directions_disagree_with_nothing() -> None:
    assert disagreement_deg(10.0, TuningRecord([], [], 0.05, 200.0, 90.0)) is None
    assert disagreement_deg(None, TuningRecord([], [], 0.5, 200.0, 90.0)) is None
    assert disagreement_deg(350.0, TuningRecord([], [], 0.5, 20.0, 90.0)) == pytest.approx(30)


def test_a_few_of_many_are_evenly_spaced() -> None:
    files = [Path(f"{k}.png") for k in range(10)]
    assert [file.stem for file in witnesses.evenly_chosen(files, 3)] == ["0", "3", "6"]
    assert witnesses.evenly_chosen(files[:2], 16) == files[:2]
