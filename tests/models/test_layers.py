"""Each architecture's layers are listed with their true axes, units and prefix tokens."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from fvis.capture import Network
from fvis.errors import RequestError
from fvis.models import Model, Preprocessing
from fvis.models.layers import Layer, survey
from fvis.objectives.targets import resolve
from fvis.schema import TargetConfig

Facts = tuple[str, int, int]  # axes, units, prefix tokens


def model_of(module: nn.Module, height: int, width: int, frames: int | None = None) -> Model:
    statistics = ((0.5,) * 3, (0.5,) * 3)
    size = Preprocessing(height, width, frames, *statistics)
    return Model(module.eval(), "test", size, None, "", "state_dict")


BUILDERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "vit_tiny": (lambda: timm.create_model("vit_tiny_patch16_224", depth=2), (224, 224)),
    "dinov2_reg4": (
        lambda: timm.create_model("vit_small_patch14_reg4_dinov2", depth=1, img_size=56),
        (56, 56),
    ),
    "vit_no_class": (
        lambda: timm.create_model(
            "vit_tiny_patch16_224", depth=1, img_size=64, class_token=False, global_pool="avg"
        ),
        (64, 64),
    ),
    "tnt": (lambda: timm.create_model("tnt_s_patch16_224", depth=1), (224, 224)),
    "pit": (lambda: timm.create_model("pit_ti_distilled_224"), (224, 224)),
    "crossvit": (
        lambda: timm.create_model("crossvit_tiny_240", depth=((1, 1, 0),) * 3),
        (240, 240),
    ),
    "swin_tiny": (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(2, 1, 1, 1)
        ),
        (64, 64),
    ),
    "convnext_atto": (lambda: timm.create_model("convnext_atto"), (64, 64)),
    "convnext_linear": (lambda: timm.create_model("convnext_tiny", depths=(1, 1, 1, 1)), (64, 64)),
    "mobilenetv2": (lambda: timm.create_model("mobilenetv2_035"), (64, 96)),
    "vit_b_32": (
        lambda: torchvision.models.VisionTransformer(64, 32, 2, 2, 32, 64),
        (64, 64),
    ),
    "swin_t": (lambda: torchvision.models.swin_t(), (64, 64)),
    "resnet18": (lambda: torchvision.models.resnet18(), (64, 64)),
    "r3d_18": (lambda: torchvision.models.video.r3d_18(), (32, 32, 8)),
    "swin3d_t": (lambda: torchvision.models.video.swin3d_t(), (32, 32, 8)),
}


@functools.cache
def opened(name: str) -> Model:
    build, size = BUILDERS[name]
    return model_of(build(), *size)


@functools.cache
def layers_of(name: str) -> dict[str, Layer]:
    return survey(opened(name))


def facts(layer: Layer) -> Facts:
    assert layer.units is not None, f"{layer.path} has unknown axes {layer.axes}"
    return layer.axes, layer.units, layer.prefix


KNOWN: list[tuple[str, str, Facts]] = [
    ("vit_tiny", "patch_embed.proj", ("BCHW", 192, 0)),
    ("vit_tiny", "blocks.0.attn.qkv", ("BNC", 576, 1)),
    ("vit_tiny", "blocks.0.attn", ("BNC", 192, 1)),
    ("vit_tiny", "blocks.1.mlp.act", ("BNC", 768, 1)),
    ("vit_tiny", "blocks.1", ("BNC", 192, 1)),
    ("vit_tiny", "norm", ("BNC", 192, 1)),
    ("vit_tiny", "head_drop", ("BK", 192, 0)),
    ("vit_tiny", "logits", ("BK", 1000, 0)),
    ("dinov2_reg4", "blocks.0.mlp.fc1", ("BNC", 1536, 5)),
    ("dinov2_reg4", "blocks.0.ls1", ("BNC", 384, 5)),
    ("vit_no_class", "blocks.0.mlp.act", ("BNC", 768, 0)),
    ("tnt", "blocks.0.proj", ("BNC", 384, 0)),  # patches, to which pixels are added
    ("tnt", "blocks.0.mlp", ("BNC", 384, 1)),
    ("pit", "transformers.0.blocks.1", ("BNC", 64, 2)),
    ("pit", "transformers.2.blocks.3", ("BNC", 256, 2)),
    ("crossvit", "blocks.0.blocks.0.0", ("BNC", 96, 1)),
    ("crossvit", "blocks.0.blocks.1.0", ("BNC", 192, 1)),
    ("swin_tiny", "patch_embed.proj", ("BCHW", 96, 0)),
    ("swin_tiny", "layers.0.blocks.1", ("BHWC", 96, 0)),
    ("swin_tiny", "layers.0.blocks.0.mlp.act", ("BNC", 384, 0)),
    ("swin_tiny", "layers.1.downsample.norm", ("BHWC", 384, 0)),
    ("swin_tiny", "layers.3", ("BHWC", 768, 0)),
    ("swin_tiny", "norm", ("BHWC", 768, 0)),
    ("swin_tiny", "head.global_pool", ("BK", 768, 0)),
    ("convnext_atto", "stages.0.blocks.0.mlp.act", ("BCHW", 160, 0)),
    ("convnext_linear", "stages.0.blocks.0.conv_dw", ("BCHW", 96, 0)),
    ("convnext_linear", "stages.0.blocks.0.norm", ("BHWC", 96, 0)),
    ("convnext_linear", "stages.0.blocks.0.mlp.act", ("BHWC", 384, 0)),
    ("convnext_linear", "stages.0.blocks.0.mlp", ("BHWC", 96, 0)),
    ("convnext_linear", "stages.0.blocks.0", ("BCHW", 96, 0)),
    ("convnext_linear", "stages.3", ("BCHW", 768, 0)),
    ("mobilenetv2", "conv_stem", ("BCHW", 16, 0)),
    ("mobilenetv2", "bn1", ("BCHW", 16, 0)),
    ("mobilenetv2", "bn1.act", ("BCHW", 16, 0)),
    ("mobilenetv2", "blocks.1.0.bn2.act", ("BCHW", 48, 0)),
    ("mobilenetv2", "blocks.3", ("BCHW", 24, 0)),
    ("mobilenetv2", "global_pool", ("BK", 1280, 0)),
    ("vit_b_32", "conv_proj", ("BCHW", 32, 0)),
    ("vit_b_32", "encoder.layers.encoder_layer_0", ("BNC", 32, 1)),
    ("vit_b_32", "encoder.layers.encoder_layer_1.mlp.1", ("BNC", 64, 1)),
    ("vit_b_32", "encoder", ("BNC", 32, 1)),
    ("swin_t", "features.0.0", ("BCHW", 96, 0)),
    ("swin_t", "features.1.0.mlp.1", ("BHWC", 384, 0)),
    ("swin_t", "features.3", ("BHWC", 192, 0)),
    ("swin_t", "avgpool", ("BCHW", 768, 0)),
    ("resnet18", "relu", ("BCHW", 64, 0)),
    ("resnet18", "layer1.0.relu", ("BCHW", 64, 0)),
    ("resnet18", "layer4", ("BCHW", 512, 0)),
    ("resnet18", "avgpool", ("BCHW", 512, 0)),
    ("resnet18", "fc", ("BK", 1000, 0)),
    ("r3d_18", "stem.2", ("BCTHW", 64, 0)),
    ("r3d_18", "layer2.0.relu", ("BCTHW", 128, 0)),
    ("r3d_18", "logits", ("BK", 400, 0)),
    ("swin3d_t", "features.0.0", ("BTHWC", 96, 0)),
    ("swin3d_t", "features.0.1.mlp.1", ("BTHWC", 384, 0)),
    ("swin3d_t", "features.2", ("BTHWC", 192, 0)),
    ("swin3d_t", "avgpool", ("BCTHW", 768, 0)),
]


@pytest.mark.parametrize(("name", "path", "expected"), KNOWN)
def test_axes_units_and_prefix_are_known(name: str, path: str, expected: Facts) -> None:
    assert facts(layers_of(name)[path]) == expected


def test_a_vit_at_224_px_has_196_patches_behind_its_class_token() -> None:
    assert layers_of("vit_tiny")["blocks.1.mlp.act"].shape == (1, 197, 768)


def test_patches_before_the_class_token_joins_them_have_no_prefix() -> None:
    layer = layers_of("vit_tiny")["patch_embed"]
    assert layer.shape == (1, 196, 192)
    assert facts(layer) == ("BNC", 192, 0)


def test_positions_keep_the_pictures_aspect() -> None:
    layer = layers_of("mobilenetv2")["conv_stem"]
    assert layer.shape == (1, 16, 32, 48)


def test_a_shared_relu_is_known_to_run_twice() -> None:
    found = layers_of("resnet18")
    assert found["layer1.0.relu"].calls == 2
    assert found["relu"].calls == 1


def test_a_shared_in_place_relu_gives_the_blocks_output_and_conv_stays_unrectified() -> None:
    model = opened("resnet18")
    found = layers_of("resnet18")
    x = torch.rand(2, 3, 64, 64)
    module, stem = model.module, model.module.get_submodule
    with torch.no_grad():
        value = stem("relu")(stem("bn1")(stem("conv1")(model.preprocessing.normalise(x))))
        block = stem("layer1.0")(stem("maxpool")(value))
        with Network(model, [found["layer1.0.relu"]]) as network:
            (relu,) = network(x)
        with Network(model, [found["bn1"]]) as network:
            (norm,) = network(x)
        expected = stem("bn1")(module.conv1(model.preprocessing.normalise(x)))
    torch.testing.assert_close(relu, block)
    assert (expected < 0).any()
    torch.testing.assert_close(norm, expected)


def test_logits_stand_last_and_every_path_is_a_module() -> None:
    for name in ("vit_tiny", "resnet18", "swin_tiny"):
        found = layers_of(name)
        assert list(found)[-1] == "logits"
        modules = dict(opened(name).module.named_modules())
        assert set(found) - {"logits"} <= modules.keys()
        assert all(layer.path == path for path, layer in found.items())


def test_layers_stand_in_the_order_of_the_forward_pass() -> None:
    order = list(layers_of("vit_tiny"))
    expected = ["patch_embed.proj", "blocks.0.norm1", "blocks.0.mlp.act", "blocks.0", "blocks.1"]
    assert sorted(expected, key=order.index) == expected


def refusal(name: str, **target: object) -> str:
    with pytest.raises(RequestError) as caught:
        resolve(TargetConfig(units=[0], **target), opened(name), 0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_attention_maps_are_refused_until_the_channel_axis_is_given() -> None:
    path = "layers.2.blocks.0.attn.softmax"  # at 4x4 positions: one window, the batch still first
    assert "target.channel_dim" in refusal("swin_tiny", layer=path)
    target = TargetConfig(layer=path, units=[11], channel_dim=1)
    (layer,) = resolve(target, opened("swin_tiny"), 0).layers
    assert (layer.units, layer.channel_dim) == (12, 1)
    target = TargetConfig(layer=path, units=[15], channel_dim=-1)
    (layer,) = resolve(target, opened("swin_tiny"), 0).layers
    assert (layer.units, layer.channel_dim) == (16, 3)


@pytest.mark.parametrize("path", ["layers.0.blocks.0.attn.proj", "layers.0.blocks.0.attn"])
def test_windows_in_the_batch_are_read_picture_by_picture(path: str) -> None:
    layer, model = layers_of("swin_tiny")[path], opened("swin_tiny")
    assert (layer.shape, layer.axes, layer.units) == ((1, 16, 16, 96), "BGNC", 96)
    targets = resolve(TargetConfig(layer=path, units=[3]), model, 0)
    x = torch.rand(3, 3, 64, 64)
    with Network(model, targets.layers) as network, torch.no_grad():
        together = targets.values(network(x))[0]
        alone = torch.cat([targets.values(network(x[row : row + 1]))[0] for row in range(3)])
    torch.testing.assert_close(together, alone)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_a_windows_place_is_an_index() -> None:
    path = "layers.0.blocks.0.attn.proj"
    assert "16 groups" in refusal("swin_tiny", layer=path, position="center")
    assert "positions [16, 16]" in refusal("swin_tiny", layer=path, position=[16, 0])
    targets = resolve(TargetConfig(layer=path, units=[3], position=[15, 2]), opened("swin_tiny"), 0)
    assert targets.values([torch.rand(2, 16, 16, 96)])[0].shape == (2, 96)


class Interleaved(nn.Module):
    """Folds columns into the batch so that those of different pictures alternate."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        columns = x.mean(1).permute(2, 0, 1).flatten(0, 1)  # W * B columns (H,)
        return self.mix(columns).view(8, -1, 4).mean(0)


