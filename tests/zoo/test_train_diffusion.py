"""The embedded diffusion model: small files that hold no code, and the same weights from a seed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fvis.zoo import GLYPH_DIFFUSION, train_diffusion

BRIEF = [replace(stage, steps=2, batch_size=2) for stage in train_diffusion.STAGES]


def test_the_shipped_files_are_small_and_are_tensors_and_json_alone() -> None:
    files = [path for path in GLYPH_DIFFUSION.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 3_000_000
    (weights,) = GLYPH_DIFFUSION.rglob("*.safetensors")
    assert "_name_or_path" not in json.loads((weights.parent / "config.json").read_text())
    tensors = load_file(weights).values()
    assert {tensor.dtype for tensor in tensors} == {torch.float16}
    assert all(bool(tensor.isfinite().all()) for tensor in tensors)


def test_the_shipped_parts_are_classes_of_diffusers() -> None:
    index = json.loads((GLYPH_DIFFUSION / "model_index.json").read_text())
    parts = {name: place for name, place in index.items() if not name.startswith("_")}
    assert parts == {
        "scheduler": ["diffusers", "DDPMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    }


@pytest.mark.slow
def test_the_seeds_alone_decide_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="pip install 'fvis[diffusion]'")
    weights = []
    for name, stages in (("a", BRIEF), ("b", BRIEF), ("c", [replace(BRIEF[0], seed=9), BRIEF[1]])):
        train_diffusion.retrain(stages, tmp_path / name)
        (file,) = (tmp_path / name).rglob("*.safetensors")
        weights.append(load_file(file))
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert not torch.equal(weights[0]["conv_in.weight"], weights[2]["conv_in.weight"])


@pytest.mark.slow
def test_the_shipped_model_tells_clean_glyphs_from_noise() -> None:
    diffusers = pytest.importorskip("diffusers", reason="pip install 'fvis[diffusion]'")
    shipped = diffusers.UNet2DModel.from_pretrained(GLYPH_DIFFUSION / "unet")
    last = replace(train_diffusion.STAGES[-1], batch_size=32)
    losses = []
    for network in (shipped, train_diffusion.build()):
        with torch.no_grad():
            generator = torch.Generator().manual_seed(50_000)
            losses.append(train_diffusion.loss_of_batch(network, last, generator).item())
    assert losses[0] < 0.2 * losses[1]
