"""A generator's latent climbs: the picture is the generator's, its prior holds, nothing leaks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fvis.artifacts import read_png
from fvis.compose import compose
from fvis.context import Context
from fvis.errors import RequestError
from fvis.plan import plan
from fvis.runner import prepare
from fvis.schema import parse
from tests.conftest import Call
from tests.priors.runs import png, resumed_after, solved

# G(z): two colours and where the edge between them lies; it ends before the canvas's own size.
CODE = """
import torch
from torch import nn

class Halves(nn.Module):
    def __init__(self, side=48):
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.ones(3))
        self.norm = nn.BatchNorm1d(7)  # in train mode, rows would depend on one another

    def forward(self, z):
        z = self.norm(z)
        across = torch.linspace(-2, 2, self.side) - z[:, 6, None]
        share = torch.sigmoid(6 * across)[:, None, None, :].expand(-1, 3, self.side, -1)
        left, right = (torch.tanh(c)[:, :, None, None] for c in (z[:, :3], z[:, 3:6]))
        return self.weight[:, None, None] * torch.lerp(left, right, share)

def build(**kwargs):
    return Halves(**kwargs)

def deaf():
    return lambda z: torch.zeros(len(z), 3, 48, 48)

def flat():
    return lambda z: z[:, :3]

def nothing():
    return None
"""
PRIOR = ("prior=generator", "prior.latent=[7]", "engine.steps=12", "engine.device=cpu")


@pytest.fixture
def factory(tmp_path: Path) -> str:
    path = tmp_path / "halves.py"
    path.write_text(CODE)
    return str(path)


def context(factory: str, *words: str) -> Context:
    return prepare(parse(compose([*PRIOR, f"prior.factory={factory}:build", *words])))


def test_the_picture_is_one_that_the_generator_draws(factory: str, tmp_path: Path) -> None:
    (result,) = solved(context(factory, "target.units=4"))
    png(result, tmp_path)
    rgb = torch.from_numpy(read_png(tmp_path / "image.png"))
    assert rgb.shape == (3, 64, 64)
    # Every row of a picture of two halves is the same, whatever the unit would like to see.
    assert torch.equal(rgb, rgb[:, :1].expand_as(rgb))
    activation = result.record.activation
    assert activation.final is not None and activation.initial is not None
    assert activation.final > activation.initial + 0.2


def test_the_record_says_which_prior_and_what_it_costs(factory: str) -> None:
    (result,) = solved(context(factory, "target.units=4"))
    prior = result.record.prior
    assert prior is not None and prior.weights is not None and prior.name == "generator"
    assert len(prior.weights.sha256) == 64
    words = ["target.units=4", "engine.steps=12", "engine.canvas=full", "engine.device=cpu"]
    bare = prepare(parse(compose(words)))
    (without,) = solved(bare)
    assert prior.activation == {
        "with": result.record.activation.final,
        "without": without.record.activation.final,
    }
    assert "prior" not in without.metadata
    (alone,) = solved(context(factory, "target.units=4", "prior.compare=false"))
    assert alone.record.prior is not None
    assert alone.record.prior.activation["without"] is None
    assert alone.record.activation.final == result.record.activation.final


def test_no_picture_depends_on_its_neighbours(factory: str, tmp_path: Path) -> None:
    together = solved(context(factory, "target.units=[4,9]", "prior.compare=false"))
    (alone,) = solved(context(factory, "target.units=9", "prior.compare=false"))
    assert png(together[1], tmp_path) == png(alone, tmp_path)
    assert png(together[0], tmp_path) != png(alone, tmp_path)


def test_decay_holds_the_latent_near_what_the_generator_was_trained_on(factory: str) -> None:
    lengths = []
    for decay in (0.0, 2.0):
        ends: list[torch.Tensor] = []

        def run(stage: str, optimization: Any, ends: list[torch.Tensor] = ends) -> None:
            optimization.run()
            ends.append(optimization.state_dict()["parameters"][0])

        words = (f"prior.decay={decay}", "prior.compare=false", "engine.steps=40")
        solved(context(factory, "target.units=4", *words), run)
        lengths.append(ends[0].abs().max().item())
    assert lengths[1] < 0.8 * lengths[0]


def test_a_saved_ascent_goes_on_to_the_same_bytes(factory: str, tmp_path: Path) -> None:
    words = ("target.units=4", "prior.compare=false")
    (whole,) = solved(context(factory, *words))
    (resumed,) = resumed_after(5, lambda: context(factory, *words), tmp_path / "state.pt")
    assert png(resumed, tmp_path) == png(whole, tmp_path)
    assert resumed.record.activation == whole.record.activation


def test_an_early_layer_gets_whole_pictures(factory: str) -> None:
    given = context(factory, "target.layer=layer1", "target.units=3", "target.position=center")
    (method,) = plan(given).methods
    assert method.share == 1.0
    assert (
        plan(prepare(parse(compose(["target.layer=layer1", "target.position=center"])))).share < 1
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prior=generator"], "prior.factory=path/to/file.py:function"),
        (["prior=generator", "prior.factory=a:b", "engine.canvas=32"], "makes whole pictures"),
        (["prior=generator", "prior.factory=a:b", "prior.range=[1,0]"], "prior.range is"),
        (["prior=generator", "prior.factory=a:b", "method=adversarial"], "activation_maximization"),
        (["prior=generatr"], "nearest: generator"),
        (["prior=generator", "prior.latent=[0]"], "prior.latent is"),
    ],
)
def test_a_wrong_request_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(compose(words))
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("deaf", "do not depend on its latent"),
        ("flat", "fails for a latent of"),
        ("nothing", "cannot be called"),
        ("biuld", "nearest: build"),
    ],
)
def test_a_generator_that_cannot_serve_is_refused(factory: str, function: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        prepare(parse(compose([*PRIOR, f"prior.factory={factory}:{function}"])))
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_run_names_the_weights_and_a_resumed_one_the_code(
    factory: str, tmp_path: Path, forked_fvis: Call
) -> None:
    words = (*PRIOR, f"prior.factory={factory}:build", "target.units=4", "hydra.run.dir=out")
    ran = forked_fvis("run", *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    record = json.loads((tmp_path / "out/run.json").read_text())
    unit = json.loads((tmp_path / "out/units/logits-00004/metadata.json").read_text())
    assert record["prior"] == unit["prior"]["weights"]
    assert factory in record["inputs"]
    (tmp_path / "out/units/logits-00004/metadata.json").unlink()
    resumed = forked_fvis("resume", "out", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"factory={factory}:build is code" in resumed.stderr
    again = json.loads((tmp_path / "out/units/logits-00004/metadata.json").read_text())
    assert again["activation"] == unit["activation"]