def test_rows_that_are_not_grouped_by_picture_are_refused() -> None:
    model = model_of(Interleaved(), 8, 8)
    assert survey(model)["mix"].units is None
    with pytest.raises(RequestError, match="not the batch"):
        resolve(TargetConfig(layer="mix", units=[0]), model, 0)


class Table(nn.Module):
    """Adds a table of positions, which a network inside computes, to what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("places", torch.rand(1, 8, 2))
        self.table = nn.Sequential(nn.Linear(2, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) + self.table(self.places).mean(1)


def test_a_table_of_positions_has_no_units() -> None:
    model = model_of(Table(), 8, 8)
    found = survey(model)
    assert [found[path].units for path in ("table.0", "table.1", "table")] == [None] * 3
    with pytest.raises(RequestError, match="does not depend on the picture"):
        resolve(TargetConfig(layer="table.1", units=[0]), model, 0)


@pytest.mark.parametrize(
    ("name", "facts_of"),
    [
        ("mixer_s32_224", {"mlp_tokens.fc1": 512, "mlp_tokens": 512, "mlp_channels.fc1": 2048}),
        ("resmlp_12_224", {"linear_tokens": 384, "mlp_channels.fc2": 384}),
    ],
)
def test_what_mixes_tokens_keeps_its_channels(name: str, facts_of: dict[str, int]) -> None:
    model = model_of(timm.create_model(name), 224, 224)
    found = survey(model)
    assert {path: found[f"blocks.0.{path}"].units for path in facts_of} == facts_of


class Detector(nn.Module):
    """Returns detections, a dict for each picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        return [{"boxes": torch.rand(5, 4), "scores": row.mean((1, 2))} for row in self.conv(x)]


