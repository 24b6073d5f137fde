"""Folding changes what a network costs, not what it computes, and is undone."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from timm.layers import StdConv2d
from torch import Tensor, nn
from torch.nn import functional

from fvis.capture import Network, pairs_to_fold
from fvis.folding import foldable, folded
from fvis.layout import arrange
from fvis.models import Model, Preprocessing
from fvis.models.layers import survey
from fvis.randomness import random_generator

CPU = torch.device("cpu")


def drawn(module: nn.Module) -> nn.Module:
    """The module in eval mode, with batch norms that do something."""
    generator = random_generator("norms")
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
            for tensor in (part.running_mean, part.bias):
                if isinstance(tensor, Tensor):
                    tensor.data.normal_(0, 0.1, generator=generator)
            for tensor in (part.running_var, part.weight):
                if isinstance(tensor, Tensor):
                    tensor.data.uniform_(0.5, 1.5, generator=generator)
    return module.eval().requires_grad_(False)


def block() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3))


class Twice(nn.Module):
    """A convolution whose output is used twice: by its norm, and beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        return self.norm(made) + made


class Again(Twice):
    """A convolution and a norm that run twice in a pass."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = self.norm(self.conv(x))
        return x


class Elsewhere(nn.Module):
    """The network itself computes with the tensors of its convolution, and of its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.convs[0], self.norms[0]
        x = functional.conv2d(input=x, weight=conv.weight)  # without its bias
        x = self.convs[1](norm(x))
        norm = self.norms[1]
        return functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


class Standardized(nn.Module):
    """A convolution with standardized weights, as in BiT."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight
        return self.norm(functional.conv2d(x, weight - weight.mean((1, 2, 3), keepdim=True)))


class Crossed(nn.Module):
    """Norms in another order than their convolutions: only the tensors tell whose each is."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])
        self.convs = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3, bias=False)])

    def forward(self, x: Tensor) -> Tensor:
        return self.norms[1](self.convs[0](x)).relu() + self.norms[0](self.convs[1](x))


@pytest.mark.parametrize(
    ("build", "count", "shape"),
    [
        (block, 1, (2, 3, 12, 12)),
        (Crossed, 2, (2, 3, 12, 12)),
        (lambda: timm.create_model("mobilenetv2_035"), 52, (2, 3, 64, 64)),
        (lambda: timm.create_model("test_resnet"), 15, (2, 3, 64, 64)),
        (torchvision.models.resnet18, 20, (2, 3, 64, 64)),
        (Twice, 0, (2, 3, 12, 12)),
        (Again, 0, (2, 3, 12, 12)),
        (Standardized, 0, (2, 3, 12, 12)),
        (Elsewhere, 0, (2, 3, 12, 12)),
        (lambda: nn.Sequential(StdConv2d(3, 4, 3), nn.BatchNorm2d(4)), 0, (2, 3, 12, 12)),
        (lambda: timm.create_model("nf_resnet26"), 0, (1, 3, 64, 64)),
    ],
)
def test_a_folded_network_computes_the_same_and_leaves_as_it_came(
    build: Callable[[], nn.Module], count: int, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    module = drawn(build())
    rgb = torch.rand(shape, generator=random_generator("rgb"))
    exact = copy.deepcopy(module).double()(rgb.double())
    before, state = module(rgb), copy.deepcopy(module.state_dict())
    tensors = [id(tensor) for tensor in module.parameters()]
    pairs = foldable(module, lambda: [module(rgb)])
    assert len(pairs) == count
    with folded(pairs), folded(pairs):
        during = module(rgb)
    plain = (before - exact).abs().max()
    assert (during - exact).abs().max() < 3 * plain + 1e-7, "no further from the exact values"
    assert torch.equal(module(rgb), before)
    assert [id(tensor) for tensor in module.parameters()] == tensors
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_a_folded_norm_costs_nothing() -> None:
    module = drawn(block())
    rgb = torch.rand(1, 3, 12, 12)
    pairs = foldable(module, lambda: [module(rgb)])
    with folded(pairs), torch.profiler.profile() as profile:
        module(rgb)
    assert not [event.name for event in profile.events() if "batch_norm" in event.name]


def model_of(module: nn.Module) -> Model:
    size = Preprocessing(12, 12, None, (0.5,) * 3, (0.25,) * 3)
    return Model(module, "net", size, None, "", "")


@pytest.mark.parametrize(("path", "count"), [("0", 0), ("1", 0), ("2", 1), ("logits", 1)])
def test_neither_is_folded_where_the_other_or_it_is_read(path: str, count: int) -> None:
    torch.manual_seed(0)
    model = model_of(drawn(block()))
    layers = [survey(model)[path]]
    pairs = pairs_to_fold(model, layers, None)
    assert len(pairs) == count
    rgb = torch.rand(2, 3, 12, 12)
    with Network(model, layers) as plain:
        before = plain(rgb)[0]
    with Network(model, layers, pairs=pairs) as network:
        torch.testing.assert_close(network(rgb)[0], before)


def test_a_container_that_ends_with_the_convolution_is_read_as_it_is() -> None:
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4))
    model = model_of(drawn(net))
    found = survey(model)
    assert pairs_to_fold(model, [found["0"], found["logits"]], None) == []
    assert len(pairs_to_fold(model, [found["logits"]], None)) == 1


def test_a_module_with_hooks_is_left_alone() -> None:
    module = drawn(block())
    handle = module[1].register_forward_hook(lambda *_: None)
    assert foldable(module, lambda: [module(torch.rand(1, 3, 12, 12))]) == []
    handle.remove()
    assert len(foldable(module, lambda: [module(torch.rand(1, 3, 12, 12))])) == 1


class View(nn.Module):
    """Takes a view of its maps, which memory with channels last does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).view(len(x), -1)


def test_channels_are_last_unless_the_network_fails_so() -> None:
    for module, last in ((block(), True), (View(), False)):
        arrange(model_of(module.eval()), "auto", CPU)
        conv = next(part for part in module.modules() if isinstance(part, nn.Conv2d))
        assert conv.weight.is_contiguous(memory_format=torch.channels_last) is last
        assert conv.weight.is_contiguous() is not last
        arrange(model_of(module.eval()), False, CPU)


@pytest.mark.parametrize("groups", [1, 2])
def test_on_cuda_grouped_convolutions_keep_their_layout(groups: int) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=groups)).eval()
    arrange(model_of(module), "auto", torch.device("cuda"))
    conv = module[1]
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last) is (groups == 1)


def test_a_norm_of_the_batchs_own_statistics_is_left_alone() -> None:
    network = drawn(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)))
    rgb = torch.rand(2, 3, 8, 8, generator=random_generator("rgb"))
    assert foldable(network, lambda: [network(rgb)]) == []
