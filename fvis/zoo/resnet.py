"""A narrow ResNet for small pictures, as timm builds it (He et al. 2016; deep stem: ResNet-D).

It is spelled out here because importing timm takes longer than a whole short run of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, (B, C, H, W) to (B, C', H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act2 = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        output: Tensor = self.act2(x)
        return output


class ResNet(nn.Module):
    """One block per stage, `layer1` to `layer4`; all but the first halve the resolution.

    It takes pictures (B, 3, H, W) and returns logits (B, classes). The stem `conv1` has three
    convolutions, of which the first halves the resolution; there is no pooling after it. Shortcuts
    average before they convolve, which spreads gradients evenly: pictures get no checkerboard.
    """

    def __init__(self, classes: int, channels: Sequence[int], stem: int) -> None:
        super().__init__()
        first, *_, last = channels
        self.conv1 = nn.Sequential(
            *_convolved(3, stem, stride=2),
            *_convolved(stem, stem),
            nn.Conv2d(stem, first, 3, padding=1, bias=False),
        )
        self.bn1 = nn.BatchNorm2d(first)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.Sequential()
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(_block(inputs, outputs))
            for inputs, outputs in zip((first, *channels), channels, strict=False)
        )
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(last, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)  # each block starts as its shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The logits (B, classes) of normalised pictures (B, 3, H, W)."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.global_pool(x))
        return logits


def _convolved(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _block(inputs: int, outputs: int) -> BasicBlock:
    if inputs == outputs:
        return BasicBlock(inputs, outputs, 1, None)
    convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
    shortcut = nn.Sequential(nn.AvgPool2d(2), convolution, nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, 2, shortcut)
