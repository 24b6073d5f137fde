"""A canvas shows units what the whole input would; their pictures are better for less."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fvis import canvas as canvas_module
from fvis import runner, schema
from fvis.artifacts import read_apng, read_png
from fvis.canvas import Canvas, find_canvas
from fvis.capture import Network
from fvis.compose import compose
from fvis.context import Context, prepare
from fvis.errors import RequestError
from fvis.methods import METHODS
from fvis.models import Model, Preprocessing
from fvis.objectives import resolve
from fvis.optimization import run_stage
from fvis.randomness import random_generator
from fvis.schema import TargetConfig
from fvis.synthesis import Synthesizer

SIDE = 160
QUICK = ("engine.device=cpu", "engine.steps=12", "engine.checkpoint_every=0")


class Stack(nn.Module):
    """Strided convolutions whose units see 3, 7, 15 and 31 px, then classes."""

    def __init__(self, side: int | None = None) -> None:
        super().__init__()
        self.side = side
        self.convs = nn.ModuleList(nn.Conv2d(n, 8, 3, 2, 1) for n in (3, 8, 8, 8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        if self.side is not None and x.shape[-1] != self.side:
            raise ValueError(f"takes {self.side} px")
        for conv in self.convs:
            x = conv(x).relu()
        return self.head(x.mean((2, 3)))


def model_of(side: int | None = None) -> Model:
    torch.manual_seed(0)
    size = Preprocessing(SIDE, SIDE, None, (0.5,) * 3, (0.25,) * 3)
    return Model(Stack(side).eval(), "net", size, None, "", "")


def canvas_of(model: Model, wanted: str | int = "auto", **target: Any) -> Canvas:
    targets = resolve(TargetConfig(**target), model, 0)
    return find_canvas(targets, Network(model, targets.layers), wanted)


class Placed(nn.Module):
    """Units that weigh what they see by where it is: along the columns, in a corner; and not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 3, 3), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        rows, columns = (torch.linspace(1, -1, n) for n in maps.shape[-2:])
        ramp = torch.ones_like(maps[:1]) * columns
        corner = torch.ones_like(ramp) * (-2 * (rows[:, None] ** 2 + columns**2)).exp()
        weights = torch.cat([ramp[:, :1], corner[:, 1:2], torch.ones_like(ramp[:, 2:])], 1)
        made: Tensor = self.out(maps * weights)
        return made.mean((2, 3))


@pytest.mark.parametrize("position", ["mean", [40, 100]])
def test_units_that_know_their_place_are_shown_the_whole_input(position: Any) -> None:
    torch.manual_seed(0)
    size = Preprocessing(SIDE, SIDE, None, (0.5,) * 3, (0.25,) * 3)
    model = Model(Placed().eval(), "net", size, None, "", "")
    assert canvas_of(model, layer="out", position=position).side is None
    assert canvas_of(model, layer="conv", position=position).side is not None


JOINT = [{"unit": 1}, {"layer": "convs.1", "unit": 2}]


@pytest.mark.parametrize(
    ("position", "joint"),
    [("center", None), ([0, 0], None), ([3, 17], None), ([19, 19], None), ("center", JOINT)],
)
def test_units_have_the_same_values_on_a_canvas_as_in_any_input(position: Any, joint: Any) -> None:
    model = model_of()
    whole = resolve(TargetConfig("convs.2", position=position, joint=joint), model, 0)
    canvas = canvas_of(model, layer="convs.2", position=position, joint=joint)
    assert canvas.side is not None
    assert canvas.side < SIDE / 4
    rgb = torch.rand(2, 3, SIDE, SIDE, generator=random_generator("any"))
    y, x = canvas.offset
    part = rgb[..., y : y + canvas.side, x : x + canvas.side]
    with Network(model, whole.layers) as network, torch.no_grad():
        here = canvas.targets.values(network(part))
        for inputs in (rgb, canvas.framed(part)):
            for value, there in zip(here, whole.values(network(inputs)), strict=True):
                torch.testing.assert_close(value, there)


