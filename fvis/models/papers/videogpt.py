"""The encoder of VideoGPT's VQ-VAE (Yan et al. 2021, "VideoGPT: Video Generation using VQ-VAE and
Transformers"), up to the vectors that its codebook quantizes.

Names and sizes are those of wilson1yan/VideoGPT, so that its checkpoints fit.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from fvis.models.checkpoints import State

Size = tuple[int, int, int]  # time, height, width

HEADS = 2
KERNEL = 4  # of the convolutions that downsample


class SameConv3d(nn.Module):
    """A convolution whose output has the input's size divided by the stride.

    Where the padding is odd, the side before the first position gets one more.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: Size, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, bias=bias)
        around = [kernel - step for step in reversed(stride)]  # the width comes first
        self.padding = [side for total in around for side in (total - total // 2, total // 2)]

    def forward(self, clip: Tensor) -> Tensor:
        """Features (B, outputs, T', H', W') of (B, inputs, T, H, W)."""
        features: Tensor = self.conv(functional.pad(clip, self.padding))
        return features


class AxialAttention(nn.Module):
    """Self-attention with `HEADS` heads along one axis of features (B, T, H, W, C)."""

    def __init__(self, channels: int, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.w_qs = nn.Linear(channels, channels, bias=False)
        self.w_ks = nn.Linear(channels, channels, bias=False)
        self.w_vs = nn.Linear(channels, channels, bias=False)
        self.fc = nn.Linear(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape, mixed along the axis."""
        lines = features.movedim(self.axis, -2)
        projected = (project(lines) for project in (self.w_qs, self.w_ks, self.w_vs))
        query, key, value = (p.unflatten(-1, (HEADS, -1)).transpose(-3, -2) for p in projected)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.fc(mixed.transpose(-3, -2).flatten(-2))
        return output.movedim(-2, self.axis)


class AxialBlock(nn.Module):
    """The sum of attention along the width, the height and time, of features (B, C, T, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn_w = AxialAttention(channels, 3)
        self.attn_h = AxialAttention(channels, 2)
        self.attn_t = AxialAttention(channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        last = features.movedim(1, -1)
        mixed: Tensor = self.attn_w(last) + self.attn_h(last) + self.attn_t(last)
        return mixed.movedim(-1, 1)


class ResidualBlock(nn.Module):
    """Two convolutions and axial attention, added to features (B, C, T, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.block = nn.Sequential(
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            SameConv3d(channels, half, 3, (1, 1, 1), bias=False),
            nn.BatchNorm3d(half),
            nn.ReLU(),
            SameConv3d(half, channels, 1, (1, 1, 1), bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            AxialBlock(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        added: Tensor = self.block(features)
        return features + added


class Encoder(nn.Module):
    """Convolutions that downsample, then residual blocks."""

    def __init__(self, channels: int, blocks: int, downsample: Sequence[int]) -> None:
        super().__init__()
        time, height, width = (int(math.log2(factor)) for factor in downsample)
        strides: list[Size] = [
            (1 + (time > i), 1 + (height > i), 1 + (width > i))
            for i in range(max(time, height, width))
        ]
        inputs = [3, *[channels] * (len(strides) - 1)]
        self.convs = nn.ModuleList(
            SameConv3d(count, channels, KERNEL, stride)
            for count, stride in zip(inputs, strides, strict=True)
        )
        self.conv_last = SameConv3d(channels, channels, 3, (1, 1, 1))
        self.res_stack = nn.Sequential(
            *(ResidualBlock(channels) for _ in range(blocks)), nn.BatchNorm3d(channels), nn.ReLU()
        )

    def forward(self, clip: Tensor) -> Tensor:
        """Features (B, channels, T', H', W') of a clip (B, 3, T, H, W)."""
        for conv in self.convs:
            clip = functional.relu(conv(clip))
        features: Tensor = self.res_stack(self.conv_last(clip))
        return features


class VQVAEEncoder(nn.Module):
    """The part of VideoGPT's VQ-VAE before its codebook, with random weights.

    It takes clips (B, 3, T, H, W) in [-0.5, 0.5] and returns (B, embedding_dim, T', H', W'), each
    size divided by its `downsample`.

    Args:
        n_hiddens: channels of the encoder.
        n_res_layers: its residual blocks.
        embedding_dim: length of the codebook's vectors.
        downsample: factors in time, height and width, powers of 2: (4, 4, 4) for the checkpoints
            of UCF-101 and Kinetics (another of Kinetics has (2, 4, 4)), (4, 2, 2) for BAIR's.
    """

    def __init__(
        self,
        n_hiddens: int = 240,
        n_res_layers: int = 4,
        embedding_dim: int = 256,
        downsample: Sequence[int] = (4, 4, 4),
    ) -> None:
        super().__init__()
        self.encoder = Encoder(n_hiddens, n_res_layers, downsample)
        self.pre_vq_conv = SameConv3d(n_hiddens, embedding_dim, 1, (1, 1, 1))

    def forward(self, clip: Tensor) -> Tensor:
        """The vectors to be quantized, channels second."""
        vectors: Tensor = self.pre_vq_conv(self.encoder(clip))
        return vectors


def rename(state: State) -> State:
    """The weights of the encoder among those of the whole VQ-VAE."""
    return {k: v for k, v in state.items() if k.startswith(("encoder.", "pre_vq_conv."))}
