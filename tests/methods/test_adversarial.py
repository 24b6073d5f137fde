"""Attacks as the command makes them: judged on the files, whatever the folder holds."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fvis import models, photographs, runner, schema, videos
from fvis.artifacts import read_png, write_mp4
from fvis.compose import compose
from fvis.errors import RequestError
from fvis.models import Model
from fvis.perturbation import files
from fvis.photographs import EXAMPLES
from tests.motion.reference import clip_of, translating

GLYPHS = ["method=adversarial", "method.images=zoo:glyphs", "engine.steps=24"]
TWO = ("glyph_cnn", "glyph_vit")
FREE = [*GLYPHS, "method.norm=none"]  # the embedded networks withstand small balls


SMALL_CLIPS = ["model=drift_r3d", "model.input.frames=8"]
SMALL_CLIPS += ["model.input.height=32", "model.input.width=32"]


def config_of(*overrides: str) -> schema.Config:
    return schema.parse(compose(list(overrides)))


def run(folder: Path, *overrides: str) -> dict[str, dict[str, Any]]:
    """Metadata by the name of the output directory."""
    runner.run(config_of(*overrides), folder)
    files = sorted((folder / "units").glob("*/metadata.json"))
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def picture(folder: Path, name: str, file: str) -> Tensor:
    return torch.from_numpy(read_png(folder / "units" / name / file))


def taken_for(model: Model, rgb: Tensor) -> int:
    with torch.no_grad():
        return int(model.module(model.preprocessing.normalise(rgb[None])).argmax())


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    folder = tmp_path_factory.mktemp("attacked")
    return folder, run(folder, *FREE, "method.transfer=[zoo/glyph_vit]", "engine.batch_size=8")


def test_success_is_what_the_file_is_taken_for(attacked: tuple[Path, Mapping[str, Any]]) -> None:
    folder, units = attacked
    model = models.load(config_of().model)
    assert len(units) == 8
    for name, unit in units.items():
        rgb = picture(folder, name, "adversarial.png")
        assert unit["success"] == (taken_for(model, rgb) == unit["target"])
        assert unit["adversarial"][0][0] == model.classes[taken_for(model, rgb)]
        assert (
            unit["clean"][0][0]
            == model.classes[taken_for(model, picture(folder, name, "clean.png"))]
        )
        assert unit["clean"][0][0] != unit["class"], "a random target is another class"
        assert name == f"{unit['image']}-{unit['target']:05d}"
    assert sum(unit["success"] for unit in units.values()) >= 6


def test_the_two_files_differ_by_delta_alone(attacked: tuple[Path, Mapping[str, Any]]) -> None:
    folder, units = attacked
    for name, unit in units.items():
        clean = picture(folder, name, "clean.png")
        delta = picture(folder, name, "adversarial.png") - clean
        saved = np.load(folder / "units" / name / "delta.npz")["delta"]
        np.testing.assert_allclose(saved, delta.numpy(), atol=1e-6)
        (photograph,) = photographs.find(unit["source"])
        source = Image.open(photograph).convert("RGB")
        np.testing.assert_allclose(clean.permute(1, 2, 0) * 255, np.asarray(source), atol=1e-3)
        assert unit["linf"] == pytest.approx(delta.abs().max().item())
        assert unit["l2"] == pytest.approx(delta.norm().item(), rel=1e-4)
        shown = picture(folder, name, "perturbation.png")
        expected = (0.5 + unit["amplification"] * delta).clamp(0, 1)
        assert (shown - expected).abs().max() < 1 / 255


def test_run_json_sums_up(attacked: tuple[Path, Mapping[str, Any]]) -> None:
    folder, units = attacked
    summary = json.loads((folder / "run.json").read_text())["summary"]
    rate = sum(unit["success"] for unit in units.values()) / 8
    assert summary["success"] == {"mean": pytest.approx(rate), "of": 8}
    fooled = sum(unit["transfer"]["glyph_vit"]["success"] for unit in units.values()) / 8
    assert summary["transfer.glyph_vit"] == {"mean": pytest.approx(fooled), "of": 8}
    assert {"linf", "l2", "tv", "ssim", "spectral_centroid"} <= summary.keys()


def test_transfer_is_what_the_other_network_says(
    attacked: tuple[Path, Mapping[str, Any]],
) -> None:
    folder, units = attacked
    other = models.load(config_of("model=glyph_vit").model)
    for name, unit in units.items():
        told = unit["transfer"]["glyph_vit"]
        seen = taken_for(other, picture(folder, name, "adversarial.png"))
        assert told["adversarial"][0][0] == other.classes[seen]
        assert told["success"] == (seen == unit["target"])


@pytest.mark.slow
def test_every_image_meets_every_target(tmp_path: Path) -> None:
    units = run(tmp_path, *FREE, "engine.steps=2", "method.target=[3,dotted ring,least_likely]")
    images = {unit["image"] for unit in units.values()}
    assert len(images) == 8
    named = models.load(config_of().model).classes.index("dotted ring")
    for image in images:
        targets = {unit["target"] for unit in units.values() if unit["image"] == image}
        assert {3, named} <= targets
        assert len(targets) in (2, 3), "the least likely may be one of the others"


@pytest.mark.slow
def test_a_random_target_depends_on_its_image_alone(tmp_path: Path) -> None:
    all_of_them = run(tmp_path / "all", *FREE, "engine.steps=1")
    source = all_of_them[max(all_of_them)]["source"]
    alone = run(tmp_path / "one", *FREE, f"method.images={source}", "engine.steps=1")
    assert alone.keys() == {max(all_of_them)}
    others = run(tmp_path / "seed", *FREE, "engine.steps=1", "engine.seed=1")
    assert others.keys() != all_of_them.keys()


def test_a_random_target_depends_on_no_file_of_the_same_name(tmp_path: Path) -> None:
    """In two folders, as `a/same.png` and `b/same.png`, of which one is called `same-2`."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shutil.copy(EXAMPLES / "glyphs" / "03-striped-disc.png", tmp_path / "a" / "same.png")
    shutil.copy(EXAMPLES / "glyphs" / "04-striped-ring.png", tmp_path / "b" / "same.png")
    free = ("method=adversarial", "method.norm=none", "method.target=random", "engine.steps=1")
    both = f"method.images=[{tmp_path}/a/same.png,{tmp_path}/b/same.png]"
    beside = run(tmp_path / "beside", *free, both)
    alone = run(tmp_path / "alone", *free, f"method.images=[{tmp_path}/b/same.png]")
    (only,) = alone.values()
    targets = {unit["image"]: unit["target"] for unit in beside.values()}
    assert targets["same-2"] == only["target"]


