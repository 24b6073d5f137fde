"""Checkpoints for the embedded networks that are damaged, malicious, or not what they seem."""

import functools
import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from fvis.zoo import NETWORKS
from tests.hostile.case import CANARY, QUICK, Draft, Plant, damaged

State = dict[str, Tensor]
Planted = tuple[str, str, Plant]  # the file's name, what it is, what plants it
NETWORK_NAMES = ("glyph_cnn", "glyph_vit")


class Touch:
    """An object whose unpickling creates the canary."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        if self.how == "system":
            return os.system, (f"touch {CANARY}",)
        if self.how == "open":
            return open, (CANARY, "w")
        return exec, (f"open({CANARY!r}, 'w')",)


def saved(content: Any, **how: Any) -> bytes:
    """What torch.save writes of an object."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


def make(rng: random.Random) -> Draft:
    """A run whose `model.checkpoint` is one hostile file."""
    network = rng.choice(NETWORK_NAMES)
    kinds = (_damaged, _malicious, _tensors, _keys, _header, _bomb, _content, _place)
    name, what, plant = rng.choices(kinds, (4, 2, 4, 3, 2, 1, 2, 1))[0](network, rng)
    words = (f"model={network}", f"model.checkpoint='{name}'")
    return Draft(("run", *QUICK, *words), f"{network} {name}: {what}", plant)


def _file(name: str, what: str, content: Callable[[], bytes]) -> Planted:
    def plant(folder: Path) -> None:
        (folder / name).write_bytes(content())

    return name, what, plant


@functools.cache
def _weights(network: str) -> State:
    return load_file(NETWORKS[network].weights)


def _state(network: str) -> State:
    return {key: tensor.float() for key, tensor in _weights(network).items()}


def _damaged(network: str, rng: random.Random) -> Planted:
    form = rng.choice(("safetensors", "pth", "legacy"))

    def content() -> bytes:
        state = _state(network)
        if form == "safetensors":
            return damaged(save(state), rng)
        return damaged(saved(state, _use_new_zipfile_serialization=form == "pth"), rng)

    name = "w.safetensors" if form == "safetensors" else rng.choice(("w.pth", "w.pt", "w.bin"))
    return _file(name, f"{form} damaged", content)


def _malicious(network: str, rng: random.Random) -> Planted:
    touch = Touch(rng.choice(("system", "open", "exec")))
    form, protocol = rng.choice(("pickle", "zip", "legacy", "stacked")), rng.choice((0, 2, 4))

    def content() -> bytes:
        if form == "pickle":
            return pickle.dumps(touch, protocol)
        if form == "stacked":
            return pickle.dumps(1) + pickle.dumps(touch)
        state = {**_state(network), "x": touch}
        return saved(state, _use_new_zipfile_serialization=form == "zip")

    suffix = rng.choice((".pth", ".pt", ".bin", ".safetensors", "", ".npy", ".pkl", ".tar"))
    return _file(f"w{suffix}", f"{form} that runs code by {touch.how}", content)


TENSORS: dict[str, Callable[[Tensor], Any]] = {
    "complex": lambda own: own.to(torch.complex64),
    "bool": lambda own: own > 0,
    "quantised": lambda own: torch.quantize_per_tensor(own, 0.1, 0, torch.qint8),
    "meta": lambda own: own.to("meta"),
    "sparse": lambda own: own.to_sparse(),
    "csr": lambda own: own.reshape(1, -1).to_sparse_csr(),
    "nan": lambda own: own * float("nan"),
    "inf": lambda own: own + float("inf"),
    "past float": lambda own: own.double() + 1e300,
    "huge": lambda own: own + 3e38,
    "int": lambda own: own.int(),
    "uint16": lambda own: own.int().to(torch.uint16),
    "float8": lambda own: own.to(torch.float8_e4m3fn),
    "bfloat16": lambda own: own.bfloat16(),
    "expanded": lambda own: own.flatten()[0].expand(own.shape),
    "requires grad": lambda own: own.clone().requires_grad_(own.is_floating_point()),
    "parameter": lambda own: torch.nn.Parameter(own, requires_grad=False),
    "numpy": lambda own: own.numpy(),
    "list": lambda own: own.tolist(),
    "none": lambda own: None,
    "transposed": lambda own: own.t() if own.dim() == 2 else own[None],
    "empty": lambda own: own.flatten()[:0],
    "zero": lambda own: own * 0,
    "huge shape": lambda own: torch.zeros(1).expand(10**12),
    "nested": lambda own: torch.nested.nested_tensor([torch.ones(2), torch.ones(1)]),
    "conjugated": lambda own: own.to(torch.complex64).conj(),
}
IN_SAFETENSORS = ("nan", "inf", "huge", "int", "float8", "bfloat16", "zero", "bool", "complex")


