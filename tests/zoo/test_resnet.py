"""The embedded ResNet is timm's, spelled out: weights trained with either mean the same."""

import torch
from timm.models import resnet
from torch import nn

from fvis.zoo import networks


def test_the_embedded_resnet_is_timms() -> None:
    torch.manual_seed(3)
    own = networks.glyph_cnn()
    torch.manual_seed(3)
    theirs = resnet.ResNet(
        resnet.BasicBlock,
        (1, 1, 1, 1),
        num_classes=12,
        channels=(24, 48, 72, 128),
        stem_type="deep",
        stem_width=12,
        avg_down=True,
    )
    theirs.maxpool = nn.Sequential()
    weights = own.state_dict()
    assert list(weights) == list(theirs.state_dict())
    assert all(torch.equal(value, weights[key]) for key, value in theirs.state_dict().items())
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for network in (own.eval(), theirs.eval()):
        for block in network.modules():
            if isinstance(block, nn.BatchNorm2d):
                nn.init.constant_(block.weight, 0.7)  # a block's last one starts as zero
    with torch.no_grad():
        assert torch.equal(own(pictures), theirs(pictures))
