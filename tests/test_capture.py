"""The network is frozen, stopped at the layer, read truly, and left as it came."""

import contextlib
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fvis import capture
from fvis.capture import Network, Operations, bytes_kept, operations_for
from fvis.errors import RequestError
from fvis.models import Model, Preprocessing
from fvis.models.layers import survey
from fvis.rescue import nearest_activation

PLAIN = Preprocessing(32, 32, None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def model_of(module: nn.Module, preprocessing: Preprocessing = PLAIN) -> Model:
    return Model(module, "test", preprocessing, None, "", "state_dict")


def open_network(module: nn.Module, *paths: str) -> Network:
    model = model_of(module)
    found = survey(model)
    return Network(model, [found[path] for path in paths])


def leaking(network: Network) -> contextlib.AbstractContextManager[None]:
    nearest = nearest_activation(network)
    assert nearest is not None
    return nearest.leaking()


class Tail(nn.Module):
    """A convolution, an in-place ReLU on its output, and a layer that must not be reached."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.reached = 0
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.conv(x))
        self.reached += 1
        return self.last(x).mean((2, 3))


def test_a_layer_before_an_in_place_relu_is_read_before_it() -> None:
    module = Tail()
    x = torch.rand(2, 3, 32, 32)
    expected = nn.functional.conv2d(x, module.conv.weight)
    with open_network(module, "conv") as network:
        (value,) = network(x)
    assert (expected < 0).any()
    torch.testing.assert_close(value, expected)


def test_several_layers_are_each_read_before_what_runs_on_changes_them() -> None:
    module = Tail()
    x = torch.rand(2, 3, 32, 32)
    expected = nn.functional.conv2d(x, module.conv.weight)
    with open_network(module, "conv", "relu", "logits") as network:
        conv, relu, logits = network(x)
    torch.testing.assert_close(conv, expected)
    torch.testing.assert_close(relu, expected.relu())
    torch.testing.assert_close(logits, module(x))


def test_a_network_that_cannot_be_opened_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Tail()

    def failing(*_: object) -> contextlib.AbstractContextManager[None]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(capture, "folded", failing)
    with pytest.raises(torch.OutOfMemoryError), open_network(module, "relu"):
        pass
    assert all(part.training and not part._forward_hooks for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_the_forward_pass_stops_at_the_layer() -> None:
    module = Tail()
    network = open_network(module, "relu")
    before = module.reached
    with network:
        network(torch.rand(1, 3, 32, 32))
    assert module.reached == before


def test_a_module_run_twice_gives_its_last_output() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sum = nn.Conv2d(3, 3, 1, bias=False)
            nn.init.constant_(self.sum.weight, 1.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.sum(self.sum(x)).mean((2, 3))

    x = torch.rand(1, 3, 32, 32)
    with open_network(Twice(), "sum") as network:
        (value,) = network(x)
    torch.testing.assert_close(value, 3 * x.sum(1, keepdim=True).expand(-1, 3, -1, -1))


def test_preprocessing_is_applied_inside() -> None:
    module = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    statistics = Preprocessing(32, 32, None, (0.1, 0.2, 0.3), (0.5, 0.4, 0.2))
    model = model_of(module, statistics)
    layer = survey(model)["1"]
    x = torch.rand(1, 3, 32, 32)
    with Network(model, [layer]) as network:
        (value,) = network(x)
    mean, std = torch.tensor(statistics.mean), torch.tensor(statistics.std)
    expected = (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    torch.testing.assert_close(value, expected.flatten(1))


def state_of(module: nn.Module) -> tuple[list[bool], list[bool], list[int], list[int]]:
    return (
        [m.training for m in module.modules()],
        [p.requires_grad for p in module.parameters()],
        [len(m._forward_hooks) for m in module.modules()],
        [len(m._forward_pre_hooks) for m in module.modules()],
    )


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_leaves_as_it_came(fails: bool) -> None:
    module = Tail().train()
    module.last.eval()
    module.conv.weight.requires_grad_(False)
    seen: list[int] = []
    foreign = module.conv.register_forward_hook(lambda *_: seen.append(1))
    before = state_of(module)
    weights = {key: value.clone() for key, value in module.state_dict().items()}
    network = open_network(module, "relu")
    x = torch.rand(1, 1 if fails else 3, 32, 32, requires_grad=True)
    try:
        with network, leaking(network):
            network(x)[0].sum().backward()
    except RuntimeError:
        assert fails
    assert state_of(module) == before
    assert module.relu.inplace
    assert all(p.grad is None for p in module.parameters())
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, weights[key])
    calls = len(seen)
    module(torch.rand(1, 3, 32, 32))
    assert len(seen) == calls + 1, "the user's own hook is still there"
    foreign.remove()


def test_no_weight_gets_a_gradient_and_the_picture_does() -> None:
    module = Tail()
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    with open_network(module, "relu") as network:
        network(x)[0].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in module.parameters())


def test_batch_normalisation_neither_learns_nor_mixes_rows() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train()
    running = module[1].running_mean.clone()
    x = torch.rand(4, 3, 32, 32)
    with open_network(module, "2") as network:
        together = network(x)[0]
        alone = torch.cat([network(row[None])[0] for row in x])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(module[1].running_mean, running)


def test_timm_vit_at_224_px_is_read_as_tokens() -> None:
    module = timm.create_model("vit_tiny_patch16_224", depth=2)
    model = model_of(module, Preprocessing(224, 224, None, (0.5,) * 3, (0.5,) * 3))
    layer = survey(model)["blocks.1"]
    assert (layer.axes, layer.units, layer.prefix) == ("BNC", 192, 1)
    with Network(model, [layer]) as network:
        (value,) = network(torch.rand(2, 3, 224, 224))
    assert value.shape == (2, 197, 192)


def test_a_layer_that_does_not_run_again_is_named() -> None:
    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Identity()
            self.runs = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.runs += 1
            return (self.first(x) if self.runs < 2 else x).mean((2, 3))

    with (
        open_network(Once(), "first") as network,
        pytest.raises(RuntimeError, match="layer first ran 0 times"),
    ):
        network(torch.rand(1, 3, 32, 32))


def test_a_network_that_takes_one_picture_at_a_time_is_told_what_to_do() -> None:
    class One(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(1, 3, -1).mean(2)

    with (
        open_network(One(), "logits") as network,
        pytest.raises(RequestError, match=r"no row for each of 4 pictures.*engine\.batch_size=1"),
    ):
        network(torch.rand(4, 3, 32, 32))


# --- whether a gradient passes


class Gate(nn.Module):
    """A convolution, its sigmoid, and what `change` makes of that before the mean is taken."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(torch.sigmoid(self.conv(x))).mean((2, 3))


def in_part(x: Tensor) -> Tensor:
    x[:, :1] *= 2
    return x


class Scaled(nn.Module):
    """Changes the output of its ReLU6 in place, which torch's own gradient does not need."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.act(x)
        return made.mul_(3)


def gate(change: Callable[[Tensor], Tensor]) -> Model:
    torch.manual_seed(0)
    return model_of(Gate(change).eval(), PLAIN)


def test_a_network_that_changes_in_place_what_the_gradient_needs_has_the_same_gradient() -> None:
    gradients = []
    for change in (lambda x: x.mul_(3), lambda x: x * 3):
        model = gate(change)
        layer = survey(model)["logits"]
        operations = operations_for(model, [layer], None)
        picture = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        picture.requires_grad_(True)
        with Network(model, [layer], operations=operations) as network:
            gradients += torch.autograd.grad(network(picture)[0].sum(), picture)
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(
    ("change", "operations"),
    [
        (nn.functional.relu6, Operations.SPARING),
        (nn.ReLU6(), Operations.SPARING),
        (Scaled(), Operations.OWN),
        (lambda x: x.mul_(3), Operations.FUNCTIONAL),
    ],
)
def test_operations_are_changed_no_more_than_the_gradient_needs(
    change: Callable[[Tensor], Tensor], operations: Operations
) -> None:
    model = gate(change)
    assert operations_for(model, [survey(model)["logits"]], None) is operations


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x.detach(), "no gradient passes"),
        (lambda x: x.int().float(), "whole numbers"),
        (in_part, "write x = x \\+ y"),
        (lambda x: checkpoint(torch.sin, x, use_reentrant=True), "set it to False"),
        (lambda x: x * 1j, "complex numbers"),
    ],
)
def test_a_network_that_no_gradient_passes_is_refused(
    change: Callable[[Tensor], Tensor], says: str
) -> None:
    model = gate(change)
    with pytest.raises(RequestError, match=says):
        operations_for(model, [survey(model)["logits"]], None)


def test_what_a_checkpoint_computes_again_for_the_gradient_is_not_read() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Block()

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.block, x, use_reentrant=False).mean((2, 3))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.conv = nn.SiLU(), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.conv(self.act(x)))

    module = Checkpointed()
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    (expected,) = torch.autograd.grad(module.block(x).sum(), x)
    with open_network(module, "block.act") as network:
        (gradient,) = torch.autograd.grad(network(x)[0].sum(), x)
    torch.testing.assert_close(gradient, expected)


def test_a_module_that_runs_more_often_than_before_does_not_end_the_pass() -> None:
    class Often(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2 if x.std() > 0 else 1):
                x = self.first(x)
            return self.second(x).mean((2, 3))

    module, x = Often(), torch.rand(1, 3, 32, 32)
    with open_network(module, "first", "second") as network:
        first, second = network(x)
    torch.testing.assert_close(first, module.first(module.first(x)))
    torch.testing.assert_close(second, module.second(first))


def test_what_a_pass_keeps_for_its_gradient_is_counted_without_the_weights() -> None:
    squares = nn.Sequential(nn.Conv2d(3, 64, 1), nn.SiLU(), nn.Flatten(), nn.LazyLinear(500))
    squares(torch.zeros(1, 3, 32, 32))
    number = 4 * 32 * 32  # bytes of a channel
    network = open_network(squares, "2")
    kept, largest = bytes_kept(network, PLAIN.shape)
    assert largest == 64 * number
    # what SiLU gets and gives; the picture itself is either kept or not
    assert 2 * 64 * number <= kept <= (2 * 64 + 2 * 3) * number
    assert bytes_kept(open_network(squares, "1"), (3, 16, 16))[0] == pytest.approx(
        kept / 4, rel=1e-3
    )
    with_weights, _ = bytes_kept(open_network(squares, "3"), PLAIN.shape)
    assert with_weights < 1.1 * kept < 500 * 64 * number, "the linear layer's weights are left out"
    assert squares[0].weight.requires_grad


def test_what_a_network_keeps_that_runs_without_changes_in_place_is_counted() -> None:
    model = model_of(Tail())
    network = Network(model, [survey(model)["relu"]], operations=Operations.FUNCTIONAL)
    assert bytes_kept(network, PLAIN.shape)[0] >= 4 * 4 * 30 * 30
