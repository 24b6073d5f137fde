"""Weights files are read safely, matched strictly and hashed truly."""

import argparse
import hashlib
import os
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fvis.errors import RequestError
from fvis.models import load
from fvis.models.checkpoints import (
    check_finite,
    load_checkpoint,
    read_state,
    sha256_of_file,
    sha256_of_state,
)
from fvis.schema import ModelConfig

LIGHTNING = "pytorch_lightning.callbacks"


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: tensor for key, tensor in state.items()}


def assert_equal_weights(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_prefixes_are_taken_off(tmp_path: Path, suffix: str, prefix: str) -> None:
    trained, fresh = net(), net()
    path = tmp_path / f"w{suffix}"
    state = prefixed(trained.state_dict(), prefix)
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    load_checkpoint(fresh, path)
    assert_equal_weights(fresh, trained)


class Extra(nn.Linear):
    """A layer whose state has something besides tensors, as quantizers' and metrics' do."""

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 2}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"version": 2}


def test_a_state_may_hold_more_than_tensors(tmp_path: Path) -> None:
    trained, fresh = Extra(3, 2), Extra(3, 2)
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    load_checkpoint(fresh, tmp_path / "w.pth")
    assert torch.equal(fresh.weight, trained.weight)
    check_finite(fresh, "net")
    assert sha256_of_state(fresh) == sha256_of_state(trained) != sha256_of_state(Extra(3, 2))


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "model_state"])
def test_a_nested_state_dict_is_unwrapped_beside_its_bookkeeping(
    tmp_path: Path, wrapper: str
) -> None:
    trained, fresh = net(), net()
    state = prefixed(trained.state_dict(), "module.")
    torch.save({"epoch": 7, "best": 0.5, wrapper: state}, tmp_path / "w.pth")
    load_checkpoint(fresh, tmp_path / "w.pth")
    assert_equal_weights(fresh, trained)


def test_what_lightning_pickles_beside_the_weights_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning 1.3 writes the script's arguments, and callbacks' states under their classes."""
    trained, fresh = net(), net()
    callback = type("ModelCheckpoint", (), {"__module__": f"{LIGHTNING}.model_checkpoint"})
    with monkeypatch.context() as patch:
        for name in ("pytorch_lightning", LIGHTNING, callback.__module__):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setattr(sys.modules[callback.__module__], "ModelCheckpoint", callback, raising=False)
        content = {
            "state_dict": trained.state_dict(),
            "callbacks": {callback: {"best_model_score": torch.tensor(0.5)}},
            "hyper_parameters": {"args": argparse.Namespace(n_hiddens=240, downsample=(4, 4, 4))},
        }
        torch.save(content, tmp_path / "w.ckpt")
    load_checkpoint(fresh, tmp_path / "w.ckpt")
    assert_equal_weights(fresh, trained)


def test_published_keys_become_the_models_own(tmp_path: Path) -> None:
    trained, fresh = net(), net()
    torch.save(prefixed(trained.state_dict(), "backbone."), tmp_path / "w.pth")
    with pytest.raises(RequestError, match=r"missing \(0\.weight"):
        load_checkpoint(fresh, tmp_path / "w.pth")
    load_checkpoint(
        fresh,
        tmp_path / "w.pth",
        lambda state: {key.removeprefix("backbone."): t for key, t in state.items()},
    )
    assert_equal_weights(fresh, trained)


def test_a_models_own_prefix_is_no_wrapper(tmp_path: Path) -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(3, 2)

    trained, fresh = Holder(), Holder()
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    load_checkpoint(fresh, tmp_path / "w.safetensors")
    assert_equal_weights(fresh, trained)


def test_half_precision_weights_become_the_models_own_type(tmp_path: Path) -> None:
    trained, fresh = net(), net()
    half = {k: v.half() if v.is_floating_point() else v for k, v in trained.state_dict().items()}
    save_file(half, tmp_path / "w.safetensors")
    load_checkpoint(fresh, tmp_path / "w.safetensors")
    assert fresh[0].weight.dtype == torch.float32
    torch.testing.assert_close(fresh[0].weight, trained[0].weight.half().float())


class Trap:
    """A pickle that, when loaded carelessly, makes the folder it names."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)


def test_a_pickle_with_code_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": net().state_dict(), "x": Trap(tmp_path / "run")}, tmp_path / "w.pth")
    with pytest.raises(RequestError, match="could run code") as caught:
        read_state(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "w.pth")
    with pytest.raises(RequestError, match="state_dict"):
        read_state(tmp_path / "w.pth")


