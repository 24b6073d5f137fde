"""C3D has the published shapes and parameter counts, and reads weights in the published layouts."""

from pathlib import Path

import pytest
import torch
from torch import nn

from fvis.errors import RequestError
from fvis.models import load
from fvis.models.layers import survey
from fvis.models.papers.c3d import c3d
from fvis.schema import ModelConfig


def config(**settings: object) -> ModelConfig:
    return ModelConfig(**{"source": "papers", "name": "c3d", "pretrained": False, **settings})


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def narrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three features instead of 4096: 110 MB instead of 320."""
    monkeypatch.setattr("fvis.models.papers.c3d.FEATURES", 3)


def test_parameters_are_those_of_mmactions_table_and_of_sports_1m() -> None:
    with torch.device("meta"):
        assert parameters(c3d(101)) == 78_409_573  # "Parameters" of mmaction2's c3d metafile
        assert parameters(c3d()) == 78_409_573 + (487 - 101) * 4097


def test_layers_have_the_papers_shapes() -> None:
    model = load(config())
    assert model.preprocessing.shape == (3, 16, 112, 112)
    layers = survey(model)
    shapes = {
        "conv1": (64, 16, 112, 112),
        "conv2": (128, 16, 56, 56),
        "conv3b": (256, 8, 28, 28),
        "conv4b": (512, 4, 14, 14),
        "conv5b": (512, 2, 7, 7),
        "pool5": (512, 1, 4, 4),
        "fc6": (4096,),
        "logits": (487,),
    }
    assert {path: layers[path].shape[1:] for path in shapes} == shapes
    assert layers["conv3b"].axes == "BCTHW"


def test_its_input_is_blue_green_red_in_0_to_255_minus_the_mean() -> None:
    """What `conv1` receives of a purely red clip."""
    model = load(config(kwargs={"classes": 0}))
    received = []
    model.module.conv1.register_forward_pre_hook(lambda _, args: received.append(args[0]))
    clip = torch.zeros(1, 3, 16, 112, 112)
    clip[:, 0] = 1
    with torch.no_grad():
        model.module[:2](model.preprocessing.normalise(clip))
    torch.testing.assert_close(
        received[0][0, :, 0, 0, 0], torch.tensor([-90.0, -98.0, 255.0 - 102])
    )


def test_weights_are_read_in_every_published_layout(tmp_path: Path, narrowed: None) -> None:
    drawn = load(config(), 3).module.state_dict()
    theirs = {
        "c3d.pickle": dict(drawn),
        "mmaction.pth": {"meta": {"epoch": 45}, "state_dict": mmaction_keys(drawn, "backbone.")},
        "pretrain.pth": mmaction_keys(drawn, ""),
    }
    for name, content in theirs.items():
        # DavideA's file has the format of torch 0.3, which was no archive.
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=name != "c3d.pickle")
        read = load(config(pretrained=True, checkpoint=str(tmp_path / name)), 4).module.state_dict()
        torch.testing.assert_close(dict(read), dict(drawn), rtol=0, atol=0)


def mmaction_keys(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The same weights as mmaction2 names them: its first convolution is `conv1a.conv`."""
    names = {"conv1": "conv1a", "conv2": "conv2a", "fc8": "cls_head.fc_cls"}
    renamed = {}
    for key, tensor in state.items():
        layer, _, kind = key.partition(".")
        name = names.get(layer, layer)
        own = name if name.startswith("cls_head") else prefix + name
        renamed[f"{own}{'.conv' * layer.startswith('conv')}.{kind}"] = tensor
    return renamed


def test_a_file_without_a_classifier_fits_the_network_without_one(
    tmp_path: Path, narrowed: None
) -> None:
    bare = load(config(kwargs={"classes": 0}), 3).module
    torch.save(bare.state_dict(), tmp_path / "w.pth")
    file = str(tmp_path / "w.pth")
    read = load(config(checkpoint=file, kwargs={"classes": 0}), 4).module
    torch.testing.assert_close(dict(read.state_dict()), dict(bare.state_dict()), rtol=0, atol=0)
    with pytest.raises(RequestError, match=r"2 missing \(fc8\.weight, fc8\.bias\)"):
        load(config(checkpoint=file))


def test_weights_that_nothing_fetches_are_named_in_one_line() -> None:
    with pytest.raises(RequestError, match=r"c3d\.pickle of .*model\.checkpoint=FILE") as caught:
        load(config(pretrained=True))
    assert "\n" not in str(caught.value)