def test_the_file_stays_in_its_ball(tmp_path: Path) -> None:
    units = run(tmp_path, *GLYPHS, "method.epsilon=3/255", "engine.steps=6")
    for name, unit in units.items():
        pair = [picture(tmp_path, name, f"{side}.png") * 255 for side in ("clean", "adversarial")]
        assert (pair[1] - pair[0]).abs().max() <= 3 + 1e-3
        assert unit["linf"] <= 3 / 255
        assert unit["amplification"] == pytest.approx(0.5 / (3 / 255))


def test_a_hidden_unit_can_be_the_target(tmp_path: Path) -> None:
    units = run(tmp_path, *FREE, "target.layer=layer2", "method.target=5")
    model = models.load(config_of().model)
    assert sum(unit["success"] for unit in units.values()) >= 6
    for name, unit in units.items():
        assert unit["activation"]["final"] > unit["activation"]["initial"]
        rgb = model.preprocessing.normalise(picture(tmp_path, name, "adversarial.png")[None])
        seen: list[Tensor] = []
        handle = model.module.get_submodule("layer2").register_forward_hook(
            lambda module, args, value, seen=seen: seen.append(value)
        )
        with torch.no_grad():
            model.module(rgb)
        handle.remove()
        means = seen[0].mean((2, 3))[0]
        assert unit["success"] == (int(means.argmax()) == 5)
        most = pytest.approx(means.max().item(), rel=1e-4)  # the run may have been on a GPU
        assert unit["adversarial"][0] == [int(means.argmax()), most]


