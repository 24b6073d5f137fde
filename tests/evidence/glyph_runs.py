"""Short runs of glyph_cnn beside drawn glyphs, with evidence."""

from pathlib import Path

import torch

from fvis import runner, schema
from fvis.artifacts import write_png
from fvis.compose import compose
from fvis.record.run import RunRecord
from fvis.run_folder import SavedUnit, read_run
from fvis.zoo import glyphs

ALL = (
    "evidence.embedding=zoo/glyph_vit",
    "evidence.references=2",
    "evidence.tasks=4",
    "evidence.seeds=1",
    "evidence.minimising=1",
    "evidence.strangers=[zoo/glyph_vit,zoo/glyph_vit]",
)


def draw(folder: Path, count: int) -> Path:
    """A folder of glyphs, every class as often as the others."""
    folder.mkdir()
    labels = torch.arange(count) % len(glyphs.CLASSES)
    pictures = glyphs.draw(labels, torch.Generator().manual_seed(5))
    for number, rgb in enumerate(pictures):
        write_png(folder / f"{number:03d}.png", rgb)
    return folder


def run(folder: Path, images: Path | None, *words: str) -> tuple[RunRecord, list[SavedUnit]]:
    """A run on the CPU, its record and its units."""
    asked = ["engine.device=cpu", "engine.steps=2"]
    if images is not None:
        asked += [f"grounding.images={images}", f"grounding.cache={images.parent / 'cache'}"]
    runner.run(schema.parse(compose([*asked, *words])), folder)
    saved = read_run(folder)
    return saved.record, list(saved.units())