def test_the_outputs_of_a_detector_are_named() -> None:
    model = model_of(Detector(), 16, 16)
    assert survey(model)["logits"].outputs == ("0.boxes", "0.scores")
    with pytest.raises(RequestError, match=r"0\.boxes, 0\.scores\): give target\.output, or an"):
        resolve(TargetConfig(layer="logits", units=[0]), model, 0)


def test_the_batch_axis_is_no_channel_axis() -> None:
    path = "layers.2.blocks.0.attn.softmax"
    assert "axes 1 to 3" in refusal("swin_tiny", layer=path, channel_dim=0)
    assert "axes 1 to 3" in refusal("swin_tiny", layer=path, channel_dim=-4)


ATTENTION = "encoder.layers.encoder_layer_0.self_attention"


def test_weights_that_are_not_float32_are_named() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3)).double()
    with pytest.raises(RequestError, match=r"its weights are float64: give it in float32"):
        survey(model_of(module, 16, 16))


class Branches(nn.Module):
    """The rectified sum of two convolutions, beside a linear layer over pixels."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.pixels = nn.Linear(3, width) if width else nn.Identity()
        self.one, self.other = nn.Conv2d(3, channels, 1), nn.Conv2d(3, channels, 1)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        self.pixels(x.permute(0, 2, 3, 1))
        return self.act(self.one(x) + self.other(x)).mean((2, 3))


@pytest.mark.parametrize(
    ("channels", "width", "units"),
    [(5, 8, 5), (16, 0, 16), (16, 8, None), (5, 16, 5), (16, 16, None)],
)
def test_a_sum_has_its_branches_units_where_they_cannot_lie_elsewhere(
    channels: int, width: int, units: int | None
) -> None:
    """Pictures are 16 px wide and high: 16 channels may lie along any axis."""
    assert survey(model_of(Branches(channels, width), 16, 16))["act"].units == units


class Turned(nn.Module):
    """A convolution whose result is turned, as by moving its channels last."""

    def __init__(self, turn: Callable[[Tensor], Tensor], channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 1)
        self.turned = Function(turn)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.turned(self.conv(x))).flatten(2).mean(2)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_turned_channels_are_found_where_another_axis_is_as_long() -> None:
    found = survey(model_of(Turned(lambda x: x.permute(0, 2, 3, 1)), 8, 16))
    assert facts(found["turned"]) == ("BHWC", 8, 0)
    assert facts(found["conv"]) == ("BCHW", 8, 0)
    swapped = survey(model_of(Turned(lambda x: x.transpose(1, 2)), 8, 16))
    assert swapped["turned"].channel_dim == 2  # the shape is as it was


def test_one_number_a_picture_is_one_unit() -> None:
    model = model_of(nn.Sequential(nn.Conv2d(3, 1, 4), Function(lambda x: x.mean((1, 2, 3)))), 8, 8)
    assert facts(survey(model)["logits"]) == ("BK", 1, 0)
    targets = resolve(TargetConfig(layer="logits", units="all"), model, 0)
    x = torch.rand(3, 3, 8, 8)
    with Network(model, targets.layers) as network, torch.no_grad():
        (values,) = targets.values(network(x))
        expected = model.module(model.preprocessing.normalise(x))
    torch.testing.assert_close(values[:, 0], expected)


def test_a_turned_copy_is_refused_where_another_axis_is_as_long() -> None:
    copied = model_of(Turned(lambda x: x.permute(0, 2, 3, 1).contiguous()), 8, 16)
    with pytest.raises(RequestError, match=r"target\.channel_dim"):
        resolve(TargetConfig(layer="turned", units=[0]), copied, 0)
    unlike = model_of(Turned(lambda x: x.permute(0, 2, 3, 1).contiguous(), channels=5), 8, 16)
    assert facts(survey(unlike)["turned"]) == ("BHWC", 5, 0)


@dataclasses.dataclass
class Fields:
    scores: Tensor
    features: Tensor


class Named(NamedTuple):
    scores: Tensor
    features: Tensor


@pytest.mark.parametrize("kind", [Fields, Named])
def test_fields_are_named(kind: type[Fields] | type[Named]) -> None:
    class Answering(nn.Conv2d):
        def forward(self, x: Tensor) -> Any:
            made = super().forward(x)
            return kind(made.mean((2, 3)), made)

    model = model_of(Answering(3, 4, 3), 16, 16)
    assert survey(model)["logits"].outputs == ("scores", "features")
    assert survey(model, "scores")["logits"].shape == (1, 4)


def test_a_tuples_parts_are_named_and_one_can_be_taken() -> None:
    layer = layers_of("vit_b_32")[ATTENTION]
    assert (layer.shape, layer.outputs, layer.units) == ((), (0, 1), None)
    text = refusal("vit_b_32", layer=ATTENTION)
    assert "target.output" in text
    assert "0, 1" in text
    objective = resolve(TargetConfig(layer=ATTENTION, units=[31], output=0), opened("vit_b_32"), 0)
    assert facts(objective.layers[0]) == ("BNC", 32, 1)


def test_a_part_that_is_no_tensor_is_refused() -> None:
    assert "target.output" in refusal("vit_b_32", layer=ATTENTION, output=1)  # None: no weights
    said = refusal("vit_b_32", layer=ATTENTION, output=5)
    assert said == "no target.output '5'; there are: 0, 1"


def test_a_part_of_a_tuple_is_what_the_network_captures() -> None:
    model = opened("vit_b_32")
    seen: list[Tensor] = []
    attention = model.module.get_submodule(ATTENTION)
    handle = attention.register_forward_hook(lambda *a: seen.append(a[2][0].detach()))
    (layer,) = resolve(TargetConfig(layer=ATTENTION, units=[0], output=0), model, 0).layers
    x = torch.rand(2, 3, 64, 64)
    with Network(model, [layer], output=0) as network, torch.no_grad():
        (value,) = network(x)
    handle.remove()
    torch.testing.assert_close(value, seen[-1])


class Named(nn.Module):
    """A network whose middle returns a dict, and which counts its own hook's calls."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = Parts()
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(x)["map"].mean((2, 3)))


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"map": self.conv(x), "mean": x.mean((2, 3))}


