"""Photographs and direction files that are damaged, odd, or no such thing."""

import functools
import io
import os
import pickle
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from tests.hostile.case import BASE, CANARY, QUICK, Draft, damaged
from tests.hostile.kinds.checkpoints import Touch, saved

CHANNELS = 24  # of glyph_cnn's layer1
FORMS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
SUFFIXES = (".png", ".png", ".jpg", ".tif", ".webp", ".gif", ".PNG")
NAMES = (
    "photo", "a b", "it's", '"q"', "a,b", "[x]", "{a: 1}", "a=b", "${x}", "ünï 猫", "-dash", "#1",
    "50%23", "<script>alert(1)<", "a\nb", "\udcff\udcfe", "x" * 240, ".hidden", "..", "*",
    "\x1b[31m", "null", "zoo:",
)  # fmt: skip
POSTSCRIPT = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({CANARY}) (w) file\nshowpage\n"
SVG = "<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"


def _image(form: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **how: Any) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(buffer, form, **how)
    return buffer.getvalue()


def _animation(form: str) -> bytes:
    frames = [Image.new("RGB", (16, 16), (80 * i, 0, 0)) for i in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_that_claims(width: int, height: int) -> bytes:
    """A PNG file whose header promises more pixels than it has."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


def _of_array(array: Any, form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _image("JPEG", exif=exif)


def _bmp_that_claims() -> bytes:
    return b"BM" + bytes(8) + struct.pack("<IIiiHH", 26, 40, -(2**31), 2**31 - 1, 1, 24) + bytes(9)


PICTURES: dict[str, Callable[[], bytes]] = {
    "one pixel": lambda: _image("PNG", (1, 1)),
    "one row": lambda: _image("PNG", (500, 1)),
    "one column": lambda: _image("PNG", (1, 500)),
    "strip": lambda: _of_array(np.zeros((1, 60_000), np.uint8), "PNG"),
    "long strip": lambda: _of_array(np.zeros((1, 1_000_000), np.uint8), "PNG"),
    "text": lambda: b"hello\n",
    "empty": lambda: b"",
    "postscript": POSTSCRIPT.encode,
    "svg": SVG.encode,
    "pdf": lambda: _image("PDF"),
    "ico": lambda: _image("ICO"),
    "gif animation": lambda: _animation("GIF"),
    "png animation": lambda: _animation("PNG"),
    "webp animation": lambda: _animation("WEBP"),
    "tiff pages": lambda: _animation("TIFF"),
    "16 bit": lambda: _of_array(np.arange(4096, dtype=np.uint16).reshape(64, 64), "PNG"),
    "float": lambda: _of_array(np.full((8, 8), 0.5, np.float32), "TIFF"),
    "float nan": lambda: _of_array(np.full((8, 8), np.nan, np.float32), "TIFF"),
    "32 bit": lambda: _of_array(np.full((8, 8), -(2**31), np.int32), "TIFF"),
    "cmyk": lambda: _image("JPEG", mode="CMYK"),
    "grey": lambda: _image("PNG", mode="L"),
    "grey with alpha": lambda: _image("PNG", mode="LA"),
    "one bit": lambda: _image("PNG", mode="1"),
    "palette": lambda: _image("PNG", mode="P"),
    "ycbcr": lambda: _image("TIFF", mode="YCbCr"),
    "alpha": lambda: _image("PNG", mode="RGBA"),
    "claims much": lambda: _png_that_claims(60_000, 60_000),
    "claims too much": lambda: _png_that_claims(2**31 - 1, 2**31 - 1),
    "claims nothing": lambda: _png_that_claims(0, 0),
    "claims some": lambda: _png_that_claims(100, 100),
    "big": lambda: _image("PNG", (3000, 2000)),
    "bad exif": lambda: _exif(99),
    "turned": lambda: _exif(6),
    "ppm that claims": lambda: b"P6 100000 100000 255\n",
    "ppm of words": lambda: b"P6 x y 255\n",
    "bmp that claims": _bmp_that_claims,
    "pickle": lambda: pickle.dumps(Touch("open")),
}


def make(rng: random.Random) -> Draft:
    """An attack on hostile photographs, a grounding in them, or an ascent along a hostile file."""
    return rng.choices((_photographs, _odd_place, _direction), (5, 1, 4))[0](rng)


def quoted(text: str) -> str:
    """Text as a string in Hydra's override grammar."""
    return "'" + text.replace("'", "\\'") + "'"


def _asked(rng: random.Random, place: str) -> tuple[str, ...]:
    if rng.random() < 0.6:
        return (*BASE, "method=adversarial", f"method.images={quoted(place)}", "method.target=3")
    return (*QUICK, f"grounding.images={quoted(place)}", "grounding.cache=cache")


def _photographs(rng: random.Random) -> Draft:
    """One to three hostile files, perhaps with a good one beside them."""
    whole = rng.random() < 0.3
    drawn = [_photograph(rng, number) for number in range(rng.choice((1, 1, 1, 2, 3)))]

    def plant(folder: Path) -> None:
        (folder / "photos").mkdir()
        for name, _, content in drawn:
            (folder / "photos" / name).write_bytes(content)
        if whole:
            (folder / "photos" / "whole.png").write_bytes(_image("PNG"))

    alone = len(drawn) == 1 and not whole and rng.random() < 0.5
    place = f"photos/{drawn[0][0]}" if alone else "photos"
    shown = ", ".join(f"{name}: {what}" for name, what, _ in drawn)
    return Draft(("run", *_asked(rng, place)), shown + " and a good one" * whole, plant)


def _photograph(rng: random.Random, number: int) -> tuple[str, str, bytes]:
    """A file's name, what it is, and what it holds."""
    stem = rng.choice(NAMES) if rng.random() < 0.3 else "photo"
    name = f"{stem}{number or ''}{rng.choice(SUFFIXES)}"
    if rng.random() < 0.35:
        form = rng.choice(FORMS)
        return name, f"damaged {form}", damaged(_image(form), rng)
    what = rng.choice(sorted(PICTURES))
    return name, what, PICTURES[what]()


LINKS = {"loop": "x.png", "dangling": "nosuch", "zero": "/dev/zero"}
PLACES = {"glob of nothing": "*.xyz", "glob": "photos/**", "bad glob": "photos/["}
ODD_PLACES = (
    *LINKS, *PLACES, "empty folder", "fifo", "fifo in a folder", "folder named as a picture",
    "loop in a folder", "absent", "no pictures",
)  # fmt: skip


def _odd_place(rng: random.Random) -> Draft:
    what = rng.choice(ODD_PLACES)
    alone = what in LINKS or what == "fifo"
    place = PLACES.get(what, "photos/x.png" if alone else "photos")

    def plant(folder: Path) -> None:
        path = folder / "photos" / "x.png"
        if what != "absent":
            path.parent.mkdir()
        if what.startswith("fifo"):
            os.mkfifo(path)
        elif what == "folder named as a picture":
            path.mkdir()
        elif what == "no pictures":
            path.with_suffix(".txt").write_text("x")
        elif what.split()[0] in LINKS:
            path.symlink_to(LINKS[what.split()[0]])

    return Draft(("run", *_asked(rng, place)), what, plant)


def _npy(array: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


def _npy_that_claims(shape: str, kind: str = "<f4") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode() + bytes(96)


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=_vector().numpy())
    return buffer.getvalue()


@functools.cache
def _vector() -> torch.Tensor:
    return torch.linspace(-1, 1, CHANNELS)


ARRAYS: dict[str, Callable[[], Any]] = {
    "wrong length": lambda: np.ones(5, np.float32),
    "no rows": lambda: np.ones((0, CHANNELS), np.float32),
    "no columns": lambda: np.ones((3, 0), np.float32),
    "scalar": lambda: np.float32(3),
    "three axes": lambda: np.ones((2, 2, CHANNELS)),
    "nan": lambda: np.full(CHANNELS, np.nan),
    "inf": lambda: np.full(CHANNELS, np.inf),
    "zero": lambda: np.zeros(CHANNELS),
    "huge numbers": lambda: np.full(CHANNELS, 1e300),
    "large numbers": lambda: np.full(CHANNELS, 3e38, np.float32),
    "tiny numbers": lambda: np.full(CHANNELS, 1e-45, np.float32),
    "complex": lambda: np.ones(CHANNELS, complex),
    "text": lambda: np.array(["a"] * CHANNELS),
    "dates": lambda: np.zeros(CHANNELS, "datetime64[s]"),
    "records": lambda: np.zeros(CHANNELS, [("a", "f4")]),
    "big endian": lambda: np.ones(CHANNELS, ">f4"),
    "uint64": lambda: np.ones(CHANNELS, np.uint64),
    "float16": lambda: np.ones(CHANNELS, np.float16),
    "long double": lambda: np.ones(CHANNELS, np.longdouble),
    "bool": lambda: np.ones(CHANNELS, bool),
    "many rows": lambda: np.ones((6, CHANNELS), np.float32),
}
CLAIMS = {
    "much": ("(100000000000,)", "<f4"),
    "negative": ("(-1, 24)", "<f4"),
    "overflow": ("(2**63, 2)", "<f4"),
    "too large": (f"({2**63}, 2)", "<f4"),
    "true": ("(True, 24)", "<f4"),
    "a list": ("[24]", "<f4"),
    "an unknown kind": ("(24,)", "<f99"),
    "depth": ("(" * 40 + ")" * 40, "<f4"),
}
TENSORS: dict[str, Callable[[], Any]] = {
    "good": _vector,
    "list": lambda: _vector().tolist(),
    "dict": lambda: {"a": _vector()},
    "text": lambda: "hello",
    "none": lambda: None,
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "complex": lambda: _vector().to(torch.complex64),
    "meta": lambda: _vector().to("meta"),
    "sparse": lambda: _vector().to_sparse(),
    "csr": lambda: _vector()[None].to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(_vector(), 0.1, 0, torch.qint8),
    "requires grad": lambda: _vector().clone().requires_grad_(),
    "huge": lambda: torch.ones(1).expand(10**11),
    "bool": lambda: _vector() > 0,
    "object": lambda: [Touch("exec")],
}
SAFE: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
    "none": dict,
    "two shapes": lambda: {"a": _vector(), "b": torch.ones(3)},
    "three axes": lambda: {"a": torch.ones(1, 1, CHANNELS)},
    "float8": lambda: {"a": _vector().to(torch.float8_e4m3fn)},
    "complex": lambda: {"a": _vector().to(torch.complex64)},
}
OTHERS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "pickled array": (".npy", lambda: _npy(np.array([Touch("open")], object), allow_pickle=True)),
    "pickle as npy": (".npy", lambda: pickle.dumps(Touch("exec"))),
    "pickle as pt": (".pt", lambda: pickle.dumps(Touch("system"))),
    "npz": (".npy", _npz),
    "npz by name": (".npz", _npz),
    "no suffix": ("", lambda: _npy(np.ones(CHANNELS))),
    "csv": (".csv", lambda: b"1,2,3\n"),
    "empty npy": (".npy", lambda: b""),
    "empty pt": (".pt", lambda: b""),
    "empty safetensors": (".safetensors", lambda: b""),
}


