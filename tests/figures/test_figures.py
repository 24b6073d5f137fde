"""Figures say what must be said, at the size of a page, from runs that are whole and done."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from omegaconf import OmegaConf
from PIL import Image, ImageSequence

from fvis import models
from fvis.errors import RequestError
from fvis.figures import make as figures
from fvis.figures import runs as figure_runs
from fvis.figures.clips import grid, read_clip, write_motion
from fvis.figures.images import adversarial, comparison, layers, outputs
from fvis.figures.runs import (
    MissingFileError,
    PlannedRun,
    Run,
    carry_out,
    finished_run,
    planned_runs,
)
from fvis.figures.sheet import DPI, SMALL, WIDTH, Sheet
from fvis.models.checkpoints import sha256_of_file
from fvis.record.motion import MotionRecord, TextureMotionRecord
from fvis.run_folder import SavedUnit
from tests import recorded
from tests.conftest import ROOT

EXPERIMENTS = ROOT / "configs" / "experiment"
T, H, W = 5, 12, 16
LONG = "an astonishingly long-winded name of a class of things"
WEIGHTS = ("deit_tiny_patch16_224", "mobilenetv2_100", "shufflenet3d_jester")

Make = Callable[..., Path]


@pytest.fixture
def fake(tmp_path: Path) -> Make:
    """Writes a finished run: `fake("net", "layer1", files={name: array}, **metadata)`.

    What is not given is what a real run of the method wrote."""
    numbers = itertools.count()

    def write(
        model: str = "net",
        layer: str = "layer1",
        files: Mapping[str, Any] | None = None,
        units: int = 2,
        method: str = "activation_maximization",
        **metadata: Any,
    ) -> Path:
        folder = tmp_path / f"run{next(numbers)}"
        rng = np.random.default_rng(0)
        names = [f"{layer}-{unit:05d}" for unit in range(3, 3 + units)]
        for unit, name in enumerate(names, 3):
            place = folder / "units" / name
            place.mkdir(parents=True)
            told = recorded.unit_json(method) | {
                "model": model, "layer": layer, "unit": unit, "seed": 7, "steps": 41,
                "class": None, **metadata,
            }  # fmt: skip
            told["activation"] = metadata.get("activation", {"initial": -1.5, "final": 12.25})
            (place / "metadata.json").write_text(json.dumps(told))
            for file in ("image.png", "clean.png", "perturbation.png", "adversarial.png"):
                picture = rng.integers(0, 256, (H, W, 3), np.uint8)
                Image.fromarray(picture).save(place / file)
            if files:
                np.savez(place / "flow.npz", **files)
        record = recorded.run_json(method)
        record |= {"units": names, "jobs": names}
        record["model"] |= {"name": model, "weights": {"sha256": "0123456789abcdef", "of": "w"}}
        record["config"]["target"] |= {"layer": layer}
        record["config"]["method"].pop("solver", None)
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return write


@pytest.fixture
def clips(fake: Make) -> Run:
    """A run of clips: the texture moves to the right at 1 px/frame, then stays where it is."""
    displacement = np.zeros((2, T, H, W), np.float32)
    displacement[0] = -np.arange(T, dtype=np.float32)[:, None, None]
    texture = np.random.default_rng(0).random((3, H, W + T), np.float32)
    flow = {
        "texture": texture,
        "offset": np.array([T, 0], np.float32),
        "displacement": displacement,
        "velocity": -np.diff(displacement, axis=1),
        "optimal": np.random.default_rng(1).random((3, T, H, W), np.float32),
    }
    motion = recorded.unit_json("texture_motion")["motion"] | {
        "velocity": [1.0, 0.0], "normal_velocity": [1.0, 0.0], "speed": 1.0,
        "direction_deg": 359.9, "axis_deg": None, "kind": "moving",
        "divergence": 0.0, "curl": 0.125,
    }  # fmt: skip
    shares = {"optimal": 1.0, "reconstruction": 0.875, "static": -0.01, "reversed": 0.125}
    told = {"motion": motion, "activations": shares, "motion_index": 1.0}
    return finished_run(fake("video", files=flow, method="texture_motion", **told))


def changed(unit: SavedUnit, **fields: Any) -> SavedUnit:
    """The unit, with these fields of its record replaced."""
    return replace(unit, record=replace(unit.record, **fields))


def texts(sheet: Sheet) -> list[str]:
    return [text.get_text() for text in sheet.figure.texts]


def assert_legible(sheet: Sheet) -> None:
    """No letters leave the page, lie on others, lie on a picture, or are too small for print."""
    canvas = sheet.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in sheet.figure.texts]
    pictures = [axes.get_window_extent(renderer) for axes in sheet.figure.axes]
    page = sheet.figure.bbox
    for text, box in zip(sheet.figure.texts, boxes, strict=True):
        assert text.get_fontsize() >= SMALL
        assert page.x0 <= box.x0 and box.x1 <= page.x1, text
        assert page.y0 <= box.y0 and box.y1 <= page.y1, text
    inner = [box.padded(-0.01 * DPI) for box in boxes]  # lines of text touch
    for one, other in itertools.combinations([*inner, *pictures], 2):
        assert not one.overlaps(other), (one, other)


def test_a_figure_of_units_states_what_it_takes_to_make_it_again(fake: Make) -> None:
    sheet = outputs([finished_run(fake(**{"class": "zebra"}))])
    said = " ".join(texts(sheet))
    for words in (
        "net, layer1",
        "unit 3",
        "unit 4",
        "zebra",
        "12.2",
        "seed 7",
        "41 steps",
        "01234567",
    ):
        assert words in said
    assert len(sheet.figure.axes) == 2


@pytest.mark.parametrize("units", [1, 5, 8, 13])
def test_long_names_overlap_nothing(fake: Make, units: int) -> None:
    run = finished_run(fake(LONG.replace(" ", "_"), "layer", units=units, **{"class": LONG}))
    assert_legible(outputs([run]))
    assert_legible(
        layers([run, finished_run(fake("other", "a.rather.deeply.nested.layer.path.act"))])
    )
    assert_legible(comparison([run, finished_run(fake("other", "a.rather.deeply.nested.layer"))]))


def test_pdf_and_png_have_the_pages_width_and_the_same_bytes_again(
    fake: Make, tmp_path: Path
) -> None:
    run = finished_run(fake())
    written = [outputs([run]).write(tmp_path / name) for name in ("once", "again")]
    assert [path.name for path in written[0]] == ["once.pdf", "once.png"]
    for once, again in zip(*written, strict=True):
        assert once.read_bytes() == again.read_bytes()
    assert written[0][0].read_bytes().startswith(b"%PDF")
    with Image.open(written[0][1]) as image:
        assert image.width == round(WIDTH * DPI)


def test_layers_are_columns_and_networks_rows(fake: Make) -> None:
    runs = [finished_run(fake(net, layer)) for net in ("one", "two") for layer in ("a", "b", "c")]
    sheet = layers(runs)
    place = {text.get_text(): text.get_position() for text in sheet.figure.texts}
    assert place["a"][0] < place["b"][0] < place["c"][0]
    assert place["one"][1] > place["two"][1]
    assert len(sheet.figure.axes) == 3 * 2 * 2


def test_a_comparison_takes_two_networks(fake: Make) -> None:
    runs = [finished_run(fake(net, layer)) for net in ("one", "two") for layer in ("a", "logits")]
    place = {text.get_text(): text.get_position() for text in comparison(runs).figure.texts}
    assert place["one"][0] < place["two"][0]
    with pytest.raises(RequestError, match="two networks"):
        comparison(runs[:2])


def test_an_attack_that_failed_says_so(fake: Make) -> None:
    told = {
        "clean": [["cat", 0.75]], "adversarial": [["cat", 0.5]], "class": "balloon",
        "success": False, "linf": 8 / 255, "ssim": 0.9, "amplification": 16.0,
    }  # fmt: skip
    sheet = adversarial([finished_run(fake(method="adversarial", **told))])
    said = " ".join(texts(sheet))
    for words in ("not the target", "balloon", "8/255", "75 %", "12.2", "seed 7", "41 steps"):
        assert words in said
    assert_legible(sheet)
    succeeded = fake(method="adversarial", **told | {"success": True})
    assert "not the target" not in " ".join(texts(adversarial([finished_run(succeeded)])))


def test_an_attack_whose_numbers_are_not_finite_says_so(fake: Make) -> None:
    told = {
        "clean": [["cat", None]], "adversarial": [["cat", None]], "success": False,
        "linf": None, "ssim": None, "amplification": None,
        "activation": {"initial": None, "final": None},
    }  # fmt: skip
    sheet = adversarial([finished_run(fake(method="adversarial", **told))])
    assert {"n/a", "a n/a", "SSIM n/a", "\N{MULTIPLICATION SIGN} n/a"} <= set(texts(sheet))
    assert_legible(sheet)


def test_layers_that_took_other_steps_are_named(fake: Make) -> None:
    runs = [finished_run(fake(layer="logits" if n == 99 else "layer1", steps=n)) for n in (41, 99)]
    assert "seed 7, 41 steps, logits 99." in " ".join(texts(layers(runs)))


def test_a_dead_unit_is_called_dead(fake: Make) -> None:
    assert "unit 3 (dead)" in texts(outputs([finished_run(fake(status="dead"))]))


def test_a_figure_says_how_far_to_believe_each_picture_where_that_is_known(fake: Make) -> None:
    sheet = outputs([finished_run(fake(evidence={"word": "unsupported", "votes": {}}))])
    assert texts(sheet).count("unsupported") == 2
    assert "how far the evidence says to believe" in " ".join(texts(sheet))
    assert_legible(sheet)
    assert "evidence" not in " ".join(texts(outputs([finished_run(fake())])))


def test_a_picture_that_excites_its_unit_least_is_called_minimised(fake: Make) -> None:
    assert "unit 3 (minimised)" in texts(outputs([finished_run(fake(sign=-1))]))


def test_a_figure_of_clips_states_the_motion(clips: Run) -> None:
    sheet, _ = grid([(clips, [read_clip(unit) for unit in clips.units])])
    said = " ".join(texts(sheet))
    for words in ("video", "layer1", "unit 3: a 12.2", "0°, 1.00 px/fr", "curl 0.12",
                  "kept 0.88, still \N{MINUS SIGN}0.01, reversed 0.12",
                  "seed 7", "41 steps", "frame 1", "frame 3", "frame 5", "≤ 1 px/fr"):  # fmt: skip
        assert words in said
    assert len(sheet.figure.axes) == 2 * 6 + 1
    assert_legible(sheet)


def test_a_unit_that_a_standing_clip_excites_as_well_has_no_direction(clips: Run) -> None:
    motion = clips.units[0].record_of(TextureMotionRecord).motion
    still = changed(clips.units[0], motion=replace(motion, direction_deg=None, kind="still"))
    said = texts(grid([(clips, [read_clip(still)])])[0])
    assert "still, 1.00 px/fr, curl 0.12" in said
    assert not any("°, 1.00 px/fr" in text for text in said)


def test_a_motion_whose_numbers_are_not_finite_is_not_available(clips: Run) -> None:
    motion = MotionRecord(velocity=(None, None))
    unit = changed(clips.units[0], motion=motion, activations={}, motion_index=None)
    sheet, _ = grid([(clips, [read_clip(unit)])])
    assert {"speed n/a", "kept n/a, still n/a, reversed n/a"} <= set(texts(sheet))
    assert_legible(sheet)


@pytest.mark.parametrize("name", ["speed", "divergence", "curl", "velocity"])
def test_one_number_that_is_not_finite_leaves_the_others(clips: Run, name: str) -> None:
    record = clips.units[0].record_of(TextureMotionRecord)
    unit = changed(clips.units[0], motion=replace(record.motion, **{name: None}))
    said = texts(grid([(clips, [read_clip(unit)])])[0])
    shown = {"curl": "0°, 1.00 px/fr", "velocity": "1.00 px/fr, curl 0.12"}
    assert shown.get(name, "0°, 1.00 px/fr, curl 0.12") in said


def test_the_reconstruction_is_the_texture_moved(clips: Run) -> None:
    clip = read_clip(clips.units[0])
    for t in range(T):
        seen = clip.texture[:, :, T - t : T - t + W]
        np.testing.assert_allclose(clip.reconstruction[:, t], seen, atol=1e-5)


def test_the_animation_moves_the_clips_alone(clips: Run, tmp_path: Path) -> None:
    written = write_motion(tmp_path / "figure", [clips])
    assert [path.suffix for path in written] == [".pdf", ".png", ".gif"]
    with Image.open(written[2]) as image:
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    assert len(frames) == T
    assert frames[0].shape[1] > 800
    changed = (frames[1] != frames[0]).any(-1)
    assert 0.05 < changed.mean() < 0.6


def test_a_run_that_is_not_done_is_refused(fake: Make, tmp_path: Path) -> None:
    folder = fake()
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"status": "interrupted"}))
    with pytest.raises(RequestError, match="interrupted, not done"):
        finished_run(folder)
    with pytest.raises(RequestError, match="no run"):
        finished_run(tmp_path / "absent")


def test_a_missing_unit_or_picture_is_named(fake: Make) -> None:
    run = finished_run(fake())
    (run.units[1].folder / "image.png").unlink()
    with pytest.raises(RequestError, match=r"layer1-00004 has no image\.png") as caught:
        outputs([run])
    assert "\n" not in str(caught.value)
    (run.units[1].folder / "metadata.json").unlink()
    with pytest.raises(RequestError, match=r"layer1-00004 has no metadata\.json"):
        finished_run(run.folder)


# --- experiments


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with empty files where the local experiments look for theirs."""
    folder = tmp_path / "weights"
    for name in (*(f"weights/{name}.safetensors" for name in WEIGHTS), "models/shufflenet3d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("FVIS_WEIGHTS", str(folder))
    yield folder


OF_NO_FIGURE = ("demo/*", "local/*accentuation_*", "local/inversion_*", "local/caricature_*")


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_composes(path: Path, weights: Path) -> None:
    name = path.relative_to(EXPERIMENTS).with_suffix("").as_posix()
    jobs = planned_runs(name)
    assert len({job.name for job in jobs}) == len(jobs)
    swept = OmegaConf.select(OmegaConf.load(path), "hydra.mode") == "MULTIRUN"
    assert (len(jobs) > 1) is swept
    if swept:
        assert len({job.config.target.layer for job in jobs}) == len(jobs)


def test_every_figure_is_of_a_known_kind_and_of_experiments_that_are_there() -> None:
    modes = OmegaConf.to_container(OmegaConf.load(figures.DEFINITIONS))
    assert isinstance(modes, dict)
    used = set()
    for definition in itertools.chain.from_iterable(map(figures.definitions, modes)):
        assert definition.kind in figures.KINDS
        assert definition.name.startswith(("zhu2025_fig_", "li2025_fig_"))
        used |= {EXPERIMENTS / f"{name}.yaml" for name in definition.experiments}
    assert all(path.is_file() for path in used)
    others = {path for name in OF_NO_FIGURE for path in EXPERIMENTS.glob(name)}
    assert set(EXPERIMENTS.glob("*/*.yaml")) - others <= used


Finish = Callable[[PlannedRun, str, Mapping[str, Any]], None]


@pytest.fixture
def finish(fake: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finish:
    """Puts a job's finished run in place: its weights' SHA-256 and config; none other is made."""

    def write(job: PlannedRun, sha256: str, config: Mapping[str, Any]) -> None:
        folder = tmp_path / "runs" / job.name
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            fake().rename(folder)
        record = json.loads((folder / "run.json").read_text())
        record |= {"config": config, "model": {"name": "net", "weights": {"sha256": sha256}}}
        (folder / "run.json").write_text(json.dumps(record))

    def refuse(command: list[str]) -> Any:
        raise RequestError(" ".join(command))

    monkeypatch.setattr(figure_runs, "status_of", refuse)
    return write


def test_a_finished_run_is_used_again_unless_the_experiment_changed(
    finish: Finish, tmp_path: Path
) -> None:
    job = planned_runs("glyph_cnn_classes")[0]
    sha256 = models.load(job.config.model).sha256
    config = asdict(job.config)
    config["transforms"]["crop"] = [0.2, 1.0]  # left open in the experiment
    finish(job, sha256, config)
    assert len(carry_out(job, tmp_path / "runs").units) == 2
    for section, key, value in (
        ("engine", "steps", config["engine"]["steps"] + 1),
        ("target", "direction", "d.npy"),  # None in the experiment, and not left open
        ("model", "kwargs", {"width": 2}),
    ):
        finish(job, sha256, {**config, section: {**config[section], key: value}})
        with pytest.raises(RequestError, match="run experiment=glyph_cnn_classes"):
            carry_out(job, tmp_path / "runs")


def test_a_finished_run_is_not_used_again_after_its_checkpoint_was_replaced(
    finish: Finish, weights: Path, tmp_path: Path
) -> None:
    file = weights / "r3d_18.pth"
    file.write_bytes(b"old")
    job = planned_runs("papers/li2025_r3d_18", weights)[0]
    finish(job, sha256_of_file(file), asdict(job.config))
    assert carry_out(job, tmp_path / "runs").units
    file.write_bytes(b"new")
    with pytest.raises(RequestError, match="run experiment=papers/li2025_r3d_18"):
        carry_out(job, tmp_path / "runs")


def test_a_finished_run_is_not_used_again_after_its_network_was_trained_anew(
    finish: Finish, tmp_path: Path
) -> None:
    job = planned_runs("glyph_cnn_classes")[0]
    finish(job, "0123456789abcdef", asdict(job.config))
    with pytest.raises(RequestError, match="run experiment=glyph_cnn_classes"):
        carry_out(job, tmp_path / "runs")


def test_a_hubs_network_is_read_from_the_folder_of_weights(weights: Path) -> None:
    (weights / "r3d_18.pth").touch()
    job = planned_runs("papers/li2025_r3d_18", weights)[0]
    assert job.config.model.checkpoint == str(weights / "r3d_18.pth")
    assert not job.config.model.pretrained


def test_a_papers_network_is_read_from_the_file_that_was_published(weights: Path) -> None:
    with pytest.raises(MissingFileError, match=r"c3d\.safetensors"):
        planned_runs("papers/li2025_c3d", weights)
    (weights / "c3d.pickle").touch()
    job = planned_runs("papers/li2025_c3d", weights)[0]
    assert job.config.model.checkpoint == str(weights / "c3d.pickle")


def test_figures_whose_weights_are_absent_are_left_out_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FVIS_WEIGHTS", str(tmp_path))
    assert figures.main(["local", "li2025_fig_gestures", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("figures: li2025_fig_gestures left out: no file ")
    assert figures.main(["local", "li2025_fig_gesture"]) == 2
    assert "nearest: li2025_fig_gestures" in capsys.readouterr().err
    monkeypatch.delenv("FVIS_WEIGHTS")
    assert figures.main(["local"]) == 2
    assert "FVIS_WEIGHTS" in capsys.readouterr().err


def test_a_figure_that_fails_is_left_out_in_one_line_and_the_next_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    faults = iter([None, KeyError("motion"), RequestError("two\nlines")])

    def carry_out(job: PlannedRun, runs: Path) -> Run:
        asked.append(job.name)
        if fault := next(faults):
            raise fault
        return figure_runs.carry_out(job, runs)

    monkeypatch.setattr(figure_runs, "status_of", lambda command: 2)
    monkeypatch.setattr(figures, "carry_out", carry_out)
    names = ["zhu2025_fig_output_glyph_cnn", "zhu2025_fig_output_glyph_vit", "zhu2025_fig_layers"]
    assert figures.main(["offline", *names, "--out", str(tmp_path)]) == 1
    assert len(asked) == 3
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == f"figures: {names[0]} left out: fvis run experiment=glyph_cnn_classes failed"
    assert second == f"figures: {names[1]} left out: KeyError: 'motion'"
    assert third == f"figures: {names[2]} left out: two lines"


@pytest.mark.slow
def test_an_interruption_ends_the_run_too_and_nothing_is_lost(tmp_path: Path) -> None:
    """Only `make` is told, as a scheduler does it; a second one goes on from there."""
    name = "zhu2025_fig_output_glyph_cnn"
    command = [sys.executable, "-m", "fvis.figures.make", "offline", name, "--out", str(tmp_path)]
    working = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    record = tmp_path / "offline" / "runs" / "glyph_cnn_classes" / "run.json"
    while not record.is_file():
        assert working.poll() is None
        time.sleep(0.05)
    working.terminate()
    _, said = working.communicate()
    assert working.returncode == 1
    assert said.endswith("figures: interrupted; the same command goes on\n")
    assert "Traceback" not in said
    assert json.loads(record.read_text())["status"] == "interrupted"