def test_a_dicts_parts_go_by_their_keys() -> None:
    model = model_of(Named(), 16, 16)
    assert survey(model)["middle"].outputs == ("map", "mean")
    target = TargetConfig(layer="middle", units=[3], output="map")
    assert facts(resolve(target, model, 0).layers[0]) == ("BCHW", 4, 0)


def test_a_channel_axis_given_by_the_user_wins() -> None:
    (layer,) = resolve(
        TargetConfig(layer="layer1", units=[15], channel_dim=-1), opened("resnet18"), 0
    ).layers
    assert (layer.axes, layer.units) == ("BHWC", 16)


def test_a_channel_axis_given_by_the_user_leaves_the_class_token_aside() -> None:
    """`mlp.act` of eva02 is read of a half of its input, so that its axes are not known."""
    network = timm.create_model("eva02_tiny_patch14_224", depth=1, img_size=56)
    target = TargetConfig(layer="blocks.0.mlp.act", units=[3], channel_dim=2)
    (layer,) = resolve(target, model_of(network, 56, 56), 0).layers
    assert (layer.axes, layer.shape[1], layer.prefix) == ("BNC", 17, 1)


def test_parts_of_a_picture_and_places_in_them_have_no_centre() -> None:
    """As (blocks, tokens) of NesT; an index of theirs is read as it is."""
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(2), nn.Unflatten(2, (4, 64)))
    model = dataclasses.replace(model_of(network, 16, 16), attends=True)
    with pytest.raises(RequestError, match="its centre is unknown"):
        resolve(TargetConfig(layer="2", units=[0], position="center"), model, 0)
    target = TargetConfig(layer="2", units=[0], position=[1, 2])
    assert resolve(target, model, 0).readers[0].index == (1, 2)
    target = TargetConfig(layer="0", units=[0], position="center")
    assert resolve(target, model, 0).readers[0].index == (8, 8)


