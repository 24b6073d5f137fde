"""Weights cast beforehand give what autocast gives, which then casts none, and come back."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from fvis.capture import Network, pairs_to_fold, weights_to_cast
from fvis.casting import Place
from fvis.models import Model, Preprocessing
from fvis.models.layers import survey
from tests.test_folding import drawn

LOW = torch.bfloat16
SIZE = 64  # px


class Casts(TorchDispatchMode):
    """Counts the casts of tensors of the given shapes."""

    def __init__(self, shapes: set[torch.Size]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch
        self._shapes = shapes
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ == "_to_copy":
            self.count += args[0].shape in self._shapes
        return func(*args, **(kwargs or {}))


class Odd(nn.Module):
    """Weights that must stay: of a normalized kernel, asked for their type, outside of autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.scaled, self.asked, self.exact = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.plain = nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.scaled.weight / self.scaled.weight.norm())
        x = self.asked(x.to(self.asked.weight.dtype))
        with torch.autocast("cpu", enabled=False):
            x = self.exact(x.float())
        return self.plain(x)


def model_of(module: nn.Module) -> Model:
    size = Preprocessing(SIZE, SIZE, None, (0.5,) * 3, (0.25,) * 3)
    return Model(module, "test", size, None, "", "state_dict")


def transformer() -> nn.Module:
    module: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=SIZE, depth=2, num_classes=7
    )
    return drawn(module)


def convolutional() -> nn.Module:
    return drawn(timm.create_model("resnet10t", num_classes=7))


def weights_at(places: list[Place]) -> list[Tensor]:
    return [weight for part, name in places if (weight := part._parameters[name]) is not None]


def gradient(network: Network, rgb: Tensor) -> tuple[Tensor, Tensor]:
    (output,) = network(rgb)
    return output.detach(), torch.autograd.grad(output.square().sum(), rgb)[0]


@pytest.mark.parametrize("build", [transformer, convolutional])
def test_no_weight_is_cast_at_a_step_and_all_is_as_autocast_gives_it(
    build: Callable[[], nn.Module],
) -> None:
    model = model_of(build())
    before = copy.deepcopy(model.module.state_dict())
    layers = [survey(model)["logits"]]
    pairs = pairs_to_fold(model, layers, None)
    places = weights_to_cast(model, layers, None, LOW, pairs)
    with Network(model, layers, None, LOW, pairs=pairs):
        shapes = {weight.shape for weight in weights_at(places)}
        weights = sum(weight.numel() for weight in weights_at(places))
    rgb = torch.rand(3, 3, SIZE, SIZE, requires_grad=True)
    found, counts = [], []
    for given in ([], places):
        with Network(model, layers, None, LOW, pairs=pairs, places=given) as network:
            with Casts(shapes) as casts:
                found.append(gradient(network, rgb))
            types = {weight.dtype for weight in weights_at(places)}
        counts.append(casts.count)
        assert types == {LOW if given else torch.float32}
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert counts[0] >= len(places) > 8
    assert counts[1] == 0
    assert weights > 0.9 * sum(p.numel() for p in model.module.parameters())
    with Network(model, layers, None, pairs=pairs) as network:
        exact, _ = gradient(network, rgb)
    assert (found[1][0] - exact).norm() < 0.02 * exact.norm()
    after = model.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_that_are_used_otherwise_stay_as_they_are() -> None:
    model = model_of(drawn(Odd()))
    layers = [survey(model)["logits"]]
    places = weights_to_cast(model, layers, None, LOW, [])
    assert {name for part, name in places if part is model.module.plain} == {"weight", "bias"}
    odd = {model.module.scaled, model.module.asked, model.module.exact}
    assert {(part, name) for part, name in places if part in odd} == {(model.module.asked, "bias")}


def test_weights_that_two_modules_share_are_cast_in_both() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4), first, second)
    model = model_of(drawn(flat))
    layers = [survey(model)["logits"]]
    places = weights_to_cast(model, layers, None, LOW, [])
    assert {(part, "weight") for part in (first, second)} <= set(places)
    with Network(model, layers, None, LOW, places=places) as network:
        network(torch.rand(2, 3, SIZE, SIZE))
    assert second.weight is first.weight
    assert first.weight.dtype == torch.float32
