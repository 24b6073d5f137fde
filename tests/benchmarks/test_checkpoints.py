"""The cost of saving is measured on saves that happened."""

import pytest
import torch

from tests.benchmarks import checkpoints


def test_a_save_is_timed_beside_the_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoints, "NETWORK", "resnet18")
    monkeypatch.setattr(checkpoints, "LAYER", "layer1")
    monkeypatch.setattr(checkpoints, "STEPS", 3)
    cost = checkpoints.measure(1, torch.device("cpu"))
    assert cost.step_seconds > 0 and cost.save_seconds > 0
    parameters = 3 * 224 * 113 * 2 * 4  # bytes of a spectrum
    assert cost.bytes > 3 * parameters  # Adam's two moments too
    assert cost.share == cost.save_seconds / 60
    monkeypatch.setattr(checkpoints, "measure", lambda batch, device: cost)
    checkpoints.main(["--device", "cpu", "--batches", "1"])
    assert "| 1 |" in capsys.readouterr().out