def folder_with_bad_files(folder: Path) -> Path:
    folder.mkdir()
    Image.effect_mandelbrot((80, 60), (-2, -1, 1, 1), 50).convert("RGB").save(folder / "good.png")
    Image.new("RGB", (1, 1), (200, 30, 30)).save(folder / "one pixel.png")
    (folder / "text.jpg").write_text("no picture")
    Image.new("L", (9, 9)).save(
        folder / "animation.gif", save_all=True, append_images=[Image.new("L", (9, 9), 255)]
    )
    return folder


def test_bad_files_leave_the_rest_unharmed(tmp_path: Path) -> None:
    images = folder_with_bad_files(tmp_path / "images")
    units = run(tmp_path / "out", *FREE, f"method.images={images}", "method.target=3")
    assert units.keys() == {"good-00003", "one_pixel-00003"}
    refused = json.loads((tmp_path / "out" / "run.json").read_text())["refused"]
    assert {Path(path).name for path in refused} == {"text.jpg", "animation.gif"}
    assert all("\n" not in reason for reason in refused.values())


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["method.images=null"], "needs method.images"),
        (["method.images=absent.jpg"], "no image file at 'absent.jpg'"),
        (["method.target=striped rings"], "nearest: striped ring"),
        (["method.target=12"], "0 to 11"),
        (["method.epsilon=big"], "method.epsilon"),
        (["method.norm=l7"], "linf, l2, none"),
        (["method.transfer=[glyph_vit]"], "source/name"),
        (["method.transfer=[zoo/glyph_vitt]"], "nearest: glyph_vit"),
        (["method.transfer=[zoo/glyph_vit]", "target.layer=layer2"], "needs target.layer=logits"),
        (["target.layer=layer9"], "no layer 'layer9'"),
        (["target.dictionary=sae.safetensors"], "no target.direction, dictionary or joint"),
        (["model=drift_r3d"], "needs method.clips: .* drift_r3d takes clips"),
        (["method.clips=zoo:glyphs"], "is for networks of clips; glyph_cnn takes images"),
        (["method.images=null", "method.clips=a.mp4"], "method.images: .* glyph_cnn takes images"),
        (["method.models=[glyph_vit]"], "method.models has 'glyph_vit'; it takes source/name"),
        (["method.models=[zoo/glyph_vit]", "target.layer=layer2"], "needs target.layer=logits"),
        (["method.models=[zoo/drift_r3d]"], "drift_r3d takes clips of 16; glyph_cnn, images"),
        (["method.models=[zoo/glyph_vit]", f"model.classes={[*'abcdefghijkl']}"], "same classes"),
    ],
)
def test_bad_requests_leave_nothing_behind(overrides: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=says):
        run(tmp_path / "out", *GLYPHS, *overrides)
    assert not (tmp_path / "out").exists()


def test_what_is_taken_for_its_target_as_it_is_counts_for_nothing(tmp_path: Path) -> None:
    disc = "method.images=zoo:glyphs/03-striped-disc.png"
    words = (disc, "method.target=[striped disc,plain disc]", "engine.steps=12")
    units = run(tmp_path / "out", "method=adversarial", *words)
    idle, attacked = (next(u for u in units.values() if u["class"] == c) for c in
                      ("striped disc", "plain disc"))  # fmt: skip
    assert idle["success"] is True and idle["linf"] == 0
    summary = json.loads((tmp_path / "out" / "run.json").read_text())["summary"]
    assert summary["linf"] == {"mean": pytest.approx(attacked["linf"]), "of": 1}
    assert summary["success"] == {"mean": attacked["success"], "of": 1}


