"""Views at a lower resolution: where they are made, and what they show."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fvis import runner, schema
from fvis.canvas import find_canvas
from fvis.capture import Network
from fvis.coarse import CoarseViews, coarse_shape
from fvis.compose import compose
from fvis.errors import RequestError
from fvis.models import Model, Preprocessing
from fvis.objectives import resolve
from fvis.randomness import random_generator
from fvis.schema import TargetConfig, TransformsConfig
from fvis.transforms import Transforms

CPU = torch.device("cpu")


class Pooled(nn.Module):
    """Convolutions and classes, of inputs of any size; or of one side alone."""

    def __init__(self, side: int | None) -> None:
        super().__init__()
        self.side = side
        self.conv = nn.Conv2d(3, 8, 5, 2)
        self.head = nn.Linear(8, 4)
        self.seen = set[tuple[int, ...]]()

    def forward(self, x: Tensor) -> Tensor:
        if self.side is not None and x.shape[-1] != self.side:
            raise ValueError(f"takes {self.side} px")
        self.seen.add(tuple(x.shape[-2:]))
        return self.head(self.conv(x).relu().mean((2, 3)))


def shape_of(
    share: float, side: int | None = None, canvas: str | int = "full", **target: Any
) -> tuple[int, int] | None:
    size = Preprocessing(56, 70, None, (0.5,) * 3, (0.25,) * 3)
    model = Model(Pooled(side).eval(), "net", size, None, "", "")
    targets = resolve(TargetConfig(**target), model, 0)
    network = Network(model, targets.layers)
    return coarse_shape(find_canvas(targets, network, canvas), network, share)


def test_coarse_views_have_a_share_of_the_pictures_sides() -> None:
    assert shape_of(0.5) == shape_of(0.5, layer="conv") == (28, 35)
    assert shape_of(1.0) is None and shape_of(1.0, side=70) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"side": 70}, "transforms.coarse=0.5: .*takes 70 px"),
        ({"layer": "conv", "canvas": 32}, "canvas is small already"),
        ({"layer": "conv", "position": "center"}, "elsewhere in a smaller image"),
    ],
    ids=str,
)
def test_what_cannot_be_seen_at_a_lower_resolution_is_refused(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        shape_of(0.5, **settings)


def test_a_refused_run_leaves_nothing(tmp_path: Path) -> None:
    config = schema.parse(
        compose(["model=drift_r3d", "target.units=0", "transforms.coarse=0.5", "engine.device=cpu"])
    )
    with pytest.raises(RequestError, match="clips"):
        runner.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_coarse_views_show_the_same_at_a_lower_resolution_and_then_as_it_is() -> None:
    transforms = Transforms(TransformsConfig(), [random_generator(0)], 4, (3, 32, 48), CPU)
    views = CoarseViews(transforms, (16, 24), 3)
    ramp = torch.linspace(0, 1, 48).expand(1, 3, 32, 48)
    grain = 0.2 * (-1.0) ** torch.arange(48)
    for step in range(3):
        coarse = views(ramp + grain, step)
        expected = ramp.unflatten(3, (24, 2)).mean(4)[..., ::2, :]
        assert (coarse - expected)[..., 2:-2].abs().max() < 1e-2, "grain is gone, the rest remains"
    assert torch.equal(views(ramp, 3), ramp)
    assert len({views.phase(step) for step in range(3)}) == 1 and views.phase(3) != views.phase(2)


def test_the_network_sees_fewer_pixels_in_the_first_steps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    net = Pooled(None)
    size = Preprocessing(64, 64, None, (0.5,) * 3, (0.25,) * 3)
    model = Model(net.eval(), "net", size, None, "", "")
    monkeypatch.setattr("fvis.models.load", lambda *_, **__: model)
    config = schema.parse(
        compose(
            ["target.units=[0,1]", "engine.device=cpu", "engine.steps=8", "transforms.coarse=0.5"]
        )
    )
    runner.run(config, tmp_path)
    assert net.seen == {(64, 64), (32, 32)}


@pytest.mark.parametrize("method", ["accentuation", "inversion"])
def test_views_beside_those_of_photographs_are_not_coarse(method: str) -> None:
    config = compose([f"method={method}", "transforms.coarse=0.5"])
    with pytest.raises(RequestError, match=f"method={method} compares views"):
        schema.parse(config)
