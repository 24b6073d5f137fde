"""Networks come from four sources, are fed as their libraries say, and get their weights."""

import re
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn

from fvis.errors import RequestError
from fvis.models import load
from fvis.models.checkpoints import sha256_of_file, sha256_of_state
from fvis.models.sources import factory as factory_source
from fvis.models.sources.base import CATALOGUES
from fvis.schema import InputConfig, ModelConfig
from fvis.zoo import NETWORKS
from tests.conftest import Call

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FACTORY = """
import torch
from torch import nn

def build(width=4, classes=3, checkpoint=None):
    net = nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(width, classes))
    if checkpoint is not None:
        net.load_state_dict(torch.load(checkpoint, weights_only=True))
    return net

def number():
    return 7

def broken():
    raise ValueError("no such backbone")

constant = 3
"""


def config(source: str, name: str | None = None, **settings: object) -> ModelConfig:
    return ModelConfig(**{"source": source, "name": name, "pretrained": False, **settings})


def refusal(settings: ModelConfig) -> str:
    with pytest.raises(RequestError) as caught:
        load(settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


# --- the four sources


@pytest.mark.parametrize(
    ("source", "name", "kind"),
    [
        ("timm", "test_vit", "VisionTransformer"),
        ("torchvision", "squeezenet1_1", "SqueezeNet"),
        ("zoo", "glyph_cnn", None),
        ("zoo", "glyph_vit", "VisionTransformer"),
    ],
)
def test_a_network_is_built_by_name_in_eval_mode(source: str, name: str, kind: str | None) -> None:
    model = load(config(source, name))
    assert kind in (None, type(model.module).__name__)
    assert model.name == name
    assert not any(part.training for part in model.module.modules())
    with torch.no_grad():
        output = model.module(torch.zeros(1, *model.preprocessing.shape))
    assert output.shape[0] == 1


def test_random_weights_are_the_seeds_own_and_leave_torchs_stream_alone() -> None:
    settings = config("timm", "test_resnet")
    state = torch.random.get_rng_state()
    one, same, other = load(settings, 1), load(settings, 1), load(settings, 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.sha256 == same.sha256 != other.sha256
    assert_same(one.module, same.module)


def test_the_hash_is_the_files_or_else_the_states(tmp_path: Path) -> None:
    drawn = load(config("timm", "test_resnet"), 5)
    assert (drawn.sha256, drawn.hashed) == (sha256_of_state(drawn.module), "state_dict")
    path = tmp_path / "w.safetensors"
    save_file(drawn.module.state_dict(), path)
    read = load(config("timm", "test_resnet", checkpoint=str(path)), 9)
    assert (read.sha256, read.hashed) == (sha256_of_file(path), "w.safetensors")
    assert_same(read.module, drawn.module)


def test_a_checkpoint_takes_the_place_of_the_librarys_weights(tmp_path: Path) -> None:
    drawn = load(config("torchvision", "squeezenet1_1"), 5)
    torch.save(drawn.module.state_dict(), tmp_path / "w.pth")
    read = load(config("torchvision", "squeezenet1_1", pretrained=True,
                       checkpoint=str(tmp_path / "w.pth")))  # fmt: skip
    assert_same(read.module, drawn.module)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_zoos_weights_need_nothing_but_the_package(name: str) -> None:
    model = load(config("zoo", name, pretrained=True))
    assert model.classes == NETWORKS[name].classes
    unloaded = load(config("zoo", name)).sha256
    assert (model.sha256 != unloaded) == NETWORKS[name].trained
    assert model.preprocessing.frames == NETWORKS[name].frames


def test_constructor_arguments_are_passed_on() -> None:
    model = load(config("timm", "mobilenetv2_035", kwargs={"pad_type": "same", "num_classes": 5}))
    assert type(model.module.conv_stem).__name__ == "Conv2dSame"
    assert model.module.classifier.out_features == 5
    model = load(config("torchvision", "squeezenet1_1", kwargs={"num_classes": 7}))
    assert model.module.num_classes == 7


@pytest.mark.parametrize("source", ["timm", "torchvision", "zoo"])
def test_an_argument_the_constructor_refuses_is_named(source: str) -> None:
    name = {"timm": "test_vit", "torchvision": "squeezenet1_1", "zoo": "planted_motion"}[source]
    text = refusal(config(source, name, kwargs={"nonsense": 1}))
    assert name in text
    assert "nonsense" in text


@pytest.mark.parametrize(
    ("source", "name", "near"),
    [
        ("timm", "vit_tiny_patch16_22", "vit_tiny_patch16_224"),
        ("torchvision", "resnet5", "resnet50"),
        ("torchvision", "r3d18", "r3d_18"),
        ("zoo", "glyph_cn", "glyph_cnn"),
    ],
)
def test_an_unknown_name_gets_the_nearest_ones(source: str, name: str, near: str) -> None:
    text = refusal(config(source, name))
    assert repr(name) in text
    assert near in text.partition("nearest:")[2]


def test_an_unknown_source_gets_the_nearest_one() -> None:
    assert "torchvision" in refusal(config("torchvison", "resnet50"))


@pytest.mark.parametrize("source", ["timm", "torchvision", "zoo"])
def test_a_source_without_a_name_asks_for_one(source: str) -> None:
    assert "model.name" in refusal(config(source))


def test_catalogues_list_what_can_be_built() -> None:
    listed = {source: CATALOGUES[source]() for source in CATALOGUES}
    assert {"timm", "torchvision", "zoo"} <= listed.keys()
    assert "r3d_18" in listed["torchvision"]
    assert {"deit_tiny_patch16_224", "vit_tiny_patch16_224.augreg_in21k"} <= set(listed["timm"])
    assert listed["zoo"] == sorted(NETWORKS)


# --- preprocessing


@pytest.mark.parametrize(
    ("source", "name", "shape", "statistics"),
    [
        ("torchvision", "resnet50", (3, 224, 224), IMAGENET),
        ("torchvision", "efficientnet_b1", (3, 240, 240), IMAGENET),
        (
            "torchvision",
            "r3d_18",
            (3, 16, 112, 112),
            ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
        ),
        ("timm", "test_vit", (3, 160, 160), ((0.5,) * 3, (0.5,) * 3)),
        ("timm", "convnext_atto", (3, 224, 224), IMAGENET),
        ("timm", "vit_tiny_patch16_224", (3, 224, 224), ((0.5,) * 3, (0.5,) * 3)),
    ],
)
def test_preprocessing_is_the_librarys(
    source: str, name: str, shape: tuple[int, ...], statistics: tuple[object, object]
) -> None:
    preprocessing = load(config(source, name)).preprocessing
    assert preprocessing.shape == shape
    mean, std = statistics
    assert preprocessing.mean == pytest.approx(mean)
    assert preprocessing.std == pytest.approx(std)


def test_normalising_is_what_the_librarys_transform_does() -> None:
    rgb = torch.rand(2, 3, 224, 224)
    transform = torchvision.models.ResNet18_Weights.DEFAULT.transforms(resize_size=224)
    ours = load(config("torchvision", "resnet18")).preprocessing.normalise(rgb)
    torch.testing.assert_close(ours, transform(rgb))


def test_the_users_input_settings_win() -> None:
    given = InputConfig(mean=[0.1, 0.2, 0.3], height=96, width=64)
    preprocessing = load(config("torchvision", "resnet18", input=given)).preprocessing
    assert preprocessing.shape == (3, 96, 64)
    assert preprocessing.mean == (0.1, 0.2, 0.3)
    assert preprocessing.std == pytest.approx(IMAGENET[1]), "what is not given stays"
    preprocessing = load(config("torchvision", "r3d_18", input=InputConfig(frames=8))).preprocessing
    assert preprocessing.shape == (3, 8, 112, 112)


@pytest.mark.parametrize("key", ["mean", "std"])
def test_statistics_are_three_numbers(key: str) -> None:
    text = refusal(config("zoo", "glyph_cnn", input=InputConfig(**{key: [0.5]})))
    assert f"model.input.{key}" in text


def test_class_names_are_in_the_order_of_the_outputs() -> None:
    for source, name in (("torchvision", "resnet18"), ("timm", "test_vit")):
        classes = load(config(source, name)).classes
        assert classes is not None
        assert len(classes) == 1000
        assert "goldfish" in classes[1].lower()
    assert load(config("torchvision", "r3d_18")).classes[0] == "abseiling"


# --- factories


@pytest.fixture
def factory(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(FACTORY)
    return f"{tmp_path / 'net.py'}:build"


SIZE = InputConfig(height=20, width=24)


def made(spec: str, size: InputConfig = SIZE, **kwargs: object) -> ModelConfig:
    return config("factory", factory=spec, kwargs=kwargs, input=size)


def test_a_users_file_builds_with_its_arguments(factory: str) -> None:
    model = load(made(factory, width=6, classes=2))
    assert model.module[0].out_channels == 6
    assert model.module[3].out_features == 2
    assert model.preprocessing.shape == (3, 20, 24)
    assert model.preprocessing.mean == (0.0, 0.0, 0.0)
    assert model.preprocessing.std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("from_file", [False, True])
def test_outputs_are_called_as_the_user_says(factory: str, tmp_path: Path, from_file: bool) -> None:
    names = ["café, coffee house", "dog", "7"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    given = made(factory)
    given.classes = str(tmp_path / "names.txt") if from_file else names
    assert load(given).classes == tuple(names)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["one", "two"], "net.py:build has 3 outputs; 2 names are given"),
        ("nowhere.txt", "model.classes: 'nowhere.txt' cannot be read: No such file or directory"),
    ],
)
def test_names_that_are_not_one_for_each_output_are_refused(
    factory: str, classes: object, said: str
) -> None:
    given = made(factory)
    given.classes = classes
    with pytest.raises(RequestError, match=re.escape(said)):
        load(given)


def test_a_factory_may_load_its_own_weights(factory: str, tmp_path: Path) -> None:
    drawn = load(made(factory), 3)
    torch.save(drawn.module.state_dict(), tmp_path / "w.pth")
    assert_same(load(made(factory, checkpoint=str(tmp_path / "w.pth")), 8).module, drawn.module)


def test_a_relative_factory_file_is_found_from_here(
    factory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(made("net.py:build")).module[0].out_channels == 4


def test_a_factory_file_finds_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "blocks_beside.py").write_text("from torch import nn\nconv = nn.Conv2d(3, 9, 1)\n")
    (tmp_path / "user.py").write_text("import blocks_beside\n\ndef build():\n"
                                      "    return blocks_beside.conv\n")  # fmt: skip
    assert load(made(f"{tmp_path}/user.py:build")).module.out_channels == 9


def test_files_of_one_name_are_modules_of_their_own(tmp_path: Path) -> None:
    found = []
    for folder, channels in (("a", 3), ("b", 7)):
        (tmp_path / folder).mkdir()
        code = f"from torch import nn\n\nWIDTH = {channels}\n\ndef build():\n"
        (tmp_path / folder / "net.py").write_text(f"{code}    return nn.Conv2d(3, WIDTH, 1)\n")
        found.append(factory_source.find(f"{tmp_path / folder}/net.py:build"))
    assert [build().out_channels for build in found] == [3, 7]
    assert [sys.modules[build.__module__].WIDTH for build in found] == [3, 7]


def test_a_package_builds_with_its_arguments() -> None:
    model = load(made("torchvision.models:squeezenet1_1", num_classes=4))
    assert model.module.num_classes == 4


def test_a_clip_factory_has_frames(factory: str) -> None:
    size = InputConfig(frames=5, height=20, width=24, mean=[0.1] * 3, std=[0.2] * 3)
    preprocessing = load(made(factory, size)).preprocessing
    assert preprocessing.shape == (3, 5, 20, 24)
    assert (preprocessing.mean, preprocessing.std) == ((0.1,) * 3, (0.2,) * 3)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{folder}/net.py", "file.py:function"),
        ("{folder}/absent.py:build", "absent.py"),
        ("{folder}/net.py:buidl", "build"),
        ("{folder}/net.py:constant", "not a function"),
        ("{folder}/net.py:number", "returned a int"),
        ("{folder}/net.py:broken", "no such backbone"),
        ("{folder}/typo.py:build", "cannot be imported"),
        ("{folder}/needs.py:build", "absent_package"),
        ("absent_package.nets:build", "absent_package"),
        ("torchvision.models:resnet1", "resnet18"),
        (":build", "model.factory"),
        ("", "model.factory"),
    ],
)
def test_a_bad_factory_is_refused_in_one_line(factory: str, spec: str, words: str) -> None:
    folder = Path(factory.rpartition(":")[0]).parent
    (folder / "typo.py").write_text("def build(:\n    pass\n")
    (folder / "needs.py").write_text("import absent_package\n")
    assert words in refusal(made(spec.format(folder=folder)))


