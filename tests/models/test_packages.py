"""A network whose weights are a package: found without importing it, loaded in order."""

from pathlib import Path

import pytest
import timm
import torch

from fvis.errors import RequestError
from fvis.models.sources import packages
from fvis.schema import ModelConfig

CONFIG = ModelConfig("packages", "efficientnet_lite0")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """A package with weights under another implementation's keys, whose code must not run."""
    torch.manual_seed(5)
    weights = timm.create_model("tf_efficientnet_lite0").state_dict()
    folder = tmp_path / "fvis_test_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('this code was run')\n")
    others = {f"_{number}.theirs": tensor for number, tensor in enumerate(weights.values())}
    torch.save(others, folder / "weights.pth")
    entry = packages.Packaged(
        "tf_efficientnet_lite0", "fvis_test_weights", "weights.pth", "imagenet"
    )
    monkeypatch.setattr(packages, "NETWORKS", {"efficientnet_lite0": entry})
    monkeypatch.syspath_prepend(tmp_path)
    return dict(weights)


def test_its_weights_are_loaded_in_order_and_none_of_its_code_is_run(
    installed: dict[str, torch.Tensor],
) -> None:
    found = packages.load(CONFIG)
    state = found.module.state_dict()
    assert all(torch.equal(state[key], value) for key, value in installed.items())
    assert found.preprocessing.shape == (3, 224, 224)
    assert found.preprocessing.mean == (0.5, 0.5, 0.5)
    assert found.classes is not None and found.classes[340] == "zebra"


def test_keys_that_are_the_networks_own_stay(installed: dict[str, torch.Tensor]) -> None:
    module = packages.load(CONFIG).module
    backwards = dict(reversed(installed.items()))
    assert list(packages.in_order(backwards, module)) == list(backwards)


def test_an_absent_package_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = packages.Packaged("tf_efficientnet_lite0", "fvis_no_such_package", "w.pth", "imagenet")
    monkeypatch.setattr(packages, "NETWORKS", {"efficientnet_lite0": entry})
    with pytest.raises(RequestError, match=r"pip install 'fvis\[imagenet\]'"):
        packages.load(CONFIG)
