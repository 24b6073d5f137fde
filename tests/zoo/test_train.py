"""What training promises: the same weights from the same seed, and files that are never half."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from fvis.errors import UnwritableError
from fvis.zoo import NETWORKS, glyphs, train

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from pathlib import Path

BRIEF = replace(train.RECIPES["glyph_cnn"], steps=3, batch_size=4)


@pytest.mark.parametrize("name", ["glyph_cnn", "drift_r3d"])
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    brief = replace(train.RECIPES[name], steps=3, batch_size=4, ramp=(0.0, 1.0))
    first = train.fit(NETWORKS[name], brief).state_dict()
    again = train.fit(NETWORKS[name], brief).state_dict()
    other = train.fit(NETWORKS[name], replace(brief, seed=9)).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["fc.weight"], other["fc.weight"])


def test_an_attack_raises_the_loss_within_its_ball() -> None:
    zoo_network = NETWORKS["glyph_cnn"]
    torch.manual_seed(0)
    network = zoo_network.build()
    generator = torch.Generator().manual_seed(3)
    labels = glyphs.draw_labels(8, generator)
    pictures = glyphs.draw(labels, generator)
    moved = train.attacked(network, zoo_network, pictures, labels, 2.0)

    def losses(batch: torch.Tensor) -> torch.Tensor:
        scores = network(train.normalised(batch, zoo_network))
        return functional.cross_entropy(scores, labels, reduction="none")

    assert bool((losses(moved) > losses(pictures)).all())
    assert float((moved - pictures).flatten(1).norm(dim=1).max()) <= 2.0 + 1e-4
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_ball_grows_from_nothing_to_epsilon() -> None:
    recipe = replace(BRIEF, steps=100, epsilon=3.0, ramp=(0.2, 0.6))
    radii = [recipe.epsilon_at(step) for step in (0, 20, 40, 60, 99)]
    assert radii == pytest.approx([0.0, 0.0, 1.5, 3.0, 3.0])


def test_written_weights_read_back_as_float16(tmp_path: Path) -> None:
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    train.write_weights(network, tmp_path / "new" / "w.safetensors", {"accuracy": "1"})
    read = load_file(tmp_path / "new" / "w.safetensors")
    assert read.keys() == network.state_dict().keys()
    assert torch.equal(read["weight"], network.weight.half())


def test_a_failed_write_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(UnwritableError, match="disk full"):
        train.write_weights(nn.Linear(1, 1), path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]
    assert path.read_bytes() == b"old"


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        train.main(["glyph_cn"])
    assert stop.value.code == 2
    assert "glyph_cnn" in capsys.readouterr().err
