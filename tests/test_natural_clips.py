"""Natural clips beside synthetic ones: the strongest are those that move as the unit wants it."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fvis import artifacts, videos
from fvis.capture import Network
from fvis.context import Context
from fvis.errors import RequestError
from fvis.models import Model, Preprocessing, load
from fvis.motion.pictures import GAP
from fvis.natural_clips import NaturalClips, Window, natural_clips
from fvis.objectives import resolve
from fvis.record.motion import TextureMotionRecord
from fvis.record.unit import UnitRecord
from fvis.typed_json import from_json
from tests.methods.test_adversarial import config_of, run
from tests.motion.reference import clip_of, translating

SIDE, FRAMES = 52, 16
DRIFTS = {0: 1.5, 90: 1.5, 200: 1.5}  # of the planted units: px/frame, by direction in degrees
PLANTED = (
    *("model=planted_motion", "+model.kwargs.wavelengths=9.0", "target.layer=energy"),
    f"+model.kwargs.angles_deg={[*DRIFTS]}",
    f"+model.kwargs.speeds={[*DRIFTS.values()]}",
    *(f"model.input.height={SIDE}", f"model.input.width={SIDE}", "target.units=[0,1,2]"),
)


def drifting(degrees: float, speed: float, frames: int) -> Tensor:
    """A texture that drifts in a direction (90: up) by `speed` px/frame, (3, T, H, W)."""
    x, y = math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))
    return clip_of(translating(speed * x, speed * y, (frames, SIDE, SIDE)), 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same texture in each unit's direction, at its speed and at a third of it; and more."""
    made = tmp_path_factory.mktemp("videos")
    for degrees, speed in DRIFTS.items():
        for name, factor in (("fast", 1), ("slow", 1 / 3)):
            clip = drifting(degrees, factor * speed, 2 * FRAMES)
            artifacts.write_mp4(made / f"{name}-{degrees}.mp4", clip, 8)
    artifacts.write_mp4(made / "still.mp4", drifting(0, 0, FRAMES), 8)
    artifacts.write_mp4(made / "short.mp4", drifting(0, 1.5, FRAMES - 1), 8)
    (made / "broken.mp4").write_bytes(b"no video")
    return made


def measured(clips: Path | list[Path], cache: Path, *settings: str, model: Any = None) -> Any:
    """The `NaturalClips` of the videos."""
    places = [clips] if isinstance(clips, Path) else clips
    asked = f"grounding.clips=[{','.join(map(str, places))}]"
    config = config_of(*PLANTED, asked, f"grounding.cache={cache}", *settings)
    model = model or load(config.model)
    targets = resolve(config.target, model, 0)
    context = Context(config, model, torch.device("cpu"))
    return natural_clips(context, targets, Network(model, targets.layers))