def _tensors(network: str, rng: random.Random) -> Planted:
    """Some or all tensors are of an odd kind."""
    what, everywhere = rng.choice(sorted(TENSORS)), rng.random() < 0.3
    form = rng.choice(("safetensors", "pth")) if what in IN_SAFETENSORS else "pth"

    def content() -> bytes:
        state: dict[str, Any] = _state(network)
        for key in list(state) if everywhere else rng.sample(sorted(state), 2):
            state[key] = TENSORS[what](state[key])
        return save(state) if form == "safetensors" else saved(state)

    return _file(f"w.{form}", f"{'all' if everywhere else 'some'} {what}", content)


def _prefixed(state: State, prefix: str) -> State:
    return {prefix + key: tensor for key, tensor in state.items()}


def _cyclic(state: State) -> dict[str, Any]:
    content: dict[str, Any] = {"state_dict": dict(state)}
    content["state_dict"]["state_dict"] = content
    return content


ONE = torch.zeros(1)
KEYS: dict[str, Callable[[State], Any]] = {
    "missing": lambda state: dict(list(state.items())[1:]),
    "extra": lambda state: {**state, "extra.weight": ONE},
    "misshapen": lambda state: {key: tensor[None] for key, tensor in state.items()},
    "renamed": lambda state: {k.replace("weight", "wait"): v for k, v in state.items()},
    "numbers": lambda state: dict(enumerate(state.values())),
    "tuples": lambda state: {(key, 1): tensor for key, tensor in state.items()},
    "none": lambda state: {**state, None: ONE},
    "long": lambda state: {**state, "k" * 1_000_000: ONE},
    "odd": lambda state: {**state, "\x1b[31m\u202e猫\\": ONE},
    "prefixed": lambda state: _prefixed(state, "module."),
    "prefixed often": lambda state: _prefixed(state, "module." * 1000),
    "only prefixes": lambda state: {"module.": ONE, "module.model.": ONE},
    "wrapped": lambda state: {"state_dict": state, "epoch": 3},
    "wrapped often": lambda state: {"model": {"model": {"model": state}}},
    "wraps itself": _cyclic,
    "empty": lambda state: {},
    "many": lambda state: {f"k{i}": ONE for i in range(20_000)},
    "line breaks": lambda state: {**state, "a\nb\r\u2028c": ONE},
    "empty key": lambda state: {**state, "": ONE},
    "another network's": lambda state: _state("drift_r3d"),
}


def _keys(network: str, rng: random.Random) -> Planted:
    what = rng.choice(sorted(KEYS))
    return _file("w.pth", f"keys {what}", lambda: saved(KEYS[what](_state(network))))


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def _one(**changes: Any) -> str:
    return json.dumps({"a": {**TENSOR, **changes}})


