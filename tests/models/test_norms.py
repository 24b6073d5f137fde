"""Norms that go across the channels of maps keep the channels' axis."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from fvis.models.layers import survey
from tests.models.test_layers import facts, model_of


class AcrossMaps(nn.LayerNorm):
    """ConvNeXt's norm of maps, as many write it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("width", [6, 8])
def test_a_norm_across_the_channels_of_maps_keeps_its_axis(width: int) -> None:
    """Even where the map's columns are as many."""
    network = nn.Sequential(nn.Conv2d(3, 8, 1), AcrossMaps(8), nn.Flatten(), nn.LazyLinear(2))
    network(torch.zeros(1, 3, 4, width))
    assert facts(survey(model_of(network, 4, width))["1"]) == ("BCHW", 8, 0)


def test_layer_norms_of_torchvisions_and_timms_maps_are_read_across_their_channels() -> None:
    convnext = torchvision.models.convnext_tiny(weights=None)
    small = timm.create_model("test_efficientnet_ln")
    for module, size in ((convnext, 64), (small, 160)):
        layers = survey(model_of(module, size, size))
        norms = {p: m for p, m in module.named_modules() if isinstance(m, nn.LayerNorm)}
        assert len(norms) > 5
        for path, norm in norms.items():
            assert layers[path].units == norm.normalized_shape[-1]
    assert facts(survey(model_of(convnext, 64, 64))["features.0"]) == ("BCHW", 96, 0)
