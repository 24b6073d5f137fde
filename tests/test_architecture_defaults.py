"""What the config leaves open is filled to suit the network; what it says stands."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torchvision
from torch import nn

from fvis.architecture_defaults import with_architecture_defaults
from fvis.models import Model, Preprocessing
from fvis.models.architecture import attends
from fvis.schema import (
    ActivationMaximizationConfig,
    Config,
    EngineConfig,
    FourierConfig,
    ModelConfig,
    OutputConfig,
    PhaseConfig,
    TargetConfig,
    TransformsConfig,
)


def model_of(module: nn.Module, frames: int | None = None) -> Model:
    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Model(module, "m", Preprocessing(8, 8, frames, zero, one), None, "", "", attends(module))


def config_of(transforms: TransformsConfig, parametrization: FourierConfig | PhaseConfig) -> Config:
    return Config(
        ModelConfig(), TargetConfig(), ActivationMaximizationConfig(), parametrization, transforms,
        EngineConfig(), OutputConfig(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "name", "transformer"),
    [
        (timm.create_model, "vit_tiny_patch16_224", True),
        (timm.create_model, "swin_tiny_patch4_window7_224", True),
        (torchvision.models.get_model, "vit_b_32", True),
        (timm.create_model, "mobilenetv2_050", False),
        (timm.create_model, "seresnet18", False),
        (torchvision.models.get_model, "resnet18", False),
    ],
)
def test_open_settings_follow_the_architecture(
    source: Callable[[str], nn.Module], name: str, transformer: bool
) -> None:
    given = config_of(TransformsConfig(gain=None, offset=None), FourierConfig())
    chosen = with_architecture_defaults(given, model_of(source(name)))
    assert isinstance(chosen.parametrization, FourierConfig)
    assert chosen.parametrization.decay == (1.2 if transformer else 1.0)
    assert chosen.parametrization.blur == (0.5 if transformer else 0.0)
    assert (chosen.transforms.gain, chosen.transforms.offset) == (
        (0, 0) if transformer else (0.1, 0.05)
    )


def test_what_is_said_stands() -> None:
    said = config_of(TransformsConfig(gain=0.3), FourierConfig(decay=0.7, blur=0.1))
    assert with_architecture_defaults(said, model_of(nn.Identity())) == said
    other = config_of(TransformsConfig(), PhaseConfig())
    assert with_architecture_defaults(other, model_of(nn.MultiheadAttention(4, 1))) == other


OPEN = {"crop": None, "rotate": None, "settle": None, "gain": None, "offset": None}


@pytest.mark.parametrize("module", [nn.Conv3d(3, 4, 3), nn.MultiheadAttention(4, 1)])
def test_clips_have_their_own_values_whatever_the_architecture(module: nn.Module) -> None:
    given = config_of(TransformsConfig(**OPEN), FourierConfig())
    chosen, image = (
        with_architecture_defaults(given, model_of(module, frames=16)),
        with_architecture_defaults(given, model_of(module)),
    )
    assert isinstance(chosen.parametrization, FourierConfig)
    assert isinstance(image.parametrization, FourierConfig)
    assert (chosen.parametrization.decay, chosen.parametrization.blur) == (1.3, 1.0)
    assert chosen.transforms.crop == [0.75, 1.0]
    assert chosen.transforms.rotate == 5.0
    assert chosen.transforms.settle == 0.3
    assert chosen.transforms.gain == image.transforms.gain
    assert chosen.parametrization.decay > image.parametrization.decay
    assert image.transforms.crop == [0.2, 1.0]


@pytest.mark.parametrize(
    ("position", "one"),
    [("center", True), ([3, 4], True), (7, True), ("mean", False), ("cls", False)],
)
def test_views_of_a_unit_that_is_read_at_one_position_keep_it_in_place(
    position: Any, one: bool
) -> None:
    given = config_of(TransformsConfig(**OPEN), FourierConfig())
    given.target.position = position
    chosen = with_architecture_defaults(given, model_of(nn.Conv2d(3, 4, 3))).transforms
    assert chosen.crop == ([0.85, 1.0] if one else [0.2, 1.0])
    assert chosen.rotate == (5.0 if one else 10.0)


def test_what_is_said_of_clips_stands() -> None:
    said = TransformsConfig(crop=[0.5, 0.9], rotate=0.0, settle=0.1, settle_noise=0.7)
    given = config_of(said, FourierConfig(decay=0.8, blur=0.0))
    assert with_architecture_defaults(given, model_of(nn.Conv3d(3, 4, 3), frames=16)) == given
