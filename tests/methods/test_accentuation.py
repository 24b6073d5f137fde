"""A photograph is changed for a unit, and stays near itself at a layer before it."""

import functools
from pathlib import Path

import pytest
import torch

from fvis import photographs, runner, schema
from fvis.artifacts import read_png
from fvis.capture import Network
from fvis.compose import compose
from fvis.errors import RequestError
from fvis.methods import Result
from fvis.models.layers import survey
from fvis.optimization import run_stage
from fvis.plan import plan

START = "parametrization.start=zoo:glyphs/03-striped-disc.png"
WORDS = ("method=accentuation", "target.layer=layer3", "engine.device=cpu", "engine.steps=24")


@functools.cache
def solved(*words: str) -> list[Result]:
    config = schema.parse(compose([*WORDS, *words]))
    context = runner.prepare(config)
    return [
        result
        for method in plan(context).methods
        for result in method.solve([job for group in method.groups for job in group], run_stage)
    ]


def picture(result: Result, name: str, folder: Path) -> torch.Tensor:
    result.files[name](folder / name)
    return torch.from_numpy(read_png(folder / name))


def test_the_unit_rises_and_the_numbers_are_those_of_the_saved_files(tmp_path: Path) -> None:
    (result,) = solved(START, "target.units=5", "transforms=none", "method.weight=0.2")
    record = result.metadata
    assert record["status"] == "ok"
    assert record["times"] > 1.2
    assert result.name == "layer3-00005-03-striped-disc"
    context = runner.prepare(schema.parse(compose([*WORDS, START])))
    layers = survey(context.model)
    pair = torch.stack([picture(result, f"{n}.png", tmp_path) for n in ("photograph", "image")])
    with Network(context.model, [layers["layer3"], layers["layer2"]]) as network, torch.no_grad():
        own, before = network(pair)
    activations = own.mean((2, 3))[:, 5]
    assert activations.tolist() == pytest.approx(
        [record["activation"][key] for key in ("initial", "final")], rel=1e-3, abs=1e-4
    )
    assert record["distance"]["layer"] == "layer2", "the stage before"
    assert record["distance"]["picture"] == pytest.approx(
        (before[1] - before[0]).norm().item(), rel=1e-3
    )


def test_a_heavier_weight_holds_the_picture_nearer() -> None:
    def distance(weight: float) -> float:
        (result,) = solved(START, "target.units=5", "transforms=none", f"method.weight={weight}")
        return float(result.metadata["distance"]["picture"])

    free, held = distance(0), distance(0.9)
    assert held < 0.7 * free


def test_the_strongest_photographs_of_each_unit_are_accentuated(tmp_path: Path) -> None:
    words = ("grounding.images=zoo:glyphs", f"grounding.cache={tmp_path}", "method.strongest=2")
    results = solved(*words, "target.units=[5,8]", "engine.steps=2")
    assert len(results) == 4
    context = runner.prepare(schema.parse(compose([*WORDS, *words])))
    layer = survey(context.model)["layer3"]
    files = photographs.find("zoo:glyphs")
    rgb = photographs.batch(files, context.model.preprocessing)
    with Network(context.model, [layer]) as network, torch.no_grad():
        scores = network(rgb)[0].mean((2, 3))
    for unit, pair in ((5, results[:2]), (8, results[2:])):
        order = scores[:, unit].argsort(descending=True)[:2].tolist()
        assert [r.metadata["image"] for r in pair] == [files[row].stem for row in order]
        assert all(r.metadata["distance"]["photographs"] > 0 for r in pair)


def test_a_picture_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    together = solved(START, "target.units=[5,8]", "engine.steps=3")
    (alone,) = solved(START, "target.units=8", "engine.steps=3")
    pictures = [picture(result, "image.png", tmp_path) for result in (together[1], alone)]
    assert (pictures[0] - pictures[1]).abs().max() <= 1 / 255


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", "8/255"), ("l2", "1.0"), ("l2", "null")])
def test_the_ball_holds_on_the_files(norm: str, epsilon: str, tmp_path: Path) -> None:
    words = (f"method.norm={norm}", f"method.epsilon={epsilon}", "method.weight=0")
    (result,) = solved(START, "target.units=5", "transforms=none", *words)
    change = picture(result, "image.png", tmp_path) - picture(result, "photograph.png", tmp_path)
    assert change.any()
    assert result.metadata["times"] > 1
    if norm == "linf":
        assert 255 * change.abs().max() <= 8 + 1e-3
    else:
        usual = 8 / 255 * change.numel() ** 0.5  # a change of every value by 8/255
        assert change.norm() <= (usual if epsilon == "null" else 1) + 1e-4


def test_a_unit_of_the_first_stage_is_held_at_its_own_layer() -> None:
    (result,) = solved(START, "target.layer=layer1", "target.units=5", "engine.steps=1")
    assert result.metadata["distance"]["layer"] == "layer1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "needs a photograph"),
        ((START, "target.repeats=2"), "target.repeats must be 1"),
        ((START, "grounding.clips=x"), "grounding.clips needs a method"),
        ((START, "model=drift_r3d"), "takes clips"),
        ((START, "method.layer=layer9"), "no layer 'layer9'"),
        ((START, "method.norm=linf", "method.epsilon=0"), "between 1/255"),
        (("grounding.images=zoo:glyphs", "target.joint=[{unit: 1}]"), "takes units"),
    ],
)
def test_what_cannot_be_accentuated_is_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        solved(*words)


NETWORK = """
import torch
from torch import nn

class Turned(nn.Module):
    def forward(self, x):
        return x.flatten(2).permute(2, 0, 1)

class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.ones(1, 4, 1, 1))

    def forward(self):
        return self.table * 2

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.stem, self.turned = Table(), nn.Conv2d(3, 4, 3), Turned()
        self.head = nn.Conv2d(4, 5, 3)

    def forward(self, x):
        table, x = self.table(), self.stem(x)
        return self.head(x + self.turned(x).mean() + table)

def build():
    return Net().eval()
"""


@pytest.mark.parametrize(
    ("layer", "said"), [("turned", "not the batch"), ("table", "does not depend on the picture")]
)
def test_photographs_are_only_held_by_what_tells_them_apart(
    layer: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    words = (
        START, "model=factory", f"model.factory={tmp_path / 'net.py'}:build",
        "model.input.height=24", "model.input.width=24", "target.layer=head", "engine.steps=1",
    )  # fmt: skip
    with pytest.raises(RequestError, match=said):
        solved(*words, f"method.layer={layer}")
    (result, *_) = solved(*words, "target.units=1")
    assert result.metadata["distance"]["layer"] == "stem"