def test_a_mismatch_names_the_first_missing_unexpected_and_misshapen_keys(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    del state["2.weight"]
    state["9.extra"] = torch.zeros(1)
    state["0.bias"] = torch.zeros(7)
    save_file(state, tmp_path / "w.safetensors")
    fresh = net()
    before = {key: tensor.clone() for key, tensor in fresh.state_dict().items()}
    with pytest.raises(RequestError) as caught:
        load_checkpoint(fresh, tmp_path / "w.safetensors")
    text = str(caught.value)
    assert "1 missing (2.weight)" in text
    assert "1 unexpected (9.extra)" in text
    assert "1 misshapen (0.bias 7 for 4)" in text
    assert "w.safetensors" in text
    assert "\n" not in text
    torch.testing.assert_close(dict(fresh.state_dict()), before, rtol=0, atol=0)


def test_many_missing_keys_are_counted_and_three_named(tmp_path: Path) -> None:
    save_file({"0.weight": net()[0].weight.detach()}, tmp_path / "w.safetensors")
    with pytest.raises(RequestError, match=r"8 missing \(0\.bias, 1\.weight, 1\.bias and 5 more\)"):
        load_checkpoint(net(), tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights at all, but a page of HTML" * 50])
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError) as caught:
        read_state(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("hello")  # a pickle's "h" asks for what is not there: KeyError
    with pytest.raises(RequestError, match=r"w\.pth is no checkpoint that torch\.save wrote"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    state = net().state_dict()
    path = tmp_path / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RequestError, match=name):
        read_state(path)


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "w.pth")
    with pytest.raises(RequestError, match="a list"):
        read_state(tmp_path / "w.pth")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"absent\.safetensors"):
        read_state(tmp_path / "absent.safetensors")


def test_a_files_hash_is_hashlibs(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(net().state_dict(), path)
    assert sha256_of_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_states_hash_follows_every_weight_and_buffer() -> None:
    module = net()
    hashes = [sha256_of_state(module)]
    assert sha256_of_state(module) == hashes[0]
    for tensor in module.state_dict().values():
        with torch.no_grad():
            tensor.view(-1)[-1] += 1
        hashes.append(sha256_of_state(module))
    assert len(set(hashes)) == len(hashes)


def test_equal_states_have_equal_hashes_whatever_the_memory_layout() -> None:
    module = net()
    expected = sha256_of_state(module)
    assert sha256_of_state(module.to(memory_format=torch.channels_last)) == expected
    twin = net()
    twin.load_state_dict(module.state_dict())
    assert sha256_of_state(twin) == expected


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda w: w.to(torch.complex64), "complex64"),
        (lambda w: w > 0, "bool"),
        (lambda w: (w * 1000).to(torch.int32), "int32"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "qint8"),
        (lambda w: w.to("meta"), "meta"),
        (lambda w: w.to_sparse(), "sparse"),
    ],
)
def test_numbers_that_mean_something_else_are_refused(
    tmp_path: Path, change: Callable[[Tensor], Tensor], word: str
) -> None:
    state = dict(net().state_dict())
    state["0.weight"] = change(state["0.weight"])
    torch.save(state, tmp_path / "w.pth")
    module = net()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(RequestError, match=word) as caught:
        load_checkpoint(module, tmp_path / "w.pth")
    assert "\n" not in str(caught.value)
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)


def test_half_precision_weights_are_the_same_weights(tmp_path: Path) -> None:
    module = net()
    state = module.state_dict()
    half = {key: t.half() if t.is_floating_point() else t for key, t in state.items()}
    torch.save(half, tmp_path / "w.pth")
    fresh = net()
    load_checkpoint(fresh, tmp_path / "w.pth")
    torch.testing.assert_close(fresh[0].weight, module[0].weight, atol=1e-3, rtol=1e-3)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(net().state_dict(), path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        content[largest.header_offset + 200] ^= 1
    path.write_bytes(content)
    with pytest.raises(RequestError, match="damaged"):
        read_state(path)


def test_an_archive_that_unpacks_to_far_more_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(RequestError, match="unpacks to"):
        read_state(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, number: float) -> None:
    module = net()
    check_finite(module, "net")
    with torch.no_grad():
        module[1].running_var[2] = number
    with pytest.raises(RequestError, match=r"net: 1\.running_var"):
        check_finite(module, "net")
    state = load(ModelConfig()).module.state_dict()
    state["stem.0.weight" if "stem.0.weight" in state else next(iter(state))].view(-1)[0] = number
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(RequestError, match=r"w\.pth: .* not finite"):
        load(ModelConfig(checkpoint=str(tmp_path / "w.pth")))


def test_masks_and_bounds_may_be_infinite_but_not_nan() -> None:
    module = net()
    module.register_buffer("mask", torch.full((2, 2), float("-inf")).triu(1))
    check_finite(module, "net")
    module.get_buffer("mask")[0, 0] = float("nan")
    with pytest.raises(RequestError, match="net: mask"):
        check_finite(module, "net")


def test_a_tensor_of_a_kind_in_beta_is_refused_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    state = {"weight": torch.eye(2).to_sparse_csr(), "bias": torch.zeros(2)}
    torch.save(state, tmp_path / "w.pth")
    recwarn.clear()
    with pytest.raises(RequestError, match="sparse_csr"):
        load_checkpoint(nn.Linear(2, 2), tmp_path / "w.pth")
    assert not recwarn.list
