"""Units are found, rescued or called dead; pictures depend on their own unit alone."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fvis import models, regularizers, runner, schema
from fvis.artifacts import read_apng, read_png
from fvis.compose import compose
from fvis.methods import METHODS, Context, Result
from fvis.models import Model, Preprocessing
from fvis.objectives import Target, resolve
from fvis.optimization import run_stage
from fvis.schema import (
    ActivationMaximizationConfig,
    Config,
    EngineConfig,
    FourierConfig,
    ModelConfig,
    OutputConfig,
    RegularizersConfig,
    TargetConfig,
    TransformsConfig,
)
from fvis.synthesis import Synthesizer

NATURAL = TransformsConfig(crop=[0.3, 1.0], rotate=10, flip=True, noise=0.1)


class Net(nn.Module):
    """A small random CNN or 3D CNN with a hidden layer, dead units and logits."""

    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        pool = nn.AdaptiveAvgPool2d if dims == 2 else nn.AdaptiveAvgPool3d
        self.conv = conv(3, 8, 5, 2)
        self.relu = nn.ReLU(inplace=True)
        self.pool = pool(1)
        self.head = nn.Linear(8, 6)
        with torch.no_grad():
            self.conv.bias[0] = -1e6  # dead: no input reaches above it
            self.conv.weight[1] = 0.3 * self.conv.weight[1].sign()
            self.conv.bias[1] = -4.0  # asleep: silent at the start, awake for the right picture
            self.conv.weight[1] -= self.conv.weight[1].mean()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.relu(self.conv(x))).flatten(1))


def context(dims: int = 2, steps: int = 40, seed: int = 0, **target: Any) -> Context:
    torch.manual_seed(0)
    size = (24, 24, None if dims == 2 else 6)
    model = Model(
        Net(dims).eval(), "net", Preprocessing(*size, (0.5,) * 3, (0.25,) * 3), None, "", ""
    )
    config = Config(
        ModelConfig(),
        TargetConfig(**target),
        ActivationMaximizationConfig(),
        FourierConfig(),
        NATURAL,
        EngineConfig(steps=steps, seed=seed),
        OutputConfig(),
    )
    return Context(config, model, torch.device("cpu"))


def solve(given: Context) -> list[Result]:
    method = METHODS["activation_maximization"](given)
    jobs = [job for group in method.groups for job in group]
    return method.solve(jobs, run_stage)


def picture(result: Result, folder: Path) -> torch.Tensor:
    path = folder / f"{result.name}.png"
    result.files["image.png"](path)
    return torch.from_numpy(read_png(path))


def test_every_unit_rises_and_the_saved_picture_gives_the_final_score(tmp_path: Path) -> None:
    given = context(units="all")
    for result in solve(given):
        activation = result.metadata["activation"]
        assert result.metadata["status"] == "ok"
        assert activation["final"] > activation["initial"]
        with torch.no_grad():
            rgb = picture(result, tmp_path)[None]
            score = given.model.module(given.model.preprocessing.normalise(rgb))
        assert score[0, result.metadata["unit"]].item() == pytest.approx(
            activation["final"], rel=1e-4, abs=1e-4
        )


def test_a_unit_alone_and_in_a_batch_agree() -> None:
    together = {r.name: r for r in solve(context(units=[0, 2, 3, 5]))}
    for unit in (0, 2, 3, 5):
        (alone,) = solve(context(units=unit))
        final = together[alone.name].metadata["activation"]["final"]
        assert alone.metadata["activation"]["final"] == pytest.approx(final, rel=0.02)


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path) -> None:
    runs = [solve(context(units=[1, 4], seed=seed)) for seed in (3, 3, 4)]
    files = []
    for k, results in enumerate(runs):
        path = tmp_path / f"{k}.png"
        results[0].files["image.png"](path)
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_global_random_state_is_neither_used_nor_changed() -> None:
    torch.manual_seed(5)
    given = context(units=0, steps=5)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = solve(given)[0].metadata["activation"]["final"]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    assert solve(given)[0].metadata["activation"]["final"] == first


def test_a_sleeping_unit_is_rescued_and_a_dead_one_reported() -> None:
    given = context(layer="relu", units=[0, 1, 3], steps=80)
    given.config.transforms = TransformsConfig()
    dead, asleep, plain = solve(given)
    assert dead.metadata["status"] == "dead"
    assert asleep.metadata["activation"]["initial"] == 0
    assert asleep.metadata["status"] == "rescued"
    assert asleep.metadata["activation"]["final"] > 0
    assert plain.metadata["status"] == "ok"


class Rounding(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (4 * x).round() / 4


class Undefined(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + (x - x).abs().sum(1, keepdim=True).sqrt()  # its derivative at 0 is no number


@pytest.mark.parametrize("block", [Rounding(), Undefined()])
def test_a_picture_that_never_moved_is_not_shown_as_what_excites_the_unit(
    block: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    given = context(units=[0, 3], steps=16)
    given.model.module.relu = block
    with torch.no_grad():  # units alike: what the views alone change is much beside their spread
        given.model.module.head.weight[:] = given.model.module.head.weight[0]
    assert [result.metadata["status"] for result in solve(given)] == ["dead", "dead"]
    told = {line for line in caplog.messages if line.startswith("the gradient is not finite")}
    named = "logits-00000, logits-00003"
    expected = f"the gradient is not finite, so that no step can be made: {named}"
    assert told == ({expected} if isinstance(block, Undefined) else set())


def test_a_unit_left_of_gelus_dip_is_climbed_to_what_it_responds_to() -> None:
    given = context(layer="relu", units=[2, 3], steps=80)
    given.config.transforms = TransformsConfig()
    net = given.model.module
    net.relu = nn.GELU()
    with torch.no_grad():
        net.conv.weight[2] -= net.conv.weight[2].mean()  # mid-grey gives the bias alone
        net.conv.bias[2] = -1.5  # the dip is at -0.75: from here the way up leads to -infinity
    given.config.method.rescue = False
    silenced = solve(given)[0].metadata
    assert silenced["status"] == "dead"
    assert silenced["activation"]["initial"] < silenced["activation"]["final"] <= 0
    given.config.method.rescue = True
    rescued, plain = (result.metadata for result in solve(given))
    assert rescued["status"] == "rescued"
    assert rescued["activation"]["final"] > 0.1
    assert plain["status"] == "ok"


def test_repeats_of_a_unit_differ_more_with_the_diversity_term(tmp_path: Path) -> None:
    def similarity(diversity: float) -> float:
        given = context(layer="relu", units=2, repeats=3, diversity=diversity, steps=60)
        rgb = torch.stack([picture(r, tmp_path) for r in solve(given)])
        with torch.no_grad():
            values = given.model.module.relu(given.model.module.conv(rgb * 4 - 2)).flatten(2)
        gram = torch.einsum("bcp,bdp->bcd", *[nn.functional.normalize(values, dim=1)] * 2)
        flat = nn.functional.normalize(gram.flatten(1), dim=1)
        return (flat @ flat.T)[0, 1].item()

    assert similarity(2.0) < similarity(0.0)


def test_a_clip_is_written_to_be_seen_and_the_very_one_that_was_scored(tmp_path: Path) -> None:
    given = context(dims=3, units=1, steps=10)
    (result,) = solve(given)
    assert sorted(result.files) == ["clip.apng", "clip.gif", "clip.mp4"]
    for name, write in result.files.items():
        write(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0
    activation = result.metadata["activation"]
    assert activation["final"] > activation["initial"]
    rgb = torch.from_numpy(read_apng(tmp_path / "clip.apng"))[None]
    with torch.no_grad():
        score = given.model.module(given.model.preprocessing.normalise(rgb))[0, 1].item()
    assert score == pytest.approx(activation["final"], rel=1e-4, abs=1e-5)


def test_bfloat16_climbs_too_and_agrees_roughly() -> None:
    given = context(units=[0, 1])
    exact = [r.metadata["activation"]["final"] for r in solve(given)]
    given.config.engine.precision = "bf16"
    rough = [r.metadata["activation"]["final"] for r in solve(given)]
    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.2)


def test_the_models_weights_are_untouched() -> None:
    given = context(units=[0, 1], steps=5)
    before = {k: v.clone() for k, v in given.model.module.state_dict().items()}
    solve(given)
    for key, value in given.model.module.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(p.grad is None and p.requires_grad for p in given.model.module.parameters())


@pytest.mark.parametrize("name", ["total_variation", "l2"])
def test_regularizers_of_the_config_reach_the_ascent(name: str) -> None:
    given = context(units=2)
    assert isinstance(given.config.method, ActivationMaximizationConfig)
    weights = RegularizersConfig(**{name: 0.9})
    method = dataclasses.replace(given.config.method, regularizers=weights)
    heavy = dataclasses.replace(given, config=dataclasses.replace(given.config, method=method))
    measure = getattr(regularizers, name)
    free, held = (
        measure(Synthesizer(c, c.config.method).optima(targets_of(c), run_stage)[0].picture[None])
        for c in (given, heavy)
        if isinstance(c.config.method, ActivationMaximizationConfig)
    )
    assert held < 0.8 * free


def targets_of(given: Context) -> list[Target]:
    return list(resolve(given.config.target, given.model, 0).targets)


def test_random_numbers_differ_between_models_layers_units_repeats_purposes_and_seeds() -> None:
    drawn = set()
    for seed, layer, name in itertools.product((0, 1), ("logits", "relu"), ("net", "other")):
        given = context(seed=seed, layer=layer, units=[2, 3], repeats=2)
        given = dataclasses.replace(given, model=dataclasses.replace(given.model, name=name))
        assert isinstance(given.config.method, ActivationMaximizationConfig)
        synthesizer = Synthesizer(given, given.config.method)
        for purpose in ("start", "transforms"):
            for generator in synthesizer.random_generators(targets_of(given), purpose):
                drawn.add(torch.rand(1, generator=generator).item())
    assert len(drawn) == 2**6


def test_several_views_that_are_all_alike_change_nothing() -> None:
    found = []
    for views in (1, 3):
        given = context(units=[0, 2, 5], steps=10)
        given.config.transforms = TransformsConfig(views=views)
        found.append([result.metadata["activation"] for result in solve(given)])
    for one, several in zip(*found, strict=True):
        rise = one["final"] - one["initial"]
        assert rise > 0.03
        assert several["final"] == pytest.approx(one["final"], abs=0.05 * rise)


TILTED = """
import math, torch
from torch import nn

