"""Builds the embedded image networks with random weights; loading weights is left to callers."""

from __future__ import annotations

from typing import Any

from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from fvis.zoo import glyphs


def glyph_cnn() -> nn.Module:
    """Build a narrow ResNet for glyphs.

    Takes (B, 3, 64, 64), normalised, and returns (B, 12) logits; stages `layer1` to `layer4` of
    24, 48, 72 and 128 channels see 32, 16, 8 and 4 positions a side.
    """
    block: Any = BasicBlock  # timm's annotation asks for an instance; it takes the class
    network = ResNet(
        block,
        (1, 1, 1, 1),
        num_classes=len(glyphs.CLASSES),
        channels=(24, 48, 72, 128),
        stem_type="deep",
        stem_width=12,
        # Averaging before a stride spreads the gradient evenly: no checkerboard in the pictures.
        avg_down=True,
    )
    # At 64 pixels a second stride in the stem would leave 2x2 positions to tell shapes apart.
    network.maxpool = nn.Sequential()
    return network


def glyph_vit() -> nn.Module:
    """Build a small Vision Transformer for glyphs.

    Takes (B, 3, 64, 64), normalised, and returns (B, 12) logits; `blocks.0` to `blocks.3` see a
    class token and then 8x8 patch tokens of 8 pixels a side, 112 channels each. Patches are
    embedded by four convolutions (Xiao et al. 2021, "Early convolutions help transformers see
    better"): with the usual single one, minutes of training find the textures, not the shapes.
    """
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


def _halving(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