HEADERS = {
    "deep": "[" * 100_000,
    "negative": _one(data_offsets=[-4, 0]),
    "overlap": json.dumps({"a": TENSOR, "b": TENSOR}),
    "duplicate": f'{{"a": {json.dumps(TENSOR)}, "a": {json.dumps(TENSOR)}}}',
    "dtype": _one(dtype="X99"),
    "past the end": _one(shape=[10**6], data_offsets=[0, 4 * 10**6]),
    "no mapping": "[1, 2]",
    "huge length": "{}",
    "huge shape": _one(shape=[2**40, 2**40]),
    "overflow": _one(data_offsets=[0, 2**70]),
    "metadata": json.dumps({"__metadata__": {"a": 1}, "a": TENSOR}),
    "no utf-8": '{"\udcff": 1}',
    "gap": _one(data_offsets=[4, 8]),
    "nan": '{"a": NaN}',
}


def _header(network: str, rng: random.Random) -> Planted:
    """Safetensors files with a header that lies."""
    what = rng.choice(sorted(HEADERS))
    header = HEADERS[what].encode("utf-8", "surrogateescape")
    length = 2**62 if what == "huge length" else len(header)
    content = struct.pack("<Q", length) + header + bytes(8)
    return _file("w.safetensors", f"header {what}", lambda: content)


def _bomb(network: str, rng: random.Random) -> Planted:
    """Archives that unpack to too much, or to another place."""
    what = rng.choice(("zeros", "many", "paths", "compressed", "claims"))

    def content() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            if what == "zeros":
                archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
                archive.writestr("archive/data/0", bytes(300_000_000))
            elif what == "many":
                for i in range(20_000):
                    archive.writestr(f"archive/data/{i}", b"")
            elif what == "paths":
                archive.writestr(f"../{CANARY}", b"x")
            else:
                shape = 10**11 if what == "claims" else 8
                _copy(saved({"a": ONE.expand(shape)}), archive)
        return buffer.getvalue()

    return _file(rng.choice(("w.pth", "w.safetensors")), f"zip {what}", content)


def _copy(content: bytes, archive: zipfile.ZipFile) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as other:
        for entry in other.infolist():
            archive.writestr(entry.filename, other.read(entry))


def _scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def _deep() -> bytes:
    content: Any = ONE
    for _ in range(300):
        content = {"state_dict": content}
    return saved(content)


CONTENTS: dict[str, Callable[[], bytes]] = {
    "list": lambda: saved([ONE]),
    "tensor": lambda: saved(ONE),
    "number": lambda: saved(3),
    "none": lambda: saved(None),
    "text": lambda: b"hello\n" * 100,
    "state in a list": lambda: saved([_state("glyph_cnn")]),
    "pickle of numpy": lambda: pickle.dumps({"a": np.zeros(2)}),
    "jit": _scripted,
    "npy": lambda: b"\x93NUMPY\x01\x00v\x00" + bytes(100),
    "png": lambda: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "json": lambda: b"{}",
    "deep": _deep,
    "zip of nothing": lambda: b"PK\x05\x06" + bytes(18),
    "set": lambda: saved({1, 2}),
    "tensor as state_dict": lambda: saved({"state_dict": ONE}),
    "bytes": lambda: saved(b"x" * 100),
    "random": lambda: random.Random(0).randbytes(5000),
}


def _content(network: str, rng: random.Random) -> Planted:
    what = rng.choice(sorted(CONTENTS))
    return _file(rng.choice(("w.pth", "w.pt", "w.safetensors")), what, CONTENTS[what])


LINKS = {"loop": "{}", "zero": "/dev/zero", "null": "/dev/null", "dangling": "x"}


def _place(network: str, rng: random.Random) -> Planted:
    """Something else than a file, a file of nothing, or of the other format."""
    name = rng.choice(("w.pth", "w.safetensors"))
    what = rng.choice((*LINKS, "empty", "directory", "fifo", "one byte", "the other format"))

    def plant(folder: Path) -> None:
        path = folder / name
        if what in ("empty", "one byte"):
            path.write_bytes(b"" if what == "empty" else b"\x80")
        elif what == "directory":
            path.mkdir()
        elif what == "fifo":
            os.mkfifo(path)
        elif what == "the other format":
            state = _state(network)
            path.write_bytes(saved(state) if name.endswith("safetensors") else save(state))
        else:
            path.symlink_to(LINKS[what].format(name))

    return name, what, plant
