"""Classes of two networks are the same class where their names say so."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import nn

from fvis.perturbation.classifier import Classifier
from fvis.schema import TargetConfig
from tests.test_capture import model_of


def classifier(count: int, names: Sequence[str] | None = None) -> Classifier:
    model = model_of(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, count)))
    model = dataclasses.replace(model, classes=names and tuple(names))
    return Classifier(model, TargetConfig(), torch.device("cpu"), None)


def test_names_decide_where_both_have_them() -> None:
    one = classifier(3, ["cat", "dog, hound", "cow"])
    assert classifier(3, ["hound", "cat", "horse"]).counterpart(1, one) == 0
    assert classifier(3, ["hound", "cat", "horse"]).counterpart(2, one) is None
    assert classifier(5, ["a", "b", "c", "d", "cow"]).counterpart(2, one) == 4


def test_a_name_that_stands_twice_is_taken_at_its_own_index() -> None:
    cranes = ["crane", "bird", "crane"]
    assert classifier(3, cranes).counterpart(2, classifier(3, cranes)) == 2


def test_without_names_as_many_classes_are_numbered_alike() -> None:
    assert classifier(3).counterpart(2, classifier(3, ["a", "b", "c"])) == 2
    assert classifier(4).counterpart(2, classifier(3, ["a", "b", "c"])) is None
