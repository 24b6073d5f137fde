"""C3D (Tran et al. 2015, "Learning Spatiotemporal Features with 3D Convolutional Networks").

Its code is Caffe's (facebookarchive/C3D). The weights that it learnt on Sports-1M were published
again for PyTorch: `c3d.pickle` (DavideA/c3d-pytorch) and as mmaction2's backbone.
"""

from collections import OrderedDict

from torch import Tensor, nn

from fvis.models.checkpoints import State

STAGES = {
    "1": (64, [""]),
    "2": (128, [""]),
    "3": (256, ["a", "b"]),
    "4": (512, ["a", "b"]),
    "5": (512, ["a", "b"]),
}
FEATURES = 4096  # of fc6 and fc7
# Parts of mmaction2's keys, and what they are here. The order matters.
MMACTION_NAMES = (
    ("backbone.", ""),
    ("cls_head.fc_cls.", "fc8."),
    ("conv1a.", "conv1."),
    ("conv2a.", "conv2."),
    (".conv.", "."),
)


class RGBToBGR(nn.Module):
    """Reverses the colour channels of a clip (B, 3, T, H, W)."""

    def forward(self, clip: Tensor) -> Tensor:
        """The clip with its channels in the opposite order."""
        return clip.flip(1)


def c3d(classes: int = 487, bgr: bool = True) -> nn.Sequential:
    """Build C3D with random weights.

    It takes RGB clips (B, 3, 16, 112, 112) minus their mean, for pixels in 0..255, and returns
    logits (B, classes). `conv1` to `conv5b` are convolutions without their ReLU.

    Args:
        classes: outputs of `fc8`; 487 for Sports-1M, 0 to leave `fc8` out.
        bgr: whether `conv1` takes blue, green, red, as the published weights do: Caffe's code read
            frames with OpenCV (`image_io.cpp`), and conversions kept the order of the channels.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if bgr:
        layers["bgr"] = RGBToBGR()
    inputs = 3
    for stage, (outputs, parts) in STAGES.items():
        for part in parts:
            layers[f"conv{stage}{part}"] = nn.Conv3d(inputs, outputs, 3, padding=1)
            layers[f"relu{stage}{part}"] = nn.ReLU()
            inputs = outputs
        layers[f"pool{stage}"] = _pool(stage)
    layers["flatten"] = nn.Flatten()
    inputs = 512 * 4 * 4
    for name in ("6", "7"):
        layers[f"fc{name}"] = nn.Linear(inputs, FEATURES)
        layers[f"relu{name}"] = nn.ReLU()
        layers[f"dropout{name}"] = nn.Dropout(0.5)
        inputs = FEATURES
    if classes:
        layers["fc8"] = nn.Linear(FEATURES, classes)
    return nn.Sequential(layers)


def _pool(stage: str) -> nn.MaxPool3d:
    if stage == "1":
        return nn.MaxPool3d((1, 2, 2))
    # Caffe rounds the size of a pooled map up: 7 positions give 4, which takes padding here.
    return nn.MaxPool3d(2, padding=(0, 1, 1) if stage == "5" else 0)


def rename(state: State) -> State:
    """The keys of mmaction2's checkpoints as those of `c3d()`, which are those of `c3d.pickle`.

    >>> list(rename({"backbone.conv1a.conv.weight": 0, "cls_head.fc_cls.bias": 0}))
    ['conv1.weight', 'fc8.bias']
    """
    return {_own(key): tensor for key, tensor in state.items()}


def _own(key: str) -> str:
    for theirs, own in MMACTION_NAMES:
        key = key.replace(theirs, own)
    return key
