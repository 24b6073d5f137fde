"""target.sign=-1: the pictures that excite units least, of networks whose answers are known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fvis import grounding
from fvis.capture import Network
from fvis.compose import compose
from fvis.errors import RequestError
from fvis.methods import Result
from fvis.models import Model, Preprocessing
from fvis.optimization import run_stage
from fvis.record.unit import DEAD, OK
from fvis.schema import ActivationMaximizationConfig, GroundingConfig, TransformsConfig, parse
from fvis.synthesis import Synthesizer
from fvis.typed_json import to_json

from ..test_grounding import Colours, objective_of
from .test_activation_maximization import context, solve

SIDE = 24
AWAKE = 0.05  # what unit 0 says of grey


class Opponent(nn.Module):
    """Both units are red minus green; unit 1 less a half, so that it sleeps behind the ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.difference = nn.Conv2d(3, 2, 1)
        self.relu = nn.ReLU()
        with torch.no_grad():
            self.difference.weight[:, :, 0, 0] = torch.tensor([1.0, -1.0, 0.0])
            self.difference.bias[:] = torch.tensor([AWAKE, -0.5])

    def forward(self, rgb: Tensor) -> Tensor:
        return self.relu(self.difference(rgb)).mean((2, 3))


def made(sign: int, layer: str, unit: int, **more: Any) -> tuple[Result, Tensor]:
    """The result for a unit of the opponent network, and its picture."""
    given = context(layer=layer, units=unit, sign=sign, steps=160, **more)
    plain = Preprocessing(SIDE, SIDE, None, (0.0,) * 3, (1.0,) * 3)
    model = Model(Opponent().eval(), "opponent", plain, None, "", "")
    config = replace(given.config, transforms=TransformsConfig())
    given = replace(given, model=model, config=config)
    (result,) = solve(given)
    write = result.files["image.png"]
    return result, write.keywords["rgb"]  # type: ignore[attr-defined]


def test_the_least_exciting_picture_is_the_opposite_of_the_most_exciting_one() -> None:
    (most, red), (least, green) = (made(sign, "difference", 0) for sign in (1, -1))
    for result, rgb, own, other in ((most, red, 0, 1), (least, green, 1, 0)):
        assert rgb[own].mean() > rgb[other].mean() + 0.2
        value = (rgb[0] - rgb[1]).mean().item() + AWAKE  # what the unit says of the picture
        assert result.record.activation.final == pytest.approx(value, abs=1e-5)
        assert result.record.status == OK
    finals = [result.record.activation.final for result in (most, least)]
    assert sum(finals) == pytest.approx(2 * AWAKE, abs=0.04)
    first, *_, last = [value for _, value in least.record.activation.trace]
    assert last < first  # the activation itself falls, not its opposite
    assert least.record.activation.final < least.record.activation.initial
    assert to_json(least.record)["sign"] == -1
    assert "sign" not in to_json(most.record)
    assert least.name == most.name


def test_behind_a_relu_zero_is_the_least_there_is() -> None:
    silenced, silent = (made(-1, "relu", unit, position="center")[0] for unit in (0, 1))
    assert silenced.record.activation.initial > 0
    assert silenced.record.activation.final == 0
    assert silenced.record.status == OK
    assert silent.record.activation.initial == silent.record.activation.final == 0
    assert silent.record.status == DEAD  # its picture is what the ascent began with


def test_the_observers_minimising_pictures_come_from_the_same_targets() -> None:
    asked = context(layer="conv", units=[2], sign=-1)
    synthesizers = [
        Synthesizer(given, ActivationMaximizationConfig())
        for given in (asked, context(layer="conv", units=[2]))
    ]
    setting, observer = (one.targets.targets[0] for one in synthesizers)
    assert replace(observer, sign=-1) == setting
    (own,), (its,) = (
        one.optima([replace(one.targets.targets[0], sign=-1)], run_stage) for one in synthesizers
    )
    assert torch.equal(own.picture, its.picture)
    assert own.final == its.final < own.initial


def test_its_photographs_are_those_that_excite_the_unit_least(tmp_path: Path) -> None:
    """A grey picture, and one with a spot without red, which has the higher mean."""
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (32, 32), (100, 100, 100)).save(images / "grey.png")
    spotted = Image.new("RGB", (32, 32), (200, 200, 200))
    spotted.paste((0, 0, 0), (24, 8, 28, 12))
    spotted.save(images / "spotted.png")
    plain = Preprocessing(32, 32, None, (0.0,) * 3, (1.0,) * 3)
    model = Model(Colours().eval(), "colours", plain, None, "", "")
    config = GroundingConfig(images=str(images), cache=str(tmp_path / "cache"))
    found = {}
    for sign in (1, -1):
        targets = objective_of(model, layer="pool", units=0, sign=sign)
        network = Network(model, targets.layers)
        found[sign] = grounding.natural_responses(config, model, targets, network)
    natural = found[-1]
    assert torch.equal(natural.scores, found[1].scores)
    first, second = grounding.strongest(natural, 0, 2)
    assert [patch.file.name for patch in (first, second)] == ["spotted.png", "grey.png"]
    assert (first.activation, first.box) == (0, (16, 2, 16, 16))
    (most,) = grounding.strongest(found[1], 0, 1)
    assert most.file.name == "spotted.png"
    assert most.activation == pytest.approx(200 / 255)
    record = grounding.compare(natural, 0, 0.1, 0.0, [first])
    assert record.best_position.photographs == 0
    assert record.below == 0  # no photograph as a whole excites the unit less than 0.1


def test_how_a_picture_stands_is_told_of_the_unit_itself() -> None:
    scores = torch.tensor([-4.0, -1.0, 3.0])
    percentiles, below, times = grounding.standing(scores, -8.0, -1)
    assert percentiles["100"] == 3
    assert below == 0
    assert times == 2  # twice as low as the lowest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["target.sign=0"], "target.sign is 0; it takes one of: 1, -1"),
        (["method=accentuation", "grounding.images=zoo:glyphs"], "not method=accentuation"),
        (["method=texture_motion", "model=drift_r3d"], "not method=texture_motion"),
        (["evidence.strangers=[zoo/glyph_vit]"], "evidence.strangers judges"),
        (["evidence.minimising=1"], "evidence.minimising judges"),
        (
            ["evidence.embedding=zoo/glyph_vit", "grounding.images=zoo:glyphs"],
            "evidence.embedding judges",
        ),
    ],
)
def test_what_shows_or_judges_the_most_exciting_pictures_is_refused(
    words: list[str], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        parse(compose(["target.sign=-1", *words]))
