"""PyTorchVideo's I3D is built, loaded and fed as published; without the package, a line says so."""

import pickle
import sys
import types
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from fvis.errors import RequestError
from fvis.models import Model, load
from fvis.models.layers import survey
from fvis.models.sources import pytorchvideo as source
from fvis.schema import ModelConfig

STAGES = {1: 2, 3: 3, 4: 4, 5: 5}
URL = "https://example.org/zoo/I3D_8x8_R50.pyth"


def config(**settings: object) -> ModelConfig:
    return ModelConfig(
        **{"source": "pytorchvideo", "name": "i3d_r50", "pretrained": False, **settings}
    )


def caffe2_name(key: str) -> str:
    """What Caffe2 calls a weight of PyTorchVideo's."""
    kinds = {"running_mean": "rm", "running_var": "riv", "bias": "b"}
    place, _, kind = key.rpartition(".")
    ending = kinds.get(kind, "s" if "norm" in place else "w")
    if place == "blocks.6.proj":
        return f"pred_{ending}"
    if place.startswith("blocks.0"):
        return f"res_conv1_bn_{ending}" if "norm" in place else f"conv1_{ending}"
    _, stage, _, block, *branch = place.split(".")
    layer = branch[-1].partition("_")
    part = "1" if branch[0].startswith("branch1") else f"2{layer[2]}"
    norm = "bn_" * ("norm" in branch[-1])
    return f"res{STAGES[int(stage)]}_{block}_branch{part}_{norm}{ending}"


# --- without the package


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A stand-in for `pytorchvideo.models.hub`, whose network is one convolution."""

    def i3d_r50(pretrained: bool, width: int = 4) -> nn.Module:
        if pretrained:
            raise URLError("no network")
        return nn.Sequential(nn.Conv3d(3, width, 1))

    module = types.ModuleType("pytorchvideo.models.hub")
    module.i3d_r50 = i3d_r50
    module.resnet = types.SimpleNamespace(checkpoint_paths={"i3d_r50": URL})
    for name in ("pytorchvideo", "pytorchvideo.models"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        ("pytorchvideo", r"needs the package pytorchvideo: pip install 'fvis\[video\]'"),
        ("torchvision.transforms.functional_tensor", r"cannot be imported: .*functional_tensor"),
    ],
)
def test_a_package_that_is_absent_or_broken_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, absent: str, words: str
) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {absent!r}", name=absent)

    monkeypatch.setattr(source, "importlib", types.SimpleNamespace(import_module=fail))
    with pytest.raises(RequestError, match=words) as caught:
        load(config())
    assert "\n" not in str(caught.value)


def test_its_input_is_that_of_kinetics(hub: types.ModuleType) -> None:
    preprocessing = load(config()).preprocessing
    assert preprocessing.shape == (3, 8, 224, 224)
    white = preprocessing.normalise(torch.ones(1, *preprocessing.shape))
    torch.testing.assert_close(white, torch.full_like(white, (1 - 0.45) / 0.225))


def test_arguments_reach_the_builder(hub: types.ModuleType) -> None:
    assert load(config(kwargs={"width": 5})).module[0].out_channels == 5
    with pytest.raises(RequestError, match="nonsense"):
        load(config(kwargs={"nonsense": 1}))
    with pytest.raises(RequestError, match="i3d_r50"):
        load(config(name="i3d_r101"))


def test_unreachable_weights_name_the_file_and_the_folder(
    hub: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(RequestError) as caught:
        load(config(pretrained=True))
    for part in ("I3D_8x8_R50.pyth", URL, str(tmp_path / "hub" / "checkpoints")):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("theirs", "own"),
    [
        ("conv1_w", "blocks.0.conv.weight"),
        ("res_conv1_bn_riv", "blocks.0.norm.running_var"),
        ("res2_0_branch1_w", "blocks.1.res_blocks.0.branch1_conv.weight"),
        ("res3_3_branch2a_bn_s", "blocks.3.res_blocks.3.branch2.norm_a.weight"),
        ("res5_2_branch2c_bn_b", "blocks.5.res_blocks.2.branch2.norm_c.bias"),
        ("pred_b", "blocks.6.proj.bias"),
        ("res2_0_branch1_w_momentum", None),
        ("model_iter", None),
    ],
)
def test_caffe2s_names_are_pytorchvideos(theirs: str, own: str | None) -> None:
    given = {"conv1_w": torch.zeros(1), theirs: torch.ones(1)}
    found = {key for key, tensor in source.rename(given).items() if tensor.any()}
    assert found == ({own} if own else set())


# --- with it


@pytest.fixture(scope="module")
def i3d() -> Model:
    pytest.importorskip("pytorchvideo", reason="needs the video extra")
    return load(config(), 3)


@pytest.mark.slow
def test_it_has_the_published_size_and_shapes(i3d: Model) -> None:
    count = sum(parameter.numel() for parameter in i3d.module.parameters())
    assert count / 1e6 == pytest.approx(28.04, abs=0.005)  # PyTorchVideo's model zoo
    layers = survey(i3d)
    shapes = {
        "blocks.0.conv": (64, 8, 112, 112),
        "blocks.1.res_blocks.0.branch2.conv_c": (256, 8, 56, 56),
        "blocks.3.res_blocks.0.branch2.conv_c": (512, 4, 28, 28),
        "blocks.4.res_blocks.0.branch2.conv_c": (1024, 4, 14, 14),
        "blocks.5.res_blocks.0.branch2.conv_c": (2048, 4, 7, 7),
        "logits": (400,),
    }
    assert {path: layers[path].shape[1:] for path in shapes} == shapes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["I3D_8x8_R50.pyth", "I3D_8x8_R50.pkl"])
def test_published_files_are_read(i3d: Model, tmp_path: Path, name: str) -> None:
    own = i3d.module.state_dict()
    if name.endswith(".pyth"):
        torch.save({"epoch": 196, "model_state": own, "cfg": "NUM_GPUS: 8\n"}, tmp_path / name)
    else:
        floats = {key: tensor for key, tensor in own.items() if tensor.is_floating_point()}
        blobs = {caffe2_name(key): tensor.numpy() for key, tensor in floats.items()}
        assert len(blobs) == len(floats)
        content = {"blobs": {**blobs, "conv1_w_momentum": np.zeros(3), "lr": np.float32(0.1)}}
        (tmp_path / name).write_bytes(pickle.dumps(content))
    read = load(config(checkpoint=str(tmp_path / name)), 4).module.state_dict()
    torch.testing.assert_close(dict(read), dict(own), rtol=0, atol=0)


@pytest.mark.slow
def test_its_own_loader_reads_the_file_from_torchs_cache(
    i3d: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    file = tmp_path / "hub" / "checkpoints" / "I3D_8x8_R50.pyth"
    torch.save({"model_state": i3d.module.state_dict()}, file)
    assert load(config(pretrained=True), 4).sha256 == i3d.sha256
