"""Photographs beside synthetic pictures: patches where the unit peaks, percentiles, the cache."""

import json
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from fvis import grounding, photographs
from fvis.artifacts import read_png
from fvis.capture import Network
from fvis.errors import RequestError
from fvis.models import Model, Preprocessing
from fvis.objectives import TargetSet, resolve
from fvis.patches import Patches
from fvis.schema import GroundingConfig, TargetConfig
from fvis.zoo.glyphs import CLASSES

from .methods.test_adversarial import run

SIDE, GRID = 32, 8
WHOLE = Patches.evenly((1, 1), (SIDE, SIDE))


class Colours(nn.Module):
    """Unit c is the brightness of channel c, pooled to an 8 by 8 grid; logits are the means."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(GRID)

    def forward(self, rgb: Tensor) -> Tensor:
        return self.pool(rgb).mean((2, 3))


def model() -> Model:
    plain = Preprocessing(SIDE, SIDE, None, (0.0,) * 3, (1.0,) * 3)
    return Model(Colours().eval(), "colours", plain, ("red", "green", "blue"), "hash", "")


def folder_of_spots(folder: Path) -> Path:
    """Black pictures, each with a spot: red at the left top, ever brighter; and a green one."""
    folder.mkdir()
    for level in (50, 150, 250):
        rgb = np.zeros((SIDE, SIDE, 3), np.uint8)
        rgb[2:6, 2:6, 0] = level
        Image.fromarray(rgb).save(folder / f"red-{level}.png")
    rgb = np.zeros((SIDE, SIDE, 3), np.uint8)
    rgb[24:28, 12:16, 1] = 200
    Image.fromarray(rgb).save(folder / "green.png")
    return folder


def objective_of(given: Model, **target: Any) -> TargetSet:
    return resolve(TargetConfig(**target), given, 0)


def surveyed(images: Path, cache: Path, **target: Any) -> grounding.Natural:
    given = model()
    objective = objective_of(given, **target)
    config = GroundingConfig(images=str(images), cache=str(cache))
    return grounding.natural_responses(config, given, objective, Network(given, objective.layers))


def test_the_strongest_patch_is_where_the_unit_peaks(tmp_path: Path) -> None:
    natural = surveyed(folder_of_spots(tmp_path / "spots"), tmp_path / "cache", layer="pool")
    assert natural.patches.grid == (GRID, GRID)
    first, second, *_ = grounding.strongest(natural, 0, 4)
    assert [patch.file.name for patch in (first, second)] == ["red-250.png", "red-150.png"]
    assert first.activation > second.activation > 0
    assert first.box == (0, 0, 16, 16)
    (green,) = grounding.strongest(natural, 1, 1)
    assert green.file.name == "green.png"
    assert green.box == (6, 16, 16, 16)


def test_a_class_is_shown_by_whole_photographs(tmp_path: Path) -> None:
    natural = surveyed(folder_of_spots(tmp_path / "spots"), tmp_path / "cache", layer="logits")
    (first, *_) = grounding.strongest(natural, 0, 4)
    assert (first.file.name, first.box) == ("red-250.png", (0, 0, SIDE, SIDE))


def test_a_synthetic_activation_is_placed_among_the_photographs(tmp_path: Path) -> None:
    natural = surveyed(folder_of_spots(tmp_path / "spots"), tmp_path / "cache", layer="logits")
    scores = sorted(natural.scores[:, 0].tolist())
    between = grounding.compare(natural, 0, (scores[2] + scores[3]) / 2, 0.0, [])
    assert between.below == pytest.approx(0.75)
    assert between.photographs == 4
    assert between.percentiles["100"] == pytest.approx(scores[3])
    assert between.percentiles["50"] == pytest.approx((scores[1] + scores[2]) / 2)
    above = grounding.compare(natural, 0, 2 * scores[3], 0.0, [])
    assert (above.below, above.times_strongest) == (1.0, pytest.approx(2.0))


def test_single_positions_are_compared_too(tmp_path: Path) -> None:
    """A picture that is red all over has a high mean, and is no redder at any position."""
    images = folder_of_spots(tmp_path / "spots")
    net, config = model(), TargetConfig(layer="pool", units="all")
    targets = resolve(config, net, 0)
    natural = surveyed(images, tmp_path / "cache", layer="pool")
    red = torch.zeros(1, 3, SIDE, SIDE)
    red[:, 0] = natural.peaks[:, 0].max()
    with Network(net, targets.layers) as network:
        _, peaks, _ = grounding.responses(network, targets, red)
    peak = peaks[0, 0].item()
    found = grounding.compare(natural, 0, red[0, 0].mean().item(), peak, [])
    assert found.best_position.picture == pytest.approx(peak)
    assert found.best_position.times_strongest == pytest.approx(1.0, rel=0.02)
    assert found.times_strongest > 3


def test_what_was_measured_once_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = folder_of_spots(tmp_path / "spots")
    first = surveyed(images, tmp_path / "cache", layer="pool")
    with monkeypatch.context() as patch:
        patch.setattr(photographs, "load", None)  # nothing needs to be read again
        again = surveyed(images, tmp_path / "cache", layer="pool")
    assert again.files == first.files
    for key in ("scores", "peaks", "places"):
        assert torch.equal(getattr(again, key), getattr(first, key))
    (images / "green.png").unlink()
    changed = surveyed(images, tmp_path / "cache", layer="pool")
    assert len(changed.files) == 3


def test_the_same_weights_run_differently_are_measured_anew(tmp_path: Path) -> None:
    images, cache = folder_of_spots(tmp_path / "spots"), tmp_path / "cache"
    first = surveyed(images, cache, layer="pool")
    given = model()
    given.module.pool = nn.Sequential(given.module.pool, nn.Hardtanh(-0.5, 0.5))
    given.module.pool.register_forward_hook(lambda module, args, value: value / 2)
    objective = objective_of(given, layer="logits")
    config = GroundingConfig(images=str(images), cache=str(cache))
    hooked = grounding.natural_responses(config, given, objective, Network(given, objective.layers))
    again = surveyed(images, cache, layer="logits")
    assert hooked.scores.max() < 0.6 * again.scores.max()
    assert first.files == again.files


def test_the_cache_serves_a_folder_however_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = folder_of_spots(tmp_path / "spots")
    monkeypatch.chdir(tmp_path)
    surveyed(Path("spots"), tmp_path / "cache", layer="pool")
    monkeypatch.chdir("/")
    again = surveyed(images, tmp_path / "cache", layer="pool")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert all(file.is_file() for file in again.files)


def test_a_cache_that_cannot_be_used_is_only_slower(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, cache = folder_of_spots(tmp_path / "spots"), tmp_path / "cache"
    first = surveyed(images, cache, layer="pool")
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(surveyed(images, cache, layer="pool").scores, first.scores)
    (tmp_path / "file").touch()
    assert torch.equal(surveyed(images, tmp_path / "file", layer="pool").scores, first.scores)
    assert "cannot read the cached" in caplog.text
    assert "cannot write" in caplog.text


def test_a_cache_with_a_flipped_byte_is_measured_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, cache = folder_of_spots(tmp_path / "spots"), tmp_path / "cache"
    first = surveyed(images, cache, layer="pool")
    (place,) = cache.rglob("*.npz")
    content = bytearray(place.read_bytes())
    name, extra = (int.from_bytes(content[at : at + 2], "little") for at in (26, 28))
    content[30 + name + extra] = 0xFF  # where the first array begins: no kind of zip block
    place.write_bytes(content)
    with pytest.raises(zlib.error), np.load(place) as arrays:
        [arrays[key] for key in arrays]
    assert torch.equal(surveyed(images, cache, layer="pool").scores, first.scores)
    assert "cannot read the cached" in caplog.text


def test_what_was_left_out_is_told_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = folder_of_spots(tmp_path / "spots")
    (images / "a-text.png").write_text("no picture")
    first = surveyed(images, tmp_path / "cache", layer="pool")
    caplog.clear()
    assert surveyed(images, tmp_path / "cache", layer="pool").files == first.files
    assert "a-text.png" in caplog.text


class Unroll(nn.Identity):
    """Named as the module of Hiera that puts tokens into another order."""


@pytest.mark.parametrize("position", ["cls", "mean"])
def test_tokens_whose_place_is_unknown_are_shown_by_whole_photographs(
    tmp_path: Path, position: str
) -> None:
    torch.manual_seed(0)
    module = timm.create_model("test_vit", img_size=SIDE).eval()
    if position == "mean":
        module.norm_pre = Unroll()
    plain = Preprocessing(SIDE, SIDE, None, (0.0,) * 3, (1.0,) * 3)
    given = Model(module, "vit", plain, None, "hash", "")
    objective = objective_of(given, layer="blocks.1", position=position, units=3)
    config = GroundingConfig(
        images=str(folder_of_spots(tmp_path / "spots")), cache=str(tmp_path / "cache")
    )
    natural = grounding.natural_responses(
        config, given, objective, Network(given, objective.layers)
    )
    (first,) = grounding.strongest(natural, 3, 1)
    assert first.box == (0, 0, SIDE, SIDE)
    best = natural.scores if position == "cls" else natural.peaks
    assert first.activation == best[:, 3].max()


def test_a_hundred_patches_fit_beside_a_picture_of_any_size(tmp_path: Path) -> None:
    images = folder_of_spots(tmp_path / "spots")
    patches = [grounding.Patch(images / "green.png", 1.0, (0, 0, 8, 8))] * 100
    for side in (4, 16, 32):
        sheet = grounding.beside(torch.zeros(3, side, side), patches, model())
        assert sheet.shape == (3, side, 2 * side + 2 * grounding.GAP)


def test_where_memory_runs_out_fewer_are_seen_at_once(tmp_path: Path) -> None:
    images = folder_of_spots(tmp_path / "spots")
    expected = surveyed(images, tmp_path / "cache", layer="pool")
    given = model()

    def no_more_than_two(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if len(args[0]) > 2:
            raise torch.OutOfMemoryError("out of memory")

    given.module.register_forward_pre_hook(no_more_than_two)
    objective = objective_of(given, layer="pool")
    config = GroundingConfig(images=str(images), cache=str(tmp_path / "another"))
    natural = grounding.natural_responses(
        config, given, objective, Network(given, objective.layers)
    )
    assert natural.files == expected.files
    torch.testing.assert_close(natural.scores, expected.scores)


def test_bad_photographs_are_left_out_and_none_is_an_error(tmp_path: Path) -> None:
    images = folder_of_spots(tmp_path / "spots")
    (images / "text.png").write_text("no picture")
    natural = surveyed(images, tmp_path / "cache", layer="pool")
    assert len(natural.files) == 4
    with pytest.raises(RequestError, match="no photograph"):
        surveyed(images / "text.png", tmp_path / "cache", layer="pool")


def test_a_direction_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones(3, np.float32))
    with pytest.raises(RequestError, match="takes units"):
        surveyed(
            folder_of_spots(tmp_path / "spots"), tmp_path / "cache",
            layer="pool", direction=str(tmp_path / "v.npy"),
        )  # fmt: skip


def test_the_command_writes_it_down(tmp_path: Path) -> None:
    settings = ["grounding.images=zoo:glyphs", f"grounding.cache={tmp_path / 'cache'}"]
    shown = [CLASSES.index(name) for name in ("striped disc", "striped ring")]
    units = run(tmp_path / "out", *settings, f"target.units={shown}", "engine.steps=8")
    for name, unit in units.items():
        found = unit["grounding"]
        assert found["photographs"] == 8
        assert len(found["strongest"]) == 8
        values = [patch["activation"] for patch in found["strongest"]]
        assert values == sorted(values, reverse=True)
        assert unit["class"].replace(" ", "-") in Path(found["strongest"][0]["file"]).stem
        sheet = read_png(tmp_path / "out" / "units" / name / "natural.png")
        assert sheet.shape == (3, 64, 2 * 64 + 2 * grounding.GAP)
        image = read_png(tmp_path / "out" / "units" / name / "image.png")
        np.testing.assert_allclose(sheet[:, :, :64], image, atol=1e-6)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "done"


def test_only_units_pictures_are_grounded(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="activation_maximization"):
        run(tmp_path, "method=adversarial", "method.images=zoo:glyphs", "grounding.images=x")


def measured(*scores: float) -> grounding.Natural:
    """Photographs that excite the only unit by these scores."""
    values = torch.tensor(scores)[:, None]
    files = tuple(Path(f"{number}.png") for number in range(len(scores)))
    return grounding.Natural(files, values, values, torch.zeros_like(values).int(), WHOLE)


def test_a_photograph_that_excites_the_unit_equally_is_not_below_the_picture() -> None:
    assert grounding.compare(measured(1.0, 2.0, 2.0, 3.0), 0, 2.0, 0.0, []).below == 0.25


def test_a_unit_that_no_photograph_excites_has_no_strongest_to_compare_with() -> None:
    for highest in (0.0, -1.0):
        found = grounding.compare(measured(highest, -2.0), 0, 3.0, 0.0, [])
        assert math.isnan(found.times_strongest)
        assert found.below == 1


def test_patches_are_laid_out_in_rows_the_strongest_first(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    patches = []
    for number, colour in enumerate(colours):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (SIDE, SIDE), colour).save(path)
        patches.append(grounding.Patch(path, 1.0, (0, 0, SIDE, SIDE)))
    sheet = grounding.beside(torch.zeros(3, SIDE, SIDE), patches, model())
    near, far = SIDE // 4, 3 * SIDE // 4
    left = SIDE + 2 * grounding.GAP
    seen = [sheet[:, y, left + x] for y, x in ((near, near), (near, far), (far, near), (far, far))]
    expected = torch.tensor([*colours, (255, 255, 255)]) / 255
    torch.testing.assert_close(torch.stack(seen), expected, atol=1e-3, rtol=0)


def test_another_position_of_the_same_layer_is_measured_anew(tmp_path: Path) -> None:
    images, cache = folder_of_spots(tmp_path / "spots"), tmp_path / "cache"
    mean = surveyed(images, cache, layer="pool")
    corner = surveyed(images, cache, layer="pool", position=[0, 0])
    assert corner.scores[:, 0].max() > 10 * mean.scores[:, 0].max()


def test_a_photograph_that_was_changed_is_measured_anew(tmp_path: Path) -> None:
    images, cache = tmp_path / "images", tmp_path / "cache"
    images.mkdir()
    path = images / "even.bmp"
    scores = []
    for second, level in enumerate((50, 200)):
        Image.new("RGB", (SIDE, SIDE), (level, 0, 0)).save(path)  # files of the same size
        os.utime(path, (second, second))
        scores.append(surveyed(images, cache, layer="logits").scores[0, 0].item() * 255)
    assert scores == pytest.approx([50, 200], abs=0.5)
