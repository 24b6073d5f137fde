"""Builds the trained embedded networks with random weights; loading weights is left to callers.

timm and torchvision take seconds to import, so only the networks that need them do.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from fvis.zoo import drifts, glyphs
from fvis.zoo.resnet import ResNet


def glyph_cnn() -> nn.Module:
    """Build a narrow ResNet for glyphs.

    It takes normalised pictures (B, 3, 64, 64) and returns logits (B, 12). The stages `layer1` to
    `layer4` have 24, 48, 72 and 128 channels, and 32, 16, 8 and 4 positions per side.
    """
    # With pooling in the stem, a 64-pixel picture would end in 2x2 positions, too few for shapes.
    return ResNet(len(glyphs.CLASSES), channels=(24, 48, 72, 128), stem=12)


def glyph_vit() -> nn.Module:
    """Build a small Vision Transformer for glyphs.

    It takes normalised pictures (B, 3, 64, 64) and returns logits (B, 12). The blocks `blocks.0` to
    `blocks.3` have 112 channels, and 65 tokens: a class token, then 8x8 patches of 8x8 pixels.

    Patches are embedded by four convolutions (Xiao et al. 2021, "Early convolutions help
    transformers see better"). With the usual single convolution, a training of minutes learns the
    textures but not the shapes.
    """
    from timm.models.vision_transformer import VisionTransformer

    channels = 112
    network = VisionTransformer(
        img_size=glyphs.SIZE,
        patch_size=8,
        num_classes=len(glyphs.CLASSES),
        embed_dim=channels,
        depth=4,
        num_heads=4,
        mlp_ratio=2.0,
    )
    network.patch_embed.proj = nn.Sequential(
        *_halving(3, 24),
        *_halving(24, 48),
        *_halving(48, 96),
        nn.Conv2d(96, channels, 3, padding=1),
    )
    return network


def drift_r3d() -> nn.Module:
    """Build a narrow 3D ResNet for moving textures.

    It takes normalised clips (B, 3, 16, 64, 64) and returns logits (B, 14). The stages `layer1` to
    `layer4` have 24, 40, 48 and 64 channels, and 16x16x16, 8x8x8, 4x4x4 and 2x2x2 positions.

    Average pooling takes the place of strided convolutions. It spreads gradients evenly, so that
    clips get no checkerboard.
    """
    stem = nn.Sequential(
        *_stem(3, 8, (1, 5, 5)),
        nn.AvgPool3d((1, 2, 2)),
        *_stem(8, 16, (3, 3, 3)),
    )
    stages: list[tuple[str, nn.Module]] = [
        ("stem", stem),
        ("layer1", _stage(16, 24, (1, 2, 2))),
        ("layer2", _stage(24, 40, (2, 2, 2))),
        ("layer3", _stage(40, 48, (2, 2, 2))),
        ("layer4", _stage(48, 64, (2, 2, 2))),
        ("avgpool", nn.AdaptiveAvgPool3d(1)),
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(64, len(drifts.CLASSES))),
    ]
    network = nn.Sequential(OrderedDict(stages))
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _stem(inputs: int, outputs: int, extent: tuple[int, int, int]) -> tuple[nn.Module, ...]:
    around = (extent[0] // 2, extent[1] // 2, extent[2] // 2)
    convolution = nn.Conv3d(inputs, outputs, extent, padding=around, bias=False)
    return convolution, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)


def _stage(inputs: int, outputs: int, pooled: tuple[int, int, int]) -> nn.Module:
    shortcut = nn.Sequential(nn.Conv3d(inputs, outputs, 1, bias=False), nn.BatchNorm3d(outputs))
    from torchvision.models.video import resnet

    block = resnet.BasicBlock(inputs, outputs, resnet.Conv3DSimple, downsample=shortcut)
    return nn.Sequential(nn.AvgPool3d(pooled), block)


def _halving(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
