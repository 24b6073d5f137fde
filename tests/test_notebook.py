"""`fvis.visualize`: what the command makes, for networks in memory, and shown by itself."""

import base64
import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import hydra
import nbformat
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from nbclient import NotebookClient
from PIL import Image
from torch import nn

import fvis
from fvis.errors import RequestError

from .evidence.glyph_runs import draw
from .methods.test_adversarial import run

FEW = {"steps": 8}
CUDA = torch.cuda.is_available()
NOTEBOOK = Path(__file__).parent / "notebooks" / "visualize.ipynb"


class Net(nn.Module):
    """A small network in training mode, with a parameter that is frozen and a hook of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 5, 2)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)
        self.head.bias.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


INPUT = {"height": 24, "width": 20, "mean": [0.5] * 3, "std": [0.25] * 3}


def test_it_is_what_the_command_makes(tmp_path: Path) -> None:
    units = run(tmp_path, "target.units=[3]", "engine.steps=8")
    (shown,) = fvis.visualize("zoo/glyph_cnn", units=[3], engine=FEW)
    (name,) = units
    assert shown.name == name
    assert shown.read("image.png") == (tmp_path / "units" / name / "image.png").read_bytes()
    metadata = json.loads(json.dumps(shown.metadata))
    for key in ("activation", "layer", "unit", "class", "seed", "status"):
        assert metadata[key] == units[name][key]


def test_a_network_of_ones_own_leaves_as_it_came() -> None:
    net = Net().train()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    seen: list[int] = []
    net.conv.register_forward_hook(lambda *_: seen.append(1))
    shown = fvis.visualize(net, "conv", [0, 2], input=INPUT, engine=FEW)
    assert [unit.metadata["unit"] for unit in shown] == [0, 2]
    assert all(
        unit.metadata["activation"]["final"] > unit.metadata["activation"]["initial"]
        for unit in shown
    )
    assert net.training and net.norm.training
    assert net.conv.weight.requires_grad and not net.head.bias.requires_grad
    assert net.conv.weight.grad is None
    assert len(net.conv._forward_hooks) == 1 and seen
    for key, value in net.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    "engine",
    [
        {"channels_last": True},
        pytest.param({"device": "cuda"}, marks=pytest.mark.skipif(not CUDA, reason="no GPU")),
    ],
)
def test_a_network_of_ones_own_stays_where_it_was(engine: dict[str, object]) -> None:
    net = Net()
    net(torch.rand(2, 3, 24, 20)).sum().backward()
    tensors = [*net.parameters(), *net.buffers(), net.conv.weight.grad]
    places = [(tensor.data_ptr(), tensor.stride(), tensor.device) for tensor in tensors]
    fvis.visualize(net, "conv", [0], input=INPUT, engine=FEW | engine)
    after = [*net.parameters(), *net.buffers(), net.conv.weight.grad]
    assert list(map(id, after)) == list(map(id, tensors))
    assert [(tensor.data_ptr(), tensor.stride(), tensor.device) for tensor in after] == places


def test_buffers_that_passes_change_come_back_as_they_were() -> None:
    class Counting(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("passes", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.get_buffer("passes").add_(1)
            return super().forward(x)

    net = Counting()
    passes = net.get_buffer("passes")
    fvis.visualize(net, "conv", [1], input=INPUT, engine=FEW)
    assert net.get_buffer("passes") is passes
    assert passes.item() == 0


def test_a_traced_network_is_visualized() -> None:
    traced = torch.jit.trace(Net().eval(), torch.rand(2, 3, 24, 20))
    (unit,) = fvis.visualize(traced, "logits", [1], input=INPUT, engine=FEW)
    assert unit.metadata["activation"]["final"] > unit.metadata["activation"]["initial"]


def test_a_network_of_ones_own_stays_where_it_was_when_the_run_fails() -> None:
    net = Net()
    tensors = [*net.parameters(), *net.buffers()]
    with pytest.raises((RuntimeError, NotImplementedError)):  # nothing can be read from there
        fvis.visualize(net, "conv", [0], input=INPUT, engine=FEW | {"device": "meta"})
    assert list(map(id, [*net.parameters(), *net.buffers()])) == list(map(id, tensors))
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert torch.isfinite(net(torch.rand(2, 3, 24, 20))).all()


@pytest.mark.parametrize(
    "off", [torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)]
)
def test_gradients_may_be_off(off: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
    net = Net()
    (expected,) = fvis.visualize(net, "conv", [0], input=INPUT, engine=FEW)
    with off():
        (shown,) = fvis.visualize(net, "conv", [0], input=INPUT, engine=FEW)
        assert not torch.is_grad_enabled()
    assert shown.metadata["activation"] == expected.metadata["activation"]


def test_a_network_that_has_never_run_and_has_no_shapes_is_refused() -> None:
    with pytest.raises(RequestError, match="no shape before the network has run once"):
        fvis.visualize(nn.Sequential(nn.LazyConv2d(4, 3)), "0", [0], input=INPUT)


def test_a_network_that_no_gradient_can_pass_is_refused() -> None:
    with torch.inference_mode():
        net = Net()
    with pytest.raises(RequestError, match="inference_mode"):
        fvis.visualize(net, input=INPUT)


def test_a_running_hydra_app_keeps_its_hydra() -> None:
    with hydra.initialize_config_dir(str(Path(__file__).parent), "mine", version_base="1.2"):
        users = GlobalHydra.instance()
        running, version = users.hydra, VersionBase.instance().getbase()
        assert len(fvis.visualize("zoo/glyph_cnn", units=3, engine=FEW)) == 1
        with pytest.raises(RequestError):
            fvis.visualize("zoo/glyph_cnn", transforms="maxmal")
        assert GlobalHydra.instance() is users
        assert users.hydra is running
        assert JobRuntime.instance().get("name") == "mine"
        assert VersionBase.instance().getbase() == version
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    "units",
    [range(1, 3), (1, 2), {1, 2}, np.array([1, 2]), torch.tensor([1, 2]),
     [np.int64(1), torch.tensor(2)], {1: "a", 2: "b"}.keys()],
)  # fmt: skip
def test_units_are_any_whole_numbers(units: object) -> None:
    shown = fvis.visualize("zoo/glyph_cnn", units=units, engine={"steps": np.int64(1)})
    assert [unit.metadata["unit"] for unit in shown] == [1, 2]


def test_settings_are_any_numbers_and_paths(tmp_path: Path) -> None:
    statistics = {"mean": np.full(3, 0.5), "std": torch.full((3,), 0.25), "height": np.int64(24)}
    folder = Path(fvis.__file__).parent / "zoo" / "pictures" / "glyphs"
    (shown,) = fvis.visualize(
        Net(), "conv", np.int64(1), input=INPUT | statistics,
        engine={"steps": 1, "lr": np.float32(0.5), "device": torch.device("cpu")},
        grounding={"images": folder, "cache": tmp_path},
    )  # fmt: skip
    assert "natural.png" in shown.files


def test_classes_name_a_networks_outputs() -> None:
    (shown,) = fvis.visualize(Net(), units=1, input=INPUT, classes=["a", "<b>", "c"], engine=FEW)
    assert shown.metadata["class"] == "<b>"
    assert "&lt;b&gt;" in shown._repr_html_()
    assert "<b>" not in shown._repr_html_()


def test_pictures_show_themselves() -> None:
    units = fvis.visualize("zoo/glyph_cnn", units="0:3", engine=FEW, transforms="maximal")
    assert len(units) == 3 and len(units[1:]) == 2
    png = units[0]._repr_png_()
    assert Image.open(io.BytesIO(png)).size == (64, 64)
    np.testing.assert_array_equal(units[0].image, np.asarray(Image.open(io.BytesIO(png))))
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', units._repr_html_())
    assert [base64.b64decode(source) for source in sources] == [u._repr_png_() for u in units]


def test_a_caption_says_how_far_to_believe_the_picture(tmp_path: Path) -> None:
    photographs = {"images": draw(tmp_path / "glyphs", 24), "cache": str(tmp_path)}
    (unit,) = fvis.visualize("zoo/glyph_cnn", units=[3], engine=FEW, grounding=photographs)
    assert f", {unit.metadata['evidence']['word']}</figcaption>" in unit._repr_html_()


def test_clips_show_themselves_moving() -> None:
    (clip,) = fvis.visualize("zoo/drift_r3d", units=[0], engine={"steps": 2})
    assert clip._repr_png_() is None
    assert 'src="data:image/gif;base64,' in clip._repr_html_()
    assert clip.image.shape == (16, 64, 64, 3)


def test_the_image_is_what_was_scored_whatever_is_displayed() -> None:
    """Of a unit that sees a part, the whole input; of an attack, the adversarial example."""
    (unit,) = fvis.visualize(
        "zoo/glyph_cnn", "layer1", [3], engine=FEW, target={"position": "center"}
    )
    assert unit.shown == "motif.png"
    decoded = Image.open(io.BytesIO(unit.read("image.png")))
    np.testing.assert_array_equal(unit.image, np.asarray(decoded))
    attack = {"name": "adversarial", "images": "zoo:glyphs/03-striped-disc.png", "target": 5}
    (attacked,) = fvis.visualize("zoo/glyph_cnn", method=attack, engine={"steps": 2})
    decoded = Image.open(io.BytesIO(attacked.read("adversarial.png")))
    np.testing.assert_array_equal(attacked.image, np.asarray(decoded))
    assert attacked.metadata["success"] is False
    assert ", no success, activation" in attacked._repr_html_()


def test_a_caricature_is_made_and_called_as_the_command_does() -> None:
    method = {"name": "caricature", "images": "zoo:glyphs/03-striped-disc.png"}
    (shown,) = fvis.visualize("zoo/glyph_cnn", "layer2", method=method, engine=FEW)
    assert (shown.metadata["method"], shown.metadata["objective"]) == ("caricature", "caricature")


def test_what_is_saved_is_what_the_command_writes(tmp_path: Path) -> None:
    units = fvis.visualize("zoo/glyph_vit", "blocks.2", [1, 2], engine=FEW)
    folders = units.save(tmp_path)
    assert [folder.name for folder in folders] == [unit.name for unit in units]
    metadata = json.loads((folders[0] / "metadata.json").read_text())
    assert metadata["files"] == ["image.png"]
    assert (folders[0] / "image.png").read_bytes() == units[0].read("image.png")


def test_a_method_takes_its_settings() -> None:
    method = {"name": "adversarial", "images": "zoo:glyphs", "target": 3, "norm": "none"}
    attacks = fvis.visualize("zoo/glyph_cnn", method=method, engine=FEW)
    assert len(attacks) == 8
    assert attacks[0].shown == "strip.png"
    assert attacks[0].metadata["norm"] == "none"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"model": "resnet50"}, "source/name"),
        ({"model": "zoo/glyph_cnnn"}, "nearest: glyph_cnn"),
        ({"model": "zoo/glyph_cnn", "layer": "layer9"}, "no layer"),
        ({"model": "zoo/glyph_cnn", "units": 99}, "0 to"),
        ({"model": "zoo/glyph_cnn", "engine": {"stepz": 3}}, "nearest: engine.steps"),
        ({"model": "zoo/glyph_cnn", "engine": 3}, "mapping"),
        ({"model": "zoo/glyph_cnn", "input": INPUT}, "network of your own"),
        ({"model": Net()}, "height and width"),
        ({"model": Net(), "input": {"hight": 3}}, "nearest: input.height"),
        ({"model": Net(), "input": 24}, "input as a mapping"),
        ({"model": Net(), "input": INPUT | {"std": [0, 0, 0]}}, "input.std .* must be above 0"),
        ({"model": Net(), "input": INPUT | {"mean": [123, 117, 104]}}, "input.mean .* at most 1"),
        ({"model": Net(), "input": INPUT | {"mean": 0.5}}, "input.mean"),
        ({"model": Net(), "input": INPUT | {"mean": [0.5]}}, "input.mean .* takes .R, G, B."),
        ({"model": Net(), "input": INPUT | {"height": "tall"}}, "input.height"),
        ({"model": Net(), "input": INPUT | {"height": -1}}, "input.height .* at least 1"),
        ({"model": "zoo/glyph_cnn", "transforms": "maxmal"}, "nearest: maximal"),
        ({"model": "zoo/glyph_cnn", "method": "activaton"}, "nearest: .*activation_maximization"),
        ({"model": "zoo/glyph_cnn", "method": {"name": "activaton"}}, "nearest: .*activation_max"),
        ({"model": "zoo/glyph_cnn", "foo": "bar"}, "no config section 'foo'"),
        ({"model": "zoo/glyph_cnn", "foo": {"bar": 1}}, "no config section 'foo'"),
        ({"model": "zoo/glyph_cnn", "experiment": "glyph_cnn_class"}, "nearest: glyph_cnn_class"),
        ({"model": "zoo/glyph_cnn", "units": object()}, "target.*object"),
        ({"model": "zoo/glyph_cnn", "units": range(0)}, "target.units is empty"),
        ({"model": "zoo/glyph_cnn", "engine": {"lr": "${"}}, "engine"),
        ({"model": "zoo/glyph_cnn", "grounding": {"images": 3}}, "no image file at '3'"),
        ({"model": {"source": "zoo", "kwargs": {"width": object()}}}, "model.kwargs.width"),
    ],
)
def test_requests_are_refused_as_the_command_does(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        fvis.visualize(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"layer": "layer1"}, {"units": [1, 2]}])
def test_what_is_given_twice_is_refused(given: dict[str, object]) -> None:
    target = {"layer": "layer2", "units": 3}
    with pytest.raises(RequestError, match="twice: by itself, and in target"):
        fvis.visualize("zoo/glyph_cnn", **given, target=target)
    (shown,) = fvis.visualize("zoo/glyph_cnn", target=target, engine=FEW)
    assert shown.name == "layer2-00003"


def test_a_layer_may_be_a_module_of_the_network() -> None:
    net = Net()
    for layer, paths in ((net.norm, {"norm"}), ([net.norm, "conv"], {"norm", "conv"})):
        shown = fvis.visualize(net, layer, [1], input=INPUT, engine={"steps": 1})
        assert {one.metadata["layer"] for one in shown} == paths
    with pytest.raises(RequestError, match="the BatchNorm2d given is no layer of the network"):
        fvis.visualize(net, Net().norm, input=INPUT)


@pytest.mark.parametrize("name", ["direction", "dictionary"])
def test_arrays_are_read_from_files(name: str) -> None:
    with pytest.raises(RequestError, match=f"target.{name} takes the name of a file"):
        fvis.visualize("zoo/glyph_cnn", "layer2", target={name: np.ones(32)})


def test_a_size_may_be_text_as_on_the_command_line() -> None:
    (shown,) = fvis.visualize(Net(), units=1, input=INPUT | {"height": "32"}, engine=FEW)
    assert shown.image.shape == (32, 20, 3)


def test_an_unknown_file_is_named() -> None:
    (shown,) = fvis.visualize("zoo/glyph_cnn", units=[3], engine={"steps": 1})
    with pytest.raises(KeyError, match=r"image\.png"):
        shown.read("clip.gif")


@pytest.mark.slow
def test_the_example_notebook_runs_and_has_its_pictures() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(book, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    data = [output["data"] for output in outputs if "data" in output]
    pictures = [base64.b64decode(entry["image/png"]) for entry in data if "image/png" in entry]
    assert pictures
    for picture in pictures:
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        assert pixels.std() > 10, "neither grey nor empty"
    shown = "".join(entry.get("text/html", "") for entry in data)
    assert "data:image/png;base64," in shown and "data:image/gif;base64," in shown


def test_a_notebook_takes_no_execution() -> None:
    with pytest.raises(RequestError, match="takes no execution"):
        fvis.visualize("zoo/glyph_cnn", execution="here")
