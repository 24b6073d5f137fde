"""A layer that no picture moves is refused, and the weights that are to blame are named."""

import pytest
import timm
import torch
from torch import nn

from fvis.capture import Network
from fvis.errors import RequestError
from fvis.models.layers import survey
from fvis.responsiveness import check_responsive, why_dead
from tests.test_capture import model_of


def check(module: nn.Module, path: str) -> None:
    model = model_of(module.eval())
    check_responsive(Network(model, [survey(model)[path]]))


def refusal(module: nn.Module, path: str) -> str | None:
    try:
        check(module, path)
    except RequestError as error:
        return str(error)
    return None


class Dropping(nn.Conv2d):
    """A convolution behind which dropout is always on."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(x))


@pytest.mark.parametrize(("kind", "says"), [(Dropping, True), (nn.Conv2d, False)])
def test_a_network_that_draws_random_numbers_is_told(
    kind: type[nn.Conv2d], says: bool, caplog: pytest.LogCaptureFixture
) -> None:
    check(nn.Sequential(kind(3, 4, 3), nn.Flatten(), nn.LazyLinear(2)), "0")
    assert ("answers the same picture in different ways" in caplog.text) is says


def headed(scale: float) -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    module[3].weight.data.mul_(scale)
    return module


def test_a_head_of_zeros_is_named() -> None:
    with pytest.raises(RequestError, match=r"3\.weight is all zero") as caught:
        check(headed(0.0), "logits")
    assert "\n" not in str(caught.value)
    check(headed(0.0), "2")


def test_the_zeros_that_are_named_stand_before_the_layer() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Identity(), nn.Conv2d(4, 4, 1))
    nn.init.zeros_(module[1].weight)
    nn.init.zeros_(module[3].weight)
    check(module, "0")
    for path in ("1", "2"):
        with pytest.raises(RequestError, match=r"1\.weight is all zero"):
            check(module, path)


def test_a_picture_that_fades_is_told() -> None:
    module = headed(1e-7)
    check(module, "logits")  # for all that is known, its units respond to something else
    with pytest.raises(RequestError, match="fades"):
        check(nn.Sequential(nn.BatchNorm2d(3), *module), "logits")
    check(headed(1e-2), "logits")
    check(headed(1.0), "logits")


def test_a_layer_that_is_only_silent_is_left_to_the_ascent() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    nn.init.constant_(module[0].bias, -100.0)
    assert refusal(module, "1") is None


def test_a_mask_of_classes_is_no_answer() -> None:
    class Masked(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + torch.tensor([0.0, 0.0, 0.0, 0.0, -torch.inf])

    assert refusal(Masked(*headed(1.0)), "logits") is None


def test_the_middle_of_an_untrained_network_with_batch_norm_fades() -> None:
    torch.manual_seed(0)
    with pytest.raises(RequestError, match="fades"):
        check(timm.create_model("repvgg_a0"), "stages.2.13")


def test_why_units_are_dead_is_told_where_it_is_known() -> None:
    norm = nn.BatchNorm2d(3)
    untrained = why_dead(nn.Sequential(norm, headed(1.0)))
    norm.running_mean = torch.ones(3)
    trained = why_dead(nn.Sequential(norm, headed(1.0)))
    assert trained == "no picture was found that excites it"
    assert untrained.startswith(trained) and "batch norm without statistics" in untrained
    assert "layer scales" in why_dead(timm.layers.LayerScale(4, 1e-5))
    assert why_dead(timm.layers.LayerScale(4, 1.0)) == trained
