"""The log-odds of classes are those of their probabilities, and their pictures tell them apart."""

from pathlib import Path

import pytest
import torch

from fvis import models, runner, schema
from fvis.artifacts import read_png
from fvis.compose import compose
from fvis.errors import RequestError
from fvis.objectives.positions import log_odds, told_apart


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


def test_a_class_told_apart_has_its_logit_and_the_gradient_of_its_log_odds() -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(1), requires_grad=True)
    classes = torch.tensor([0, 3, 3, 6])
    told = told_apart(logits, classes)
    assert torch.allclose(told, logits[range(4), classes])
    (gradient,) = torch.autograd.grad(told.sum(), logits)
    (expected,) = torch.autograd.grad(log_odds(logits)[range(4), classes].sum(), logits)
    assert torch.allclose(gradient, expected)


def run(folder: Path, *settings: str) -> tuple[torch.Tensor, float]:
    """The logits of glyph_cnn for a picture of class 4, and what its record says it reaches."""
    config = schema.parse(
        compose(["engine.device=cpu", "engine.steps=32", "target.units=4", *settings])
    )
    runner.run(config, folder)
    network = models.load(config.model)
    (picture,) = folder.glob("units/*/image.png")
    with torch.no_grad():
        rgb = torch.from_numpy(read_png(picture))[None]
        logits = network.module(network.preprocessing.normalise(rgb))
    (record,) = runner.read_run(folder).units()
    assert record.record.score == ("log_odds" if "target.score=log_odds" in settings else None)
    return logits, float(record.record.activation.final or 0)


def test_a_picture_of_log_odds_tells_its_class_further_from_others(tmp_path: Path) -> None:
    logits, final = run(tmp_path / "value", "target.score=value")
    apart, told = run(tmp_path / "odds", "target.score=log_odds")
    assert log_odds(apart)[0, 4] > log_odds(logits)[0, 4]
    assert final == pytest.approx(logits[0, 4].item(), rel=1e-4)
    assert told == pytest.approx(apart[0, 4].item(), rel=1e-4), "the logit itself is told"


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