class ClipStack(nn.Module):
    """Convolutions over 8 frames of 48 x 64 px whose units see 5 and 9 px, then classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 6, (3, 5, 5), (1, 2, 2), (1, 2, 2))
        self.second = nn.Conv3d(6, 6, 3, 1, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).relu()).relu().mean((2, 3, 4)))


def clip_model() -> Model:
    torch.manual_seed(0)
    size = Preprocessing(48, 64, 8, (0.5,) * 3, (0.25,) * 3)
    return Model(ClipStack().eval(), "net", size, None, "", "")


@pytest.mark.parametrize("position", ["center", [0, 0, 0], [7, 23, 31], [2, 5, 20]])
def test_units_of_clips_have_the_same_values_on_a_canvas_of_all_frames(position: Any) -> None:
    model = clip_model()
    whole = resolve(TargetConfig("second", position=position), model, 0)
    canvas = canvas_of(model, layer="second", position=position)
    assert canvas.shape == (3, 8, 32, 32)  # the least that gives motion room
    rgb = torch.rand(2, *canvas.frame, generator=random_generator("any"))
    part = canvas.part(rgb)
    with Network(model, whole.layers) as network, torch.no_grad():
        (here,) = canvas.targets.values(network(part))
        for inputs in (rgb, canvas.framed(part)):
            torch.testing.assert_close(here, whole.values(network(inputs))[0])


def test_a_motif_of_a_clip_is_each_of_its_frames_enlarged() -> None:
    canvas = canvas_of(clip_model(), layer="second", position="center")
    frames = torch.linspace(0, 1, 8).view(1, 8, 1, 1).expand(*canvas.shape)
    motif = canvas.motif(canvas.framed(frames[None])[0])
    assert motif is not None
    assert motif.shape == (3, 8, 48, 48)
    torch.testing.assert_close(motif, frames[..., :1, :1].expand_as(motif))


def test_the_mean_of_a_clip_and_classes_take_the_whole_input() -> None:
    for target in ({"layer": "second"}, {"layer": "logits"}):
        assert canvas_of(clip_model(), **target).side is None


@pytest.mark.parametrize(
    ("layer", "position"), [("logits", "mean"), ("convs.3", "mean"), ("convs.3", "center")]
)
def test_a_canvas_is_only_as_large_as_it_is_worth(layer: str, position: str) -> None:
    canvas = canvas_of(model_of(), layer=layer, position=position)
    if layer == "logits":
        assert canvas.shape == (3, SIDE, SIDE)
    else:
        assert canvas.shape == ((3, 64, 64) if position == "mean" else (3, 48, 48))
    assert canvas_of(model_of(), "full", layer=layer, position=position).side is None


@pytest.mark.parametrize(("worthwhile", "side"), [(0.8, 48), (0.25, 32), (0.15, 16), (0.05, None)])
def test_a_tile_is_as_large_as_is_worthwhile_for_the_field(
    worthwhile: float, side: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.5 times the 31 px that a unit sees, once, or half, in whole strides of 16 px."""
    monkeypatch.setattr(canvas_module, "SMALLEST_TILE", 1)
    monkeypatch.setattr(canvas_module, "WORTHWHILE", worthwhile)
    assert canvas_of(model_of(), layer="convs.3", position="mean").side == side


def test_a_network_that_takes_one_size_gets_it() -> None:
    for position in ("mean", "center"):
        assert canvas_of(model_of(SIDE), layer="convs.2", position=position).side is None


@pytest.mark.parametrize(
    ("wanted", "target", "takes"),
    [
        (64, {}, "the whole input"),  # classes see everything
        (16, {"layer": "convs.3", "position": "center"}, r"\d+ px"),  # too small
        (400, {"layer": "convs.3"}, r"\d+ px"),  # larger than the input
    ],
)
def test_a_side_that_does_not_do_is_refused(
    wanted: int, target: dict[str, Any], takes: str
) -> None:
    with pytest.raises(RequestError, match=f"engine.canvas={wanted}: .* auto takes {takes}$"):
        canvas_of(model_of(), wanted, **target)


def test_a_side_that_is_asked_for_is_taken() -> None:
    assert canvas_of(model_of(), SIDE).side is None, "the whole input"
    assert canvas_of(model_of(), 48, layer="convs.2", position="center").side == 48
    assert canvas_of(model_of(), 100, layer="convs.2").side == 100


def test_a_periodic_canvas_fills_the_input_without_a_seam() -> None:
    canvas = canvas_of(model_of(), layer="convs.1")
    rgb = torch.rand(1, *canvas.shape)
    tiled = canvas.framed(rgb)
    assert tiled.shape == (1, 3, SIDE, SIDE)
    assert torch.equal(tiled[..., 64:128, 64:128], rgb)
    assert torch.equal(tiled.roll((-64, -64), (2, 3))[..., :64, :64], rgb)


def context(*settings: str) -> Context:
    return prepare(schema.parse(compose([*QUICK, *settings])))


@pytest.mark.parametrize("position", ["center", "[2,13]"])
def test_the_final_score_is_the_whole_networks_for_the_saved_picture(
    position: str, tmp_path: Path
) -> None:
    settings = ("target.layer=layer2", "target.units=[3,40]", f"target.position={position}")
    config = schema.parse(compose([*QUICK, *settings]))
    runner.run(config, tmp_path)
    model = prepare(config).model
    targets = resolve(config.target, model, 0)
    for unit in (3, 40):
        folder = tmp_path / "units" / f"layer2-{unit:05}"
        record = json.loads((folder / "metadata.json").read_text())
        picture = torch.from_numpy(read_png(folder / "image.png"))
        with Network(model, targets.layers) as network, torch.no_grad():
            (values,) = targets.values(network(picture[None]))
        assert record["activation"]["final"] == pytest.approx(values[0, unit].item(), rel=1e-4)
        assert record["activation"]["final"] > record["activation"]["initial"]
        canvas = record["canvas"]
        y, x = canvas["offset"]
        inside = torch.zeros(64, 64, dtype=torch.bool)
        inside[y : y + canvas["side"], x : x + canvas["side"]] = True
        assert (picture[:, ~inside] - 0.5).abs().max() < 1 / 255, "mid-grey around the canvas"
        motif = torch.from_numpy(read_png(folder / "motif.png"))
        assert motif.shape[1] == round(canvas["side"] * canvas["scale"]) == 64


