"""Several layers: which a list, a glob or `stages` stands for, and the units of each."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fvis.errors import RequestError
from fvis.models import Model
from fvis.models.layers import survey
from fvis.objectives.selection import Selected, is_single, matches, select
from fvis.schema import TargetConfig
from tests.test_capture import model_of

PATHS = st.lists(st.from_regex(r"[a-z0-9_]{1,4}", fullmatch=True), min_size=1, max_size=4).map(
    ".".join
)


class Net(nn.Module):
    """Modules are declared in another order than they run in."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 4)
        self.layer2 = nn.Sequential(nn.Conv2d(6, 6, 3), nn.ReLU())
        self.layer1 = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())

    def forward(self, x: Any) -> Any:
        return self.head(self.layer2(self.layer1(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def net() -> Model:
    return model_of(Net())


def paths(net: Model, layer: str | list[str], units: Any = 0) -> list[str]:
    return [one.path for one in selected(net, layer, units)]


def selected(net: Model, layer: str | list[str], units: Any = 0) -> list[Selected]:
    return select(TargetConfig(layer=layer, units=units), net, survey(net))


@given(PATHS)
def test_a_path_matches_itself_and_two_stars_match_all(path: str) -> None:
    assert matches(path, path)
    assert matches("**", path)
    assert matches("?" + path[1:], path)
    assert matches("*", path) == ("." not in path)


@given(PATHS, PATHS)
def test_one_star_is_one_part_of_a_path(first: str, second: str) -> None:
    path = f"{first}.x.{second}"
    assert matches(f"{first}.*.{second}", path)
    assert not matches(f"{first}.*", path)
    assert matches(f"{first}.**", path)


@given(st.text("ab.*?[]!-\\^", max_size=8), PATHS)
def test_any_pattern_is_read_or_refused(pattern: str, path: str) -> None:
    try:
        matches(pattern, path)
    except RequestError as error:
        assert "no pattern" in str(error)


def test_sets_of_characters() -> None:
    assert matches("layer[12]", "layer2")
    assert not matches("layer[!12]", "layer2")
    assert not matches("layer[12]", "layer3")


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("layer?", ["layer1", "layer2"]),
        ("layer*.0", ["layer1.0", "layer2.0"]),
        ("**.1", ["layer1.1", "layer2.1"]),
        ("stages", ["layer1", "layer2"]),
        (["logits", "layer2.0", "layer1"], ["layer1", "layer2.0", "logits"]),
        (["layer2", "layer?"], ["layer1", "layer2"]),
    ],
)
def test_layers_come_in_the_order_of_the_forward_pass(
    net: Model, layer: str | list[str], expected: list[str]
) -> None:
    assert paths(net, layer) == expected


def test_what_is_there_under_a_name_with_wildcards_is_that_layer() -> None:
    module = nn.Sequential()
    module.add_module("a*", nn.Conv2d(3, 4, 3))
    module.add_module("ab", nn.Conv2d(4, 4, 3))
    assert paths(model_of(module), "a*") == ["a*"]


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("nothing.*", "no layer 'nothing.*'"),
        (["layer1", "layr2"], "no layer 'layr2'; nearest: layer2"),
        ("layer[b-a]", "no pattern"),
    ],
)
def test_a_pattern_that_matches_nothing_and_an_unknown_path_are_refused(
    net: Model, layer: str | list[str], said: str
) -> None:
    with pytest.raises(RequestError, match=re.escape(said)):
        paths(net, layer)


def test_units_may_differ_from_layer_to_layer(net: Model) -> None:
    units = {"layer?.0": "0:2", "layer1.0": [5], "logits": "all"}
    found = selected(net, ["layer?.0", "logits"], units)
    assert [(one.path, one.target.units) for one in found] == [
        ("layer1.0", [5]), ("layer2.0", "0:2"), ("logits", "all"),
    ]  # fmt: skip


def test_units_of_a_layer_that_is_not_selected_and_layers_without_units_are_refused(
    net: Model,
) -> None:
    with pytest.raises(RequestError, match=r"target\.units: no selected layer 'layer2'"):
        paths(net, "layer1", {"layer1": 0, "layer2": 0})
    with pytest.raises(RequestError, match=r"target\.units gives no units for layer layer2"):
        paths(net, "layer?", {"layer1": 0})


def test_one_path_is_a_single_layer_and_a_pattern_that_matches_one_is_named_by_none(
    net: Model,
) -> None:
    assert is_single(TargetConfig(layer="layer1"))
    assert not is_single(TargetConfig(layer="layer1", units={"layer1": 0}))
    (one,) = selected(net, "head*")
    assert not one.named
    both = selected(net, ["layer1", "layer*"])
    assert [one.named for one in both] == [True, False]