def build(kernel=15, wave=7.0):
    place = torch.arange(kernel) - kernel // 2
    envelope = torch.exp(-(place[:, None] ** 2 + place**2) / 18)
    conv = nn.Conv2d(3, 4, kernel, bias=False)
    for unit, degrees in enumerate((30, 60, 120, 150)):
        angle = math.radians(degrees)
        along = math.cos(angle) * place + math.sin(angle) * place[:, None]
        conv.weight.data[unit] = envelope * torch.sin(2 * math.pi * along / wave) / 30
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


def orientation(rgb: torch.Tensor) -> float:
    """The direction across the stripes of a picture (3, H, W), degrees."""
    grey = rgb.mean(0)
    window = torch.hann_window(len(grey), periodic=False)
    energy = torch.fft.fft2((grey - grey.mean()) * window * window[:, None]).abs().square()
    y, x = torch.fft.fftfreq(len(grey))[:, None], torch.fft.fftfreq(len(grey))
    return math.degrees(math.atan2((energy * 2 * x * y).sum(), (energy * (x**2 - y**2)).sum()) / 2)


@pytest.mark.parametrize("position", ["mean", "center"])
def test_a_tilted_units_picture_is_tilted_as_it_is(tmp_path: Path, position: str) -> None:
    (tmp_path / "tilted.py").write_text(TILTED)
    words = [
        "model=factory", f"model.factory={tmp_path}/tilted.py:build", "model.input.height=96",
        "model.input.width=96", "target.layer='1'", f"target.position={position}",
        "engine.device=cpu", "engine.steps=60",
    ]  # fmt: skip
    runner.run(schema.parse(compose(words)), tmp_path / "out")
    for unit, degrees in enumerate((30, 60, 120, 150)):
        folder = tmp_path / "out" / "units" / f"1-{unit:05}"
        name = "image.png" if position == "mean" else "motif.png"
        found = orientation(torch.from_numpy(read_png(folder / name)))
        assert abs((found - degrees + 90) % 180 - 90) < 12


def test_repeats_of_a_class_are_all_of_that_class(tmp_path: Path) -> None:
    words = ["model=glyph_cnn", "target.units=[0,1,9]", "target.repeats=2", "engine.device=cpu"]
    config = schema.parse(compose(words))
    runner.run(config, tmp_path / "out")
    network = models.load(config.model)
    for unit in (0, 1, 9):
        folders = [tmp_path / "out" / "units" / f"logits-{unit:05}-r{n}" for n in (0, 1)]
        rgb = torch.stack([torch.from_numpy(read_png(each / "image.png")) for each in folders])
        with torch.no_grad():
            seen = network.module(network.preprocessing.normalise(rgb)).argmax(1)
        assert seen.tolist() == [unit, unit]
        assert torch.corrcoef(rgb.flatten(1))[0, 1] < 0.8
