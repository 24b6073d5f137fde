"""Loads weights from local files without running code, matches them strictly, and hashes them."""

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fvis.errors import RequestError, described
from fvis.models import arrays

State = dict[str, Tensor]
Rename = Callable[[State], State]  # from the keys of a published file to a network's own

WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "state_dict_ema", "model_ema",
    "blobs",
)  # fmt: skip
# Classes that PyTorch Lightning pickles beside the weights: the script's arguments, the callbacks.
BOOKKEEPING = (
    "argparse.Namespace",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
)
LARGEST_RATIO = 4  # of an archive's unpacked size to its own
BEGINNINGS = (b"PK", b"\x80")  # of a zip archive and of a pickle, as torch.save writes them
PREFIXES = ("module.", "_orig_mod.", "model.")


class _Unread:
    """Stands in for a class of `BOOKKEEPING`, whose code is neither needed nor run."""


def load_checkpoint(module: nn.Module, path: Path, rename: Rename = dict) -> None:
    """Load the weights at `path` into `module`.

    The file is .safetensors, one of torch.save that holds only tensors, or a .pkl of NumPy arrays.
    The usual wrappers (`state_dict`) and key prefixes (`module.`) are removed first, and `rename`
    is applied. Keys and shapes must then match exactly, or a `RequestError` names the first that do
    not.
    """
    own = _tensors(module)
    state = rename(_unprefixed(read_state(path), own))
    faults = _mismatches(state, own)
    if faults:
        raise RequestError(f"{path} does not fit the model: {'; '.join(faults)}")
    fitting = {key: tensor.to(own[key].dtype) for key, tensor in state.items()}
    module.load_state_dict(fitting, strict=False)  # only what is no tensor may be missing


def read_state(path: Path) -> State:
    """The tensors of a checkpoint file by key, on the CPU; raises `RequestError` if unreadable."""
    if not path.is_file():
        raise RequestError(f"no checkpoint file {str(path)!r}")
    return _unwrapped(read_content(path), path)


def read_content(path: Path) -> Any:
    """What a .safetensors or .npy file holds, or any other as torch.save writes it; no code is run.

    Tensors are on the CPU. Raises `RequestError` for a file that is damaged or holds other objects
    than tensors, numbers, text and containers of them.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npy":
            return _array(path)
        if arrays.is_plain_pickle(path):
            return arrays.read_arrays(path)
        _check_archive(path)
        with (
            torch.serialization.safe_globals([(_Unread, name) for name in BOOKKEEPING]),
            warnings.catch_warnings(action="ignore"),  # of kinds of tensors that are in beta
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's own text recommends to run the code
        raise RequestError(
            f"{path} holds more than tensors, so reading it could run code: "
            "save only tensors, as of the model's state_dict(), best as .safetensors"
        ) from None
    except RequestError:
        raise
    except Exception as error:  # what a damaged file makes of its reader is anybody's guess
        raise RequestError(f"{path} is not readable: {described(error)}") from None


def _array(path: Path) -> Tensor:
    """The array of a .npy file."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of a size that overflows
            return torch.from_numpy(np.load(path, allow_pickle=False))
    except ValueError as error:
        if "pickle" in str(error):  # NumPy's own text names the setting that runs the code
            raise pickle.UnpicklingError from error
        raise


def _check_archive(path: Path) -> None:
    """Raise `RequestError` for what torch.save does not write, and for an archive that is damaged.

    torch.load says little of any other file, checks no checksum, and unpacks compressed archives,
    however large they become.
    """
    with path.open("rb") as file:
        if not file.read(2).startswith(BEGINNINGS):
            raise RequestError(f"{path} is no checkpoint that torch.save wrote")
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > LARGEST_RATIO * path.stat().st_size:
            raise RequestError(f"{path} unpacks to {unpacked / 1e9:.1f} GB: that is no checkpoint")
        damaged = archive.testzip()
    if damaged is not None:
        raise RequestError(f"{path} is damaged: the checksum of {damaged} is wrong")


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds real numbers, one in each place."""
    odd = tensor.is_quantized or tensor.is_meta or tensor.is_complex() or tensor.is_nested
    return not odd and tensor.layout == torch.strided


def check_finite(module: nn.Module, what: str) -> None:
    """Raise `RequestError` naming the first tensor of a network that has NaN or infinity.

    Buffers other than a norm's statistics may be infinite, as masks and bounds are.
    """
    buffers = {name for name, _ in module.named_buffers() if "running_" not in name}
    for name, tensor in _tensors(module).items():
        if not tensor.is_floating_point():
            continue
        wrong = torch.isnan(tensor) if name in buffers else ~torch.isfinite(tensor)
        if bool(wrong.any()):
            raise RequestError(f"{what}: {name} holds numbers that are not finite")


def sha256_of_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_state(module: nn.Module) -> str:
    """The hexadecimal SHA-256 of a state dict: each key, then its tensor's bytes, in key order.

    What is no tensor in it (`get_extra_state`) is left out.
    """
    digest = hashlib.sha256()
    for key, tensor in sorted(_tensors(module).items()):
        digest.update(key.encode(errors="surrogatepass"))
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().data)
    return digest.hexdigest()


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network's state dict, which may hold other things besides."""
    state = module.state_dict()
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _unwrapped(content: Any, path: Path) -> State:
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        raise RequestError(f"{path} holds a {type(content).__name__}, not a state dict")
    return {str(k): v for k, v in content.items() if isinstance(v, Tensor)}


def _unprefixed(state: State, own: Mapping[str, Tensor]) -> State:
    """Remove wrappers' prefixes while every key has one and no key is one of the model's own."""
    while state:
        prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in state)), None)
        if prefix is None or (set(state) & set(own)):
            return state
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _mismatches(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key} {_shape(state[key])} for {_shape(own[key])}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    unfit = [
        f"{key} is {_kind(state[key])}"
        for key in own
        if key in state and _unfit(state[key], own[key])
    ]
    kinds = {
        "missing": missing,
        "unexpected": unexpected,
        "misshapen": misshapen,
        "of an unfit type": unfit,
    }
    return [_sample(kind, keys) for kind, keys in kinds.items() if keys]


def _unfit(given: Tensor, own: Tensor) -> bool:
    """Whether a tensor's numbers mean something else than the model's own of that name."""
    return not is_plain(given) or given.is_floating_point() != own.is_floating_point()


def _kind(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "without numbers (on the meta device)"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    return str(tensor.dtype).removeprefix("torch.")


def _sample(kind: str, keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:3])}{more})"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
