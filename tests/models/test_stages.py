"""A network's stages are those that it declares, else the parts of its largest sequence."""

import timm
import torchvision
from torch import nn

from fvis.models.stages import stages


def test_timm_declares_them() -> None:
    module = timm.create_model("mobilenetv2_100", pretrained=False)
    assert stages(module) == [f"blocks.{i}" for i in (0, 1, 2, 4, 6)]
    module = timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=3)
    assert stages(module) == ["blocks.0", "blocks.1", "blocks.2"]


def test_modules_whose_names_count_up_are_a_sequence() -> None:
    layers = ["layer1", "layer2", "layer3", "layer4"]
    assert stages(torchvision.models.resnet18()) == layers
    assert stages(torchvision.models.video.r3d_18()) == layers


def test_the_largest_sequence_is_the_one_with_the_most_modules_not_weights() -> None:
    found = stages(torchvision.models.vgg11())
    assert found == [f"features.{i}" for i in range(21)]  # the classifier has more weights


def test_a_network_of_single_modules_is_its_own_sequence() -> None:
    found = stages(torchvision.models.googlenet(init_weights=False))
    assert {"conv1", "inception3a", "inception4e", "inception5b"} <= set(found)
    net = nn.Module()
    net.stem, net.body = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
    assert stages(net) == ["stem", "body"]
    assert stages(nn.ReLU()) == []