def test_only_unreadable_files_are_a_bad_request(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(RequestError, match=r"text\.jpg"):
        run(tmp_path / "out", *GLYPHS, f"method.images={tmp_path}")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    """A photograph to be taken for class 3, and for any other class, by two networks."""
    folder = tmp_path_factory.mktemp("together")
    image = f"method.images=zoo:glyphs/{photographs.find('zoo:glyphs')[2].name}"
    settings = ["method.models=[zoo/glyph_vit]", "method.target=[3,any]", "method.probability=0"]
    return folder, run(folder, *FREE, image, *settings, "engine.steps=30")


def test_success_is_that_with_every_network_on_the_file(
    together: tuple[Path, Mapping[str, Any]],
) -> None:
    folder, units = together
    assert len(units) == 2
    networks = {name: models.load(config_of(f"model={name}").model) for name in TWO}
    for name, unit in units.items():
        assert unit["networks"].keys() == networks.keys()
        for other, model in networks.items():
            told = unit["networks"][other]
            before, after = (
                taken_for(model, picture(folder, name, f"{side}.png"))
                for side in ("clean", "adversarial")
            )
            reached = after != before if unit["target"] == "any" else after == unit["target"]
            assert told["success"] == reached == (told["margin"]["adversarial"] > 0)
            assert told["adversarial"][0][0] == model.classes[after]
        assert unit["success"] == all(told["success"] for told in unit["networks"].values())
        assert unit["success"], "without a bound both networks are convinced"
        first = unit["networks"]["glyph_cnn"]
        assert {key: unit[key] for key in first if key != "success"} == {
            key: value for key, value in first.items() if key != "success"
        }
    summary = json.loads((folder / "run.json").read_text())["summary"]
    assert summary["networks.glyph_vit"] == {"mean": 1, "of": 2}


def test_any_has_no_class_and_its_class_before_falls(
    together: tuple[Path, Mapping[str, Any]],
) -> None:
    _, units = together
    anys = {name: unit for name, unit in units.items() if unit["target"] == "any"}
    assert all(name.endswith("-any") and unit["class"] is None for name, unit in anys.items())
    for unit in anys.values():
        assert unit["activation"]["final"] < unit["activation"]["initial"]
        assert unit["probability"]["clean"] < 0.5 < unit["probability"]["adversarial"]


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    """A clip of a drifting texture, in a video of twice its length, to be taken for class 2."""
    folder = tmp_path_factory.mktemp("filmed")
    clip = clip_of(translating(1.5, 0.0, (16, 32, 32)), 0)
    write_mp4(folder / "drift.mp4", clip, 8)
    write_mp4(folder / "short.mp4", clip[:, :7], 8)
    settings = ["method=adversarial", f"method.clips={folder}", "method.target=2", "method.step=6"]
    settings += ["method.norm=none", "method.probability=0", "engine.steps=12"]
    return folder / "out", run(folder / "out", *SMALL_CLIPS, *settings)


def test_clips_are_judged_on_files_that_lose_nothing(
    filmed: tuple[Path, Mapping[str, Any]],
) -> None:
    folder, units = filmed
    (unit,) = units.values()
    assert (unit["image"], unit["start"], unit["source"]) == ("drift", 4, "drift.mp4")
    place = folder / "units" / "drift-00002"
    clean, after = (
        files.read((place / f"{side}.apng").read_bytes(), clip=True)
        for side in ("clean", "adversarial")
    )
    model = models.load(config_of(*SMALL_CLIPS).model)
    video = folder.parent / "drift.mp4"
    torch.testing.assert_close(clean, videos.window(video, 4, model.preprocessing))
    assert taken_for(model, after) == 2 and taken_for(model, clean) != 2
    assert unit["success"] is True
    delta = after - clean
    np.testing.assert_allclose(np.load(place / "delta.npz")["delta"], delta.numpy(), atol=1e-6)
    assert unit["linf"] == pytest.approx(delta.abs().max().item())
    for side in ("clean", "adversarial", "perturbation"):
        with Image.open(place / f"{side}.gif") as gif:
            assert (getattr(gif, "n_frames", 1), gif.size) == (8, (32, 32))


def test_a_video_that_is_too_short_leaves_the_rest_unharmed(
    filmed: tuple[Path, Mapping[str, Any]],
) -> None:
    folder, _ = filmed
    refused = json.loads((folder / "run.json").read_text())["refused"]
    assert [*map(Path, refused)] == [Path("short.mp4")]
    assert "fewer than 8 frames" in refused["short.mp4"]
