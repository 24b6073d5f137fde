"""Runs made in a moment from the records of real ones: tiny pictures, any names, any number."""

import functools
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from fvis.gallery.units import shown_units
from fvis.run_folder import read_run
from tests import recorded

SIDE = 32
MODELS = ("resnet50", "vit_base_patch16_224", "<b>bold</b>")
LAYERS = ("layer1.0.act", "layer2", "blocks.6.mlp.act", "<script>alert('layer')</script>", "logits")
STATUSES = ("ok", "ok", "ok", "rescued", "dead")
CLASSES = ("chow", "<script>alert(1)</script>", 'a "quoted" one', "Ünïcode 猫 & co", "100 % #1")
FOLDERS = ("plain", "a b", "50%23", "#hash", "ünï 猫", "it's", '"q"', "<script>alert(2)<")


@functools.cache
def png(hue: int) -> bytes:
    """A tiny picture of a colour."""
    content = io.BytesIO()
    Image.new("HSV", (SIDE, SIDE), (hue % 256, 160, 200)).convert("RGB").save(content, "PNG")
    return content.getvalue()


@functools.cache
def gif(hue: int) -> bytes:
    """A tiny clip: first red, then three frames of the colour, a tenth of a second each."""
    frames = [Image.new("RGB", (SIDE, SIDE), (255, 0, 0))]
    colour = Image.new("HSV", (1, 1), (hue % 256, 255, 255)).convert("RGB").getpixel((0, 0))
    assert isinstance(colour, tuple)
    for i in range(3):
        frames.append(Image.new("RGB", (SIDE, SIDE), colour))
        frames[-1].putpixel((i, 0), (255, 255, 255))
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
    return content.getvalue()


def image_unit(i: int) -> dict[str, Any]:
    """Metadata of unit `i` of an activation maximization; one in nineteen is not finite."""
    final = None if i % 19 == 5 else round(10 * math.sin(i * 1.7) + i / 100, 4)
    trace = [[step, round(math.log1p(step) * (i % 7 - 1), 4)] for step in range(0, 257, 8)]
    return recorded.unit_json("activation_maximization") | _names(i) | {
        "activation": {"initial": 0.5, "final": final, "trace": trace},
        "files": ["image.png"],
    }  # fmt: skip


def clip_unit(i: int) -> dict[str, Any]:
    """Metadata of unit `i` of a texture and motion run."""
    shares = {"optimal": 1.0, "reconstruction": 0.9, "static": 0.1, "reversed": -0.2}
    clip = recorded.unit_json("texture_motion") | _names(i)
    return clip | {
        "activation": image_unit(i)["activation"],
        "motion": clip["motion"] | {"velocity": [1.5, -0.25], "speed": 1.52, "direction_deg": 9.5},
        "activations": clip["activations"] | shares,
        "motion_index": round((i * 37 % 100) / 100, 2),
        "becomes": dict.fromkeys(shares, i),
        "of_another_version": {"spearman": 0.5, "nested": {"deeper": "found"}},
        "files": ["optimal.gif", "reconstruction.gif", "side_by_side.gif", "flow.npz", "clip.mp4"],
    }


def attack_unit(i: int) -> dict[str, Any]:
    """Metadata of an attack; every third fails."""
    return recorded.unit_json("adversarial") | _names(i) | {
        "activation": image_unit(i)["activation"],
        "source": f"/pictures/it's {i}, [x].png",
        "image": CLASSES[i % 5],
        "target": 7,
        "success": i % 3 != 0,
        "steps_to_success": None if i % 3 == 0 else 20 - i,
        "clean": [["disc", 0.99], ["ring", 0.01]],
        "adversarial": [["cross", 0.6], ["disc", 0.4]],
        "files": ["adversarial.png", "clean.png", "delta.npz", "strip.png"],
    }  # fmt: skip


def _names(i: int) -> dict[str, Any]:
    names = {"model": MODELS[i % 2], "layer": LAYERS[i % 4], "unit": i, "class": CLASSES[i % 5]}
    return {**names, "status": STATUSES[i % 5], "steps": 256, "seconds": 1.25}


def write_run(folder: Path, units: Sequence[dict[str, Any]], /, **content: Any) -> Path:
    """A run in `folder` with these units; `content` replaces what its run.json says."""
    method = units[0]["method"] if units else "activation_maximization"
    record = recorded.run_json(method)
    names = []
    for unit in units:
        name = f"{'-' if '<' in unit['layer'] else unit['layer']}-{unit['unit']:05d}"
        write_unit(folder / "units" / name, {**unit, "config_sha256": record["config_sha256"]})
        names.append(name)
    said = {
        "units": names,
        "jobs": names,
        "model": {"name": MODELS[0], "weights": {"sha256": "ab" * 32, "of": "state_dict"}},
        "statuses": {"ok": len(units)},
        "summary": {"success": {"mean": 0.75, "of": 8}},
        "refused": {"<img src=x onerror=alert(3)>.png": "not a picture"},
        "timings": {"started": "2026-01-01T12:00:00+00:00", "seconds": 12.5},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(record | said | content), encoding="utf-8")
    overrides = ["model=timm", "target.units=0:64", "+model.kwargs.width='a b'"]
    write_overrides(folder, overrides)
    return folder


def read_units(run: Path, base: Path) -> list[dict[str, Any]]:
    """The units of a run as the page shows them."""
    return list(shown_units(read_run(run), base))


def write_overrides(folder: Path, overrides: Sequence[str], hydra: str = "") -> None:
    """What Hydra leaves of the words a run was asked with."""
    (folder / ".hydra").mkdir(exist_ok=True)
    text = "".join(f"- {json.dumps(word)}\n" for word in overrides)
    (folder / ".hydra" / "overrides.yaml").write_text(text, encoding="utf-8")
    (folder / ".hydra" / "hydra.yaml").write_text(hydra or "hydra:\n  runtime:\n    cwd: /a/b\n")


def write_unit(folder: Path, metadata: dict[str, Any]) -> None:
    """One unit's folder: metadata and all files that it names."""
    folder.mkdir(parents=True)
    for name in metadata.get("files", []):
        hue = metadata.get("unit", 0) * 41
        content = {".png": png, ".gif": gif}.get(Path(name).suffix, lambda _: b"")(hue % 256)
        (folder / name).write_bytes(content)
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")


def awkward_runs(base: Path) -> Iterator[Path]:
    """Runs whose folders, classes and layers have names that a page must not stumble over."""
    for i, name in enumerate(FOLDERS):
        kind = (image_unit, clip_unit, attack_unit)[i % 3]
        yield write_run(base / name, [kind(3 * i + k) for k in range(3)])