STEM = ("model=drift_r3d", "target.layer=stem", "target.units=[1]", "target.position=center")
FEW = ("method=texture_motion", "method.steps=6", "method.pilot_steps=2", "method.finalists=1")


@pytest.mark.parametrize("method", [(), FEW])
def test_a_clip_on_a_canvas_has_the_score_that_is_told(
    method: tuple[str, ...], tmp_path: Path
) -> None:
    config = schema.parse(compose([*QUICK, *STEM, *method]))
    runner.run(config, tmp_path)
    model = prepare(config).model
    targets = resolve(config.target, model, 0)
    folder = tmp_path / "units" / "stem-00001"
    record = json.loads((folder / "metadata.json").read_text())
    (y, x), side = record["canvas"]["offset"], record["canvas"]["side"]
    assert side == 32
    if method:
        part = torch.from_numpy(np.load(folder / "flow.npz")["optimal"])
        assert part.shape == (3, 16, side, side)
        clip = torch.full((3, 16, 64, 64), 0.5)
        clip[..., y : y + side, x : x + side] = part
    else:
        clip = torch.from_numpy(read_apng(folder / "clip.apng"))
        assert clip.shape == (3, 16, 64, 64)
        with Image.open(folder / "motif.gif") as motif:
            assert (motif.n_frames, motif.size) == (16, (64, 64))
    with Network(model, targets.layers) as network, torch.no_grad():
        (values,) = targets.values(network(clip[None]))
    assert record["activation"]["final"] == pytest.approx(values[0, 1].item(), rel=1e-3)
    assert record["activation"]["final"] > record["activation"]["initial"]


def test_motion_on_a_canvas_may_have_as_many_terms_as_on_the_input() -> None:
    METHODS["texture_motion"](context(*STEM, *FEW, "method.velocity.terms=40"))
    height = context(*STEM).model.preprocessing.height
    given = context(*STEM, *FEW, f"method.velocity.terms={height + 1}")
    with pytest.raises(RequestError, match=f"at most {height}: frames of"):
        METHODS["texture_motion"](given)


@pytest.mark.parametrize("position", ["center", "mean"])
def test_a_spectrum_climbs_faster_where_frequencies_are_few(position: str) -> None:
    config = schema.parse(compose([]))
    canvas = canvas_of(model_of(), layer="convs.0", position=position)
    assert canvas.side is not None
    faster = (SIDE / canvas.side) ** 0.5
    assert canvas.engine(config).lr == pytest.approx(faster * config.engine.lr)
    assert canvas_of(model_of(), "full", layer="convs.0").engine(config) == config.engine
    pixels = schema.parse(compose(["parametrization=pixel"]))
    assert canvas.engine(pixels) == pixels.engine


@pytest.mark.slow
def test_a_canvas_excites_units_more_than_a_whole_input_that_is_cropped_anywhere_does() -> None:
    found = {}
    for name, settings in {
        "canvas": (),
        "cropped": ("engine.canvas=full", "transforms.crop=[0.2,1]", "transforms.flip=true"),
    }.items():
        given = context(
            "target.layer=layer2",
            "target.units=0:8",
            "target.position=center",
            "engine.steps=64",
            *settings,
        )
        synthesizer = Synthesizer(given, given.config.method)
        optima = synthesizer.optima(synthesizer.targets.targets, run_stage)
        found[name] = torch.tensor([optimum.final for optimum in optima])
    assert (found["canvas"] > found["cropped"]).float().mean() > 0.8
    assert found["canvas"].mean() > 1.5 * found["cropped"].mean()


def test_a_unit_alone_and_in_a_batch_have_the_same_picture() -> None:
    pictures = []
    for units in ("[5]", "[5]", "[2,5]"):
        given = context("target.layer=layer2", "target.position=center", f"target.units={units}")
        synthesizer = Synthesizer(given, given.config.method)
        optimum = synthesizer.optima(synthesizer.targets.targets, run_stage)[-1]
        assert optimum.motif is not None
        pictures.append(optimum.picture)
    assert torch.equal(pictures[0], pictures[1])
    assert (pictures[0] - pictures[2]).abs().mean() < 2 / 255