def test_a_factory_without_a_size_asks_for_it(factory: str) -> None:
    assert "model.input.height" in refusal(made(factory, InputConfig()))


def test_an_argument_a_factory_refuses_is_named(factory: str) -> None:
    assert "depth" in refusal(made(factory, depth=3))


def test_the_shared_gesture_network_is_a_users_own(shared: Path) -> None:
    size = InputConfig(frames=16, height=112, width=112)
    weights = str(shared / "weights" / "shufflenet3d_jester.safetensors")
    spec = f"{shared / 'models' / 'shufflenet3d.py'}:build"
    model = load(config("factory", factory=spec, checkpoint=weights, input=size))
    assert model.sha256 == sha256_of_file(Path(weights))


# --- weights of the hubs


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network: constants are read from the environment only at import."""
    cache = tmp_path / "huggingface" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("fvis.models.sources.timm.HF_HUB_CACHE", str(cache), raising=False)
    return cache


def test_torchvisions_weights_are_found_where_torch_keeps_them(torch_home: Path) -> None:
    """Their hash is in the file's name, and is checked by torch only as it downloads."""
    drawn = load(config("torchvision", "squeezenet1_1"), 4)
    torch_home.mkdir(parents=True)
    torch.save(drawn.module.state_dict(), torch_home / "squeezenet1_1-b8a52dc0.pth")
    found = load(config("torchvision", "squeezenet1_1", pretrained=True), 9)
    assert_same(found.module, drawn.module)
    assert found.sha256 == drawn.sha256