def test_an_input_the_network_refuses_is_named_in_one_line() -> None:
    model = model_of(opened("vit_tiny").module, 64, 64)
    with pytest.raises(RequestError, match="3x64x64") as caught:
        survey(model)
    assert "\n" not in str(caught.value)


def state_of(module: nn.Module) -> tuple[object, ...]:
    return (
        [m.training for m in module.modules()],
        [len(m._forward_hooks) for m in module.modules()],
        [len(m._forward_pre_hooks) for m in module.modules()],
        [p.requires_grad for p in module.parameters()],
        [p.grad for p in module.parameters()],
    )


@pytest.mark.parametrize("size", [16, 2])  # 2 px: smaller than the kernel, refused
def test_the_model_leaves_a_survey_as_it_came(size: int) -> None:
    model = model_of(nn.Sequential(Named(), nn.BatchNorm1d(2)), size, size)
    model.module.train()
    model.module[0].last.eval()
    model.module[0].last.weight.requires_grad_(False)
    foreign = model.module[0].register_forward_hook(lambda *_: None)
    before = state_of(model.module)
    running = model.module[1].running_mean.clone()
    if size == 2:
        with pytest.raises(RequestError):
            survey(model)
    else:
        survey(model)
    assert state_of(model.module) == before
    assert foreign.id in model.module[0]._forward_hooks
    torch.testing.assert_close(model.module[1].running_mean, running, rtol=0, atol=0)


