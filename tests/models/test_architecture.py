"""What a network declares of itself is believed before what its class names suggest."""

import pytest
import timm
import torch
from torch import Tensor, nn

from fvis.architecture_defaults import with_architecture_defaults
from fvis.compose import compose
from fvis.models import Preprocessing, load
from fvis.models.architecture import attends, declared_channels, prefix_tokens
from fvis.models.layers import survey
from fvis.schema import parse
from tests.test_capture import model_of


class Rotated(nn.Module):
    """Turns channels to the end, which no module type tells, and mixes everything."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,cd->bhwd", x, torch.ones(3, 5))


class Declaring(nn.Module):
    def __init__(self, *entries: object) -> None:
        super().__init__()
        self.body = Rotated()
        self.feature_info = list(entries)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean((1, 2))


def test_a_layers_declared_channel_count_names_its_axis() -> None:
    assert survey(model_of(Declaring()))["body"].channel_dim is None
    declaring = Declaring({"module": "body", "num_chs": 5})
    layer = survey(model_of(declaring))["body"]
    assert (layer.axes, layer.units) == ("BHWC", 5)


class Tokens(nn.Module):
    def __init__(self, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.embeddings = nn.ParameterDict({name: torch.zeros(n) for name, n in shapes.items()})


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (Tokens(cls_token=(1, 1, 6)), 1),
        (Tokens(cls_token=(1, 2, 6)), 2),
        (Tokens(class_embedding=(6,)), 1),
        (Tokens(cls_token=(1, 1, 6), register_tokens=(1, 4, 6)), 5),
        (Tokens(cls_token_0=(1, 1, 6), cls_token_1=(1, 1, 12)), 1),  # one of each branch
        (Tokens(mask_token=(1, 1, 6), position_embedding=(1, 9, 6)), 0),
    ],
)
def test_tokens_before_the_patches_are_told_by_their_parameters(
    network: nn.Module, count: int
) -> None:
    assert prefix_tokens(network) == count


def test_a_count_that_fits_two_axes_or_none_names_no_axis() -> None:
    for channels in (32, 7):
        declaring = Declaring({"module": "body", "num_chs": channels})
        assert survey(model_of(declaring))["body"].channel_dim is None


def test_what_describes_a_modules_input_is_not_taken_for_its_output() -> None:
    entry = {"module": "body", "num_chs": 5, "hook_type": "forward_pre"}
    assert declared_channels(Declaring(entry)) == {}
    assert declared_channels(Declaring("nonsense", {"module": 3})) == {}
    assert declared_channels(nn.Identity()) == {}


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "mobilenetv2_050"])
def test_timms_declarations_and_the_inference_agree(name: str) -> None:
    module = timm.create_model(name)
    found = survey(model_of(module, Preprocessing(224, 224, None, (0.5,) * 3, (0.5,) * 3)))
    declared = declared_channels(module)
    assert declared
    for path, channels in declared.items():
        if path in found:
            assert found[path].units == channels


def test_attention_that_is_declared_counts_and_pooling_does_not() -> None:
    class Fused(nn.Module):
        fused_attn = True

    class AttentionPool(Fused):
        pass

    assert attends(nn.Sequential(nn.Conv2d(3, 3, 1), Fused()))
    assert attends(nn.Sequential(nn.MultiheadAttention(4, 1)))
    assert not attends(nn.Sequential(nn.Conv2d(3, 3, 1), AttentionPool()))
    tokens = nn.Identity()
    tokens.num_prefix_tokens = 5  # type: ignore[assignment]
    assert attends(tokens)
    assert prefix_tokens(tokens) == 5


def test_the_config_overrides_what_was_inferred() -> None:
    for word, gain in (("null", 0.1), ("true", 0.0), ("false", 0.1)):
        config = parse(compose([f"model.attends={word}"]))
        model = load(config.model)
        assert with_architecture_defaults(config, model).transforms.gain == gain
