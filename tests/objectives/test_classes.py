"""The log-odds of classes are those of their probabilities, and their pictures tell them apart."""

from pathlib import Path

import pytest
import torch

from fvis import models, runner, schema
from fvis.artifacts import read_png
from fvis.compose import compose
from fvis.errors import RequestError
from fvis.objectives.classes import LOG_ODDS, class_score_of, log_odds
from fvis.record.unit import UnitRecord


def test_log_odds_are_those_of_the_probabilities() -> None:
    logits = 3 * torch.randn(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    assert torch.allclose(log_odds(logits), torch.special.logit(logits.softmax(1)))


def test_log_odds_and_their_gradients_stay_finite_where_a_class_is_certain() -> None:
    logits = torch.tensor([[90.0, -3.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    odds = log_odds(logits)
    assert torch.allclose(odds[0], torch.tensor([89.9514, -93.0, -90.0]))
    (gradient,) = torch.autograd.grad(odds.sum(), logits)
    assert gradient.isfinite().all()
    (of_first,) = torch.autograd.grad(log_odds(logits)[0, 0], logits)
    assert of_first[0, 0] == 1 and of_first[0, 1:].sum().item() == pytest.approx(-1)


def test_classes_without_a_finite_logit_do_not_matter() -> None:
    logits = torch.tensor([[2.0, 1.0, torch.nan, -torch.inf]], requires_grad=True)
    own = class_score_of(LOG_ODDS, logits, torch.tensor([0]))
    assert own.item() == pytest.approx(1.0)
    (gradient,) = torch.autograd.grad(own.sum(), logits)
    assert torch.allclose(gradient, torch.tensor([[1.0, -1.0, 0.0, 0.0]]))


def run(folder: Path, *settings: str) -> tuple[torch.Tensor, UnitRecord]:
    """The logits of glyph_cnn for a picture of class 4, and the picture's record."""
    config = schema.parse(
        compose(["engine.device=cpu", "engine.steps=32", "target.units=4", *settings])
    )
    runner.run(config, folder)
    network = models.load(config.model)
    (picture,) = folder.glob("units/*/image.png")
    with torch.no_grad():
        rgb = torch.from_numpy(read_png(picture))[None]
        logits = network.module(network.preprocessing.normalise(rgb))
    (unit,) = runner.read_run(folder).units()
    return logits, unit.record


def test_pictures_of_log_odds_tell_their_class_further_from_others(tmp_path: Path) -> None:
    alone, value = run(tmp_path / "value", "target.score=value")
    assert value.score is None
    assert value.activation.final == pytest.approx(alone[0, 4].item(), rel=1e-4)
    logits, record = run(tmp_path / "odds", "target.score=log_odds")
    assert log_odds(logits)[0, 4] > log_odds(alone)[0, 4]
    assert record.activation.final == pytest.approx(log_odds(logits)[0, 4].item(), rel=1e-3)
    assert record.score == LOG_ODDS


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("target.layer=layer2", "target.units=1"), "target.layer=logits"),
        (("method=adversarial", "method.images=zoo:glyphs"), "takes no method=adversarial"),
        (("target.joint=[{unit: 1}, {unit: 2}]",), "target.units"),
    ],
)
def test_what_has_no_log_odds_is_refused(settings: tuple[str, ...], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        schema.parse(compose(["target.score=log_odds", *settings]))