class Headed(nn.Module):
    """A 3D network with parts that only functions make, and a head for one size of input."""

    class Pool(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.avg_pool3d(torch.relu(x), 2)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 6, 3, padding=1)
        self.pool = self.Pool()
        self.head = nn.Linear(6 * 2 * 8 * 8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.conv(x)).flatten(1))


def clips(side: int) -> Model:
    size = Preprocessing(side, side, 4, (0.0,) * 3, (1.0,) * 3)
    return Model(Headed().eval(), "headed", size, None, "", "")


def test_a_layer_made_by_functions_has_its_inputs_channel_axis() -> None:
    found = survey(clips(16))
    assert (found["pool"].axes, found["pool"].units) == ("BCTHW", 6)


def test_an_early_layer_is_read_at_a_size_that_the_head_does_not_take() -> None:
    found = survey(clips(24), wanted=["pool"])
    assert found["pool"].shape == (1, 6, 2, 12, 12)
    assert "head" not in found and "logits" not in found
    for wanted in ((), ("head",), ("pool", "logits")):
        with pytest.raises(RequestError, match="headed"):
            survey(clips(24), wanted=wanted)
    targets = resolve(TargetConfig(layer="pool", units=[2]), clips(24), 0)
    with Network(clips(24), targets.layers) as network:
        (value,) = network(torch.rand(2, 3, 4, 24, 24))
    assert value.shape == (2, 6, 2, 12, 12)
