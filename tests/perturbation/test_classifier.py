"""Classes of two networks are the same class where their names say so."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from fvis.errors import RequestError
from fvis.perturbation.aims import Aim
from fvis.perturbation.classifier import Classifier, refuse_lone_unit
from fvis.schema import TargetConfig
from tests.test_capture import model_of


def classifier(count: int, names: Sequence[str] | None = None) -> Classifier:
    model = model_of(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, count)))
    model = dataclasses.replace(model, classes=names and tuple(names))
    return Classifier(model, TargetConfig(), None)


def test_names_decide_where_both_have_them() -> None:
    one = classifier(3, ["cat", "dog, hound", "cow"])
    assert classifier(3, ["hound", "cat", "horse"]).counterpart(1, one) == 0
    assert classifier(3, ["hound", "cat", "horse"]).counterpart(2, one) is None
    assert classifier(5, ["a", "b", "c", "d", "cow"]).counterpart(2, one) == 4


def test_a_name_that_stands_twice_is_taken_at_its_own_index() -> None:
    cranes = ["crane", "bird", "crane"]
    assert classifier(3, cranes).counterpart(2, classifier(3, cranes)) == 2


def test_a_network_of_one_class_is_refused() -> None:
    refuse_lone_unit(classifier(2), "method=adversarial")
    with pytest.raises(RequestError, match=r"^method\.models: layer logits of test has one unit"):
        refuse_lone_unit(classifier(1), "method.models")


def test_without_names_as_many_classes_are_numbered_alike() -> None:
    assert classifier(3).counterpart(2, classifier(3, ["a", "b", "c"])) == 2
    assert classifier(4).counterpart(2, classifier(3, ["a", "b", "c"])) is None


def test_any_is_away_from_what_each_network_sees_itself() -> None:
    one, other = classifier(3, ["cat", "dog", "cow"]), classifier(3, ["cow", "cat", "dog"])
    pictures = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    aims = other.aims(["any", 0, "any", 2], one, pictures)
    seen = other.values(pictures).argmax(1).tolist()
    assert aims == [Aim(seen[0], away=True), Aim(1), Aim(seen[2], away=True), Aim(0)]
    told = other.judge(pictures, aims)
    assert told[0].success is False, "nothing is changed yet"
    chance = other.values(pictures).softmax(1)[0, seen[0]].item()
    assert told[0].shown == pytest.approx(1 - chance)
    assert told[0].top[0] == (seen[0], pytest.approx(chance))


@pytest.mark.parametrize(("low", "fold"), [(None, True), (torch.bfloat16, False)])
def test_a_network_that_is_prepared_gives_the_same_and_is_left_as_it_was(
    low: torch.dtype | None, fold: bool
) -> None:
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    assert norm.running_var is not None
    norm.running_var.fill_(4.0)
    module = nn.Sequential(conv, norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    one = Classifier(model_of(module), TargetConfig(), low)
    one.prepare_gradient(fold=fold)
    before = conv.weight.detach().clone()
    pictures = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with one.opened() as values, torch.no_grad():
        assert conv.weight.dtype == (low or torch.float32)
        assert not torch.equal(conv.weight.float(), before), "folded, or cast"
        given = values(pictures)
    assert torch.equal(conv.weight, before)
    exact = 1e-5 if fold else 0.0
    torch.testing.assert_close(given, one.values(pictures), atol=exact, rtol=exact)


def test_frames_of_clips_are_resized_like_pictures() -> None:
    model = classifier(3).model
    clip = torch.rand(2, 3, 4, 48, 40, generator=torch.Generator().manual_seed(0))
    resized = model.resized(clip)
    assert resized.shape == (2, 3, 4, 32, 32)
    for t in range(4):
        torch.testing.assert_close(resized[:, :, t], model.resized(clip[:, :, t]))