def test_timms_weights_are_found_where_hugging_face_keeps_them(hugging_face: Path) -> None:
    drawn = timm.create_model("test_vit")
    folder = hugging_face / "models--timm--test_vit.r160_in1k"
    revision = "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    (folder / "snapshots" / revision).mkdir(parents=True)
    save_file(drawn.state_dict(), folder / "snapshots" / revision / "model.safetensors")
    for name in ("test_vit", "test_vit.r160_in1k"):
        assert_same(load(config("timm", name, pretrained=True), 9).module, drawn)


def test_timms_absent_weights_name_the_file_and_the_folder(hugging_face: Path) -> None:
    text = refusal(config("timm", "test_vit", pretrained=True))
    for part in ("test_vit", "model.safetensors", "timm/test_vit.r160_in1k", "model.checkpoint"):
        assert part in text
    assert "models--timm--test_vit.r160_in1k" in text
    assert str(hugging_face) in text


def test_a_timm_model_that_has_no_weights_says_so(hugging_face: Path) -> None:
    name = "convnext_atto_rms"
    assert not timm.models.get_pretrained_cfg(name).has_weights
    text = refusal(config("timm", name, pretrained=True))
    assert "no weights" in text
    assert "model.pretrained=false" in text


def test_unreachable_weights_are_one_line_with_file_and_folder_on_the_command_line(
    forked_fvis: Call, tmp_path: Path
) -> None:
    ran = forked_fvis(
        "run", "model=torchvision", "model.name=squeezenet1_1",
        cwd=tmp_path, TORCH_HOME=str(tmp_path / "torch"), https_proxy="http://127.0.0.1:9",
    )  # fmt: skip
    assert ran.returncode == 2
    (line,) = [x for x in ran.stderr.splitlines() if not x.startswith("Downloading: ")]
    assert line.startswith("fvis: error: ")
    assert "squeezenet1_1-b8a52dc0.pth" in line
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in line
    assert ran.stdout == "", "stdout carries results' paths alone"
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_unreachable_hugging_face_weights_are_one_line_too(fvis: Call, tmp_path: Path) -> None:
    home = str(tmp_path / "hf")
    ran = fvis("run", "model=timm", "model.name=test_vit", cwd=tmp_path, HF_HOME=home)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert f"{home}/hub" in ran.stderr
    assert "models--timm--test_vit.r160_in1k" in ran.stderr
    assert ran.stdout == ""
    assert not (tmp_path / "outputs").exists()


def test_a_detector_gets_pictures_as_they_are() -> None:
    """It normalizes them itself."""
    size = load(config("torchvision", "ssdlite320_mobilenet_v3_large")).preprocessing
    assert (size.mean, size.std) == ((0.0,) * 3, (1.0,) * 3)