@pytest.fixture(scope="module")
def natural(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> NaturalClips:
    return measured(folder, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("unit", range(len(DRIFTS)))
def test_the_strongest_clip_drifts_in_the_units_direction_at_its_speed(
    natural: NaturalClips, unit: int
) -> None:
    (first,) = natural.strongest(unit, 1)
    assert first.file.name == f"fast-{[*DRIFTS][unit]}.mp4"
    assert first.activation == natural.scores[:, unit].max()


def test_all_windows_of_all_videos_are_measured(natural: NaturalClips) -> None:
    assert len(natural.files) == 7, "the broken one and the short one are left out"
    assert len(natural.places) == 6 * 3 + 1
    assert [start for file, start in natural.places if file.name == "slow-90.mp4"] == [0, 8, 16]


def test_an_activation_is_that_of_the_window_at_its_place(
    folder: Path, natural: NaturalClips
) -> None:
    model = load(config_of(*PLANTED).model)
    for window in natural.strongest(1, 3):
        clip = videos.window(window.file, window.start, model.preprocessing)
        with torch.no_grad():
            energy = model.module.energy(model.preprocessing.normalise(clip[None]))
        assert energy[0, 1].mean().item() == pytest.approx(window.activation, rel=1e-4)


def test_the_second_time_they_come_from_the_cache(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = measured(folder, tmp_path)
    told = [record.message for record in caplog.records]
    assert len(told) == 2
    assert "short.mp4 has fewer than 16 frames" in " ".join(told)
    caplog.clear()
    with monkeypatch.context() as patch:
        patch.setattr(videos, "windows", None)  # nothing needs to be read again
        again = measured(folder, tmp_path, "target.units=[2]")
    assert again.places == first.places
    assert again.files == first.files
    assert torch.equal(again.scores, first.scores)
    assert {"short.mp4", "broken.mp4"} == {Path(r.message).name for r in caplog.records}
    other = measured(folder / "still.mp4", tmp_path)
    assert len(other.scores) == 1


def test_a_video_that_was_changed_is_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    scores = []
    for degrees in DRIFTS:
        artifacts.write_mp4(path, drifting(degrees, 1.5, FRAMES), 8)
        scores.append(measured(path, tmp_path / "cache").scores[0, :3])
    assert torch.stack(scores).argmax(0).tolist() == [0, 1, 2]


class Brightness(nn.Module):
    """The mean of each colour; no more than three clips fit into memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, rgb: Tensor) -> Tensor:
        self.sizes.append(len(rgb))
        if len(rgb) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return rgb.mean((2, 3, 4))


def test_where_memory_runs_out_fewer_are_seen_at_once(tmp_path: Path) -> None:
    levels = torch.arange(40).view(1, -1, 1, 1).expand(3, -1, 16, 16) / 40
    artifacts.write_mp4(tmp_path / "a.mp4", levels, 8)
    plain = Preprocessing(16, 16, 4, (0.0,) * 3, (1.0,) * 3)
    given = Model(Brightness().eval(), "brightness", plain, None, "hash", "")
    found = measured(tmp_path, tmp_path / "c", "target.layer=logits", model=given)
    starts = torch.tensor([start for _, start in found.places])
    assert starts.tolist() == list(range(0, 37, 2))
    torch.testing.assert_close(found.scores[:, 0], (starts + 1.5) / 40, atol=0.01, rtol=0)
    sizes = given.module.sizes[2:]  # after those that make out the layer and the cache's key
    assert sizes.count(8) == 1, "what did not fit once is not tried again"


def windows(*places: tuple[str, int, float]) -> NaturalClips:
    scores = torch.tensor([score for *_, score in places])[:, None]
    return NaturalClips(scores, [(Path(name), start) for name, start, _ in places], 4)


def test_each_file_is_shown_once_while_there_are_others() -> None:
    natural = windows(("a", 0, 9.0), ("a", 8, 8.0), ("b", 0, 1.0), ("b", 4, 2.0), ("c", 0, 5.0))
    found = natural.strongest(0, 3)
    assert found == [Window(Path(n), s, a) for n, s, a in (("a", 0, 9), ("c", 0, 5), ("b", 4, 2))]
    assert len(natural.strongest(0, 2)) == 2


def test_of_few_files_more_is_shown_but_no_frame_twice() -> None:
    natural = windows(("a", 0, 9.0), ("a", 2, 8.0), ("a", 4, 7.0), ("a", 6, 6.0), ("a", 8, 5.0))
    assert [window.start for window in natural.strongest(0, 9)] == [0, 4, 8]


def test_a_clips_activation_is_placed_among_the_windows() -> None:
    natural = windows(("a", 0, 1.0), ("a", 2, 2.0), ("b", 0, 3.0), ("b", 2, 4.0))
    found = natural.compare(0, 8.0, natural.strongest(0, 1))
    assert (found.windows, found.files) == (4, 2)
    assert (found.below, found.times_strongest) == (1.0, 2.0)
    assert found.percentiles["50"] == 2.5
    assert [(c.clip, c.start, c.activation) for c in found.strongest] == [("b", 2, 4.0)]


def test_no_video_that_can_be_used_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no video that can be read"):
        measured([folder / "short.mp4", folder / "broken.mp4"], tmp_path)


def test_only_units_of_networks_of_clips_have_natural_clips(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones(11, np.float32))
    with pytest.raises(RequestError, match="takes units"):
        measured(folder, tmp_path, "target.units=all", f"target.direction={tmp_path / 'v.npy'}")
    with pytest.raises(RequestError, match="needs a network of clips; glyph_cnn takes images"):
        run(tmp_path, f"grounding.clips={folder}")
    with pytest.raises(RequestError, match="activation_maximization"):
        run(tmp_path, "method=adversarial", "method.images=zoo:glyphs", f"grounding.clips={folder}")


def gif(path: Path) -> Tensor:
    """A GIF's frames (T, H, W, 3) in [0, 1]."""
    frames = []
    with Image.open(path) as image:
        for k in range(image.n_frames):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
    return torch.from_numpy(np.stack(frames)) / 255


QUICK = {
    "activation_maximization": (),
    "texture_motion": ("method.steps=2", "method.pilot_steps=0", "method.finalists=1"),
}


@pytest.mark.parametrize("method", QUICK)
def test_the_command_writes_it_down(method: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    units = run(
        out, *PLANTED, f"method={method}", *QUICK[method], "engine.steps=2", "target.units=[1]",
        f"grounding.clips={folder}", f"grounding.cache={tmp_path / 'cache'}", "grounding.patches=2",
    )  # fmt: skip
    ((name, unit),) = units.items()
    kind = TextureMotionRecord if method == "texture_motion" else UnitRecord
    record, faults = from_json(kind, unit)
    assert not faults
    found = record.natural_clips
    assert found is not None
    assert (found.windows, found.files, len(found.strongest)) == (19, 7, 2)
    assert found.strongest[0].clip == "fast-90.mp4", "no folder of this machine"
    highest = found.strongest[0].activation
    assert highest == found.percentiles["100"]
    assert found.times_strongest == pytest.approx(unit["activation"]["final"] / highest)
    assert {"natural.gif", "natural.mp4"} <= set(unit["files"])
    shown = gif(out / "units" / name / "natural.gif")
    assert shown.shape == (FRAMES, SIDE, 3 * SIDE + 2 * GAP, 3)
    preprocessing = load(config_of(*PLANTED).model).preprocessing
    for k, clip in enumerate(found.strongest):
        left = (k + 1) * (SIDE + GAP)
        expected = videos.window(folder / clip.clip, clip.start, preprocessing).permute(1, 2, 3, 0)
        alike = [  # a GIF has few colours, but the frames, in their order, can be told
            torch.corrcoef(torch.stack([shown[t, :, left : left + SIDE], expected[t]]).flatten(1))
            for t in range(FRAMES)
        ]
        assert min(matrix[0, 1] for matrix in alike) > 0.9
        assert (shown[0] - shown[-1])[:, left : left + SIDE].abs().mean() > 0.05
    inputs = json.loads((out / "run.json").read_text())["inputs"]
    assert str(folder / "fast-90.mp4") in inputs
    assert str(folder / "short.mp4") not in inputs