def _direction_file(rng: random.Random) -> tuple[str, str, bytes]:
    """A file's suffix, what it is, and what it holds."""
    form = rng.choices(("array", "claims", "tensor", "safe", "other"), (5, 2, 4, 1, 3))[0]
    if form == "array":
        what = rng.choice(sorted(ARRAYS))
        return ".npy", f"array {what}", _npy(ARRAYS[what]())
    if form == "claims":
        what = rng.choice(sorted(CLAIMS))
        return ".npy", f"npy that claims {what}", _npy_that_claims(*CLAIMS[what])
    if form == "tensor":
        what = rng.choice(sorted(TENSORS))
        return ".pt", f"pt {what}", saved(TENSORS[what]())
    if form == "safe":
        what = rng.choice(sorted(SAFE))
        return ".safetensors", f"safetensors {what}", save(SAFE[what]())
    what = rng.choice(sorted(OTHERS))
    suffix, content = OTHERS[what]
    return suffix, what, content()


def _direction(rng: random.Random) -> Draft:
    suffix, what, content = _direction_file(rng)
    harmed = rng.random() < 0.25
    content = damaged(content, rng) if harmed else content
    name = (rng.choice(NAMES) if rng.random() < 0.2 else "d") + suffix

    def plant(folder: Path) -> None:
        (folder / name).write_bytes(content)

    words = ("target.layer=layer1", f"target.direction={quoted(name)}")
    return Draft(("run", *BASE, *words), f"direction {name}: {what}{' damaged' * harmed}", plant)
