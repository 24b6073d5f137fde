"""Units, positions, directions and joint targets are read where they say."""

import dataclasses
import pickle
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fvis.errors import RequestError
from fvis.grammar import parse_position
from fvis.models import Model, Preprocessing
from fvis.models.layers import Layer
from fvis.objectives import resolve
from fvis.objectives.positions import PositionReader, token_grid
from fvis.objectives.targets import dictionary_of
from fvis.rescue import spread
from fvis.schema import TargetConfig
from tests.test_capture import PLAIN, model_of

IMAGE = Layer("l", "Conv2d", (1, 5, 4, 6), "BCHW", 0, 1)
LAST = Layer("l", "Linear", (1, 4, 6, 5), "BHWC", 0, 1)
CLIP = Layer("l", "Conv3d", (1, 5, 3, 4, 6), "BCTHW", 0, 1)
TOKENS = Layer("l", "Linear", (1, 1 + 12, 5), "BNC", 1, 1)


def net() -> Model:
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip
    return model_of(module)


@pytest.mark.parametrize("layer", [IMAGE, LAST, CLIP])
def test_mean_and_index_follow_the_channel_axis(layer: Layer) -> None:
    output = torch.rand(2, *layer.shape[1:])
    channels_first = output.movedim(layer.channel_dim or 0, 1)
    torch.testing.assert_close(
        PositionReader(layer, "mean")(output), channels_first.flatten(2).mean(2)
    )
    index = tuple(n - 1 for n in channels_first.shape[2:])
    expected = channels_first.flatten(2)[:, :, -1]
    torch.testing.assert_close(PositionReader(layer, "index", index)(output), expected)


def test_tokens_are_positions_and_the_class_token_is_no_patch() -> None:
    output = torch.rand(2, 13, 5)
    torch.testing.assert_close(PositionReader(TOKENS, "mean")(output), output[:, 1:].mean(1))
    torch.testing.assert_close(PositionReader(TOKENS, "cls")(output), output[:, 0])
    torch.testing.assert_close(PositionReader(TOKENS, "index", (0,))(output), output[:, 1])


def test_center_is_the_middle_row_and_column() -> None:
    targets = resolve(TargetConfig(layer="0", units=[1], position="center"), net(), 0)
    output = torch.rand(1, 6, 32, 32)
    objective = targets.objective(targets.targets, torch.device("cpu"))
    assert objective.scores([output]) == output[0, 1, 16, 16]


def test_a_tokens_grid_has_the_pictures_aspect() -> None:
    timm = pytest.importorskip("timm")
    module = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=(64, 128), num_classes=0)
    model = model_of(module, Preprocessing(64, 128, None, (0.5,) * 3, (0.5,) * 3))
    target = TargetConfig(layer="blocks.0", units=[0], position=[3, 7])
    assert resolve(target, model, 0).readers[0].index == (3 * 8 + 7,)
    with pytest.raises(RequestError, match=r"positions \[4, 8\]"):
        resolve(TargetConfig(layer="blocks.0", units=[0], position=[4, 0]), model, 0)


def test_each_row_is_scored_by_its_own_unit() -> None:
    targets = resolve(TargetConfig(layer="logits", units=[3, 1]), net(), 0)
    output = torch.rand(2, 4)
    objective = targets.objective(targets.targets, torch.device("cpu"))
    assert objective.scores([output]).tolist() == [output[0, 3], output[1, 1]]


def test_a_masked_unit_leaves_the_others_their_scores() -> None:
    targets = resolve(TargetConfig(layer="logits", units=[3, 1]), net(), 0)
    output = torch.tensor([[-torch.inf, 1.0, 3.0, 5.0]]).repeat(2, 1).requires_grad_(True)
    objective = targets.objective(targets.targets, torch.device("cpu"))
    scores = objective.scores([output])
    assert scores.tolist() == [5, 1]
    (gradient,) = torch.autograd.grad(scores.sum(), output)
    assert gradient.tolist() == [[0, 0, 0, 1], [0, 1, 0, 0]]
    expected = torch.tensor([1.0, 3.0, 5.0]).std(correction=0)
    torch.testing.assert_close(spread(objective, [output]), expected.repeat(2))


def test_a_joint_target_is_the_weighted_sum_over_layers() -> None:
    joint = [{"unit": 2, "weight": 2.0}, {"layer": "0", "unit": 5, "weight": -0.5}]
    targets = resolve(TargetConfig(layer="logits", joint=joint), net(), 0)
    logits, conv = torch.rand(1, 4), torch.rand(1, 6, 32, 32)
    objective = targets.objective(targets.targets, torch.device("cpu"))
    expected = 2 * logits[0, 2] - 0.5 * conv[0, 5].mean()
    torch.testing.assert_close(objective.scores([logits, conv]), expected[None])
    assert targets.targets[0].name == "logits-joint"


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".safetensors"])
def test_a_direction_is_a_unit_length_projection(tmp_path: Path, suffix: str) -> None:
    vector = torch.tensor([3.0, 0.0, 4.0, 0.0])
    path = tmp_path / f"happy{suffix}"
    if suffix == ".npy":
        np.save(path, vector.numpy())
    elif suffix == ".pt":
        torch.save(vector, path)
    else:
        save_file({"v": vector}, path)
    targets = resolve(TargetConfig(layer="logits", direction=str(path)), net(), 0)
    output = torch.rand(1, 4)
    objective = targets.objective(targets.targets, torch.device("cpu"))
    expected = output @ torch.tensor([0.6, 0.0, 0.8, 0.0])
    torch.testing.assert_close(objective.scores([output]), expected)
    assert targets.targets[0].name == "logits-direction-happy"


def test_repeats_share_a_group_and_differ_in_name() -> None:
    targets = resolve(TargetConfig(units=[0, 2], repeats=2), net(), 0).targets
    assert [t.name for t in targets] == [
        "logits-00000-r0", "logits-00000-r1", "logits-00002-r0", "logits-00002-r1",
    ]  # fmt: skip
    assert [t.group for t in targets] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (TargetConfig(layer="conv"), "no layer 'conv'"),
        (TargetConfig(units=4), "units 0 to 3"),
        (TargetConfig(units="random:9"), "has 4 units"),
        (TargetConfig(units=[]), "empty"),
        (TargetConfig(units="x"), "takes 3"),
        (TargetConfig(position="cls"), "no class token"),
        (TargetConfig(position="center"), "no positions"),
        (TargetConfig(position="top"), "takes mean"),
        (TargetConfig(layer="0", position=[40, 0]), r"positions \[32, 32\]"),
        (TargetConfig(layer="0", position=[1]), r"positions \[32, 32\]"),
        (TargetConfig(joint=[{"unit": 9}]), "units 0 to 3"),
        (TargetConfig(joint=[{"units": 1}]), "each term takes"),
        (TargetConfig(joint=[{"unit": True}]), "each term takes"),
        (TargetConfig(joint=[]), "empty"),
        (TargetConfig(joint=[{"unit": 1}, {"unit": 1, "weight": -1.0}]), "weights that cancel"),
        (TargetConfig(joint=[{"unit": 1, "weight": float("nan")}]), "finite number"),
        (TargetConfig(joint=[{"unit": 1, "weight": float("inf")}]), "finite number"),
        (TargetConfig(joint=[{"unit": 1, "weight": "much"}]), "finite number"),
        (TargetConfig(joint=[{"unit": 1, "weight": 0}]), "no weight other than zero"),
        (TargetConfig(joint={}), "empty"),
        (TargetConfig(joint={"a": 3}), "takes a list of terms"),
        (TargetConfig(joint={"a/": [{"unit": 1}], "a?": [{"unit": 2}]}), "both give the directory"),
        (TargetConfig(joint=[{"unit": 1}], grid=[1, 2]), "exclude each other"),
        (TargetConfig(grid=[1]), "two units"),
        (TargetConfig(grid=[1, 1]), "two units"),
        (TargetConfig(grid=[1, 9]), "units 0 to 3"),
        (TargetConfig(direction="absent.npy"), "no file"),
        (TargetConfig(channel_dim=7), "axes 1 to 1"),
        (TargetConfig(output="abc"), "layer logits returns a single tensor"),
        (TargetConfig(layer="0", prefix_tokens=1), "0 has no tokens"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(target: TargetConfig, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        resolve(target, net(), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1e-200, 1e-25, 1e25, 1e200])
def test_a_direction_may_be_of_any_length(tmp_path: Path, scale: float) -> None:
    np.save(tmp_path / "v.npy", scale * np.array([3.0, 0.0, -4.0, 0.0]))
    (target,) = resolve(TargetConfig(direction=str(tmp_path / "v.npy")), net(), 0).targets
    assert target.weights is not None
    torch.testing.assert_close(target.weights[0], torch.tensor([0.6, 0.0, -0.8, 0.0]))


def test_a_direction_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones(3, np.float32))
    with pytest.raises(RequestError, match="takes vectors of 4"):
        resolve(TargetConfig(direction=str(tmp_path / "v.npy")), net(), 0)


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_a_direction_that_is_a_pickle_is_refused_without_advice(
    tmp_path: Path, suffix: str
) -> None:
    """The libraries' own texts recommend to run its code."""
    path = tmp_path / f"v{suffix}"
    path.write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(RequestError, match="could run code") as caught:
        resolve(TargetConfig(direction=str(path)), net(), 0)
    assert not re.search("weights_only|allow_pickle|trust", str(caught.value))


@pytest.mark.parametrize(
    "odd",
    [
        torch.ones(4).to("meta"),
        torch.ones(4).to_sparse(),
        torch.ones(1).expand(10**11),
        torch.ones(4).to(torch.complex64),
        {"a": torch.ones(4)},
    ],
    ids=["meta", "sparse", "huge", "complex", "mapping"],
)
def test_a_direction_of_an_odd_kind_is_refused(tmp_path: Path, odd: object) -> None:
    torch.save(odd, tmp_path / "v.pt")
    with pytest.raises(RequestError) as caught:
        resolve(TargetConfig(direction=str(tmp_path / "v.pt")), net(), 0)
    assert "\n" not in str(caught.value)


def test_random_units_depend_on_the_seed_alone() -> None:
    def drawn(seed: int) -> list[int | str]:
        model = model_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64)), PLAIN)
        return [t.unit for t in resolve(TargetConfig(units="random:8"), model, seed).targets]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (196, (224, 224), [14, 14]),
        (60, (96, 160), [6, 10]),
        (84, (224, 100), [14, 6]),  # patches of 16 px, the rest cut off
        (98, (224, 100), [14, 7]),  # and padded
        (12, (224, 224), None),
        (56, (224, 224), None),
        (7, (224, 224), None),
    ],
)
def test_tokens_are_a_grid_of_square_patches(
    tokens: int, size: tuple[int, int], grid: list[int] | None
) -> None:
    shape = Preprocessing(*size, None, (0.0,) * 3, (1.0,) * 3)
    model = dataclasses.replace(net(), preprocessing=shape)
    layer = Layer("blocks.0", "Block", (1, tokens, 8), "BNC", 0, 1)
    if grid is not None:
        assert token_grid(layer, tokens, model) == grid
        return
    with pytest.raises(RequestError, match=f"the {tokens} tokens .* no known grid"):
        token_grid(layer, tokens, model)


def test_tokens_in_another_order_have_no_rows_and_columns() -> None:
    hiera = timm.create_model("hiera_tiny_224", embed_dim=8, stages=(1, 1, 1, 1)).eval()
    model = model_of(hiera, Preprocessing(224, 224, None, (0.0,) * 3, (1.0,) * 3))
    for position in ("center", [3, 4]):
        with pytest.raises(RequestError, match="do not lie as the picture's rows"):
            resolve(TargetConfig(layer="blocks.1", position=position), model, 0)
    for position in ("mean", [100]):
        resolve(TargetConfig(layer="blocks.1", position=position), model, 0)


@pytest.mark.parametrize("resolves", [lambda c, m: resolve(c, m, 0), dictionary_of])
def test_several_layers_are_refused_where_one_is_read(resolves: Callable[..., object]) -> None:
    with pytest.raises(RequestError, match="no single layer"):
        resolves(TargetConfig(layer=["0", "1"], units=[1]), net())


def test_an_index_given_alone_is_a_position() -> None:
    assert parse_position([2, 3]) == ("index", (2, 3))
    assert parse_position(5) == ("index", (5,))


def test_all_units_of_a_large_head_take_little_memory() -> None:
    head = model_of(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 21_843)))
    tracemalloc.start()
    targets = resolve(TargetConfig(units="all"), head, 0)
    batch = targets.groups[5:69]
    objective = targets.objective([t for group in batch for t in group], torch.device("cpu"))
    tensors = sum(t.nbytes for t in vars(objective).values() if isinstance(t, torch.Tensor))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(targets.targets) == 21_843
    assert peak + tensors < 100e6
    output = torch.rand(64, 21_843)
    torch.testing.assert_close(objective.scores([output]), output[range(64), range(5, 69)])


def test_nothing_to_look_at_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", np.ones((0, 4), np.float32))
    with pytest.raises(RequestError, match="holds no vector"):
        resolve(TargetConfig(direction=str(tmp_path / "none.npy")), net(), 0)
    empty = model_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 0)))
    with pytest.raises(RequestError, match="has no units"):
        resolve(TargetConfig(), empty, 0)


def test_a_file_of_several_vectors_is_as_many_directions_each_of_unit_length(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "two.npy", np.array([[3, 0, 4, 0], [0, 12, 0, -5]], np.float32))
    targets = resolve(TargetConfig(direction=str(tmp_path / "two.npy")), net(), 0)
    assert [t.name for t in targets.targets] == [
        "logits-direction-two-0", "logits-direction-two-1",
    ]  # fmt: skip
    output = torch.rand(2, 4)
    objective = targets.objective(targets.targets, torch.device("cpu"))
    unit = torch.tensor([[0.6, 0.0, 0.8, 0.0], [0.0, 12 / 13, 0.0, -5 / 13]])
    torch.testing.assert_close(objective.scores([output]), (unit * output).sum(1))


def test_the_weights_of_a_unit_that_is_named_twice_add_up() -> None:
    joint = [{"unit": 2, "weight": 2.0}, {"unit": 2, "weight": 0.5}, {"unit": 1}]
    targets = resolve(TargetConfig(layer="logits", joint=joint), net(), 0)
    output = torch.rand(1, 4)
    objective = targets.objective(targets.targets, torch.device("cpu"))
    torch.testing.assert_close(objective.scores([output]), 2.5 * output[:, 2] + output[:, 1])


def test_every_prefix_token_is_left_out_of_the_patches() -> None:
    layer = Layer("l", "Linear", (1, 3 + 12, 5), "BNC", 3, 1)
    output = torch.rand(2, 15, 5)
    torch.testing.assert_close(PositionReader(layer, "mean")(output), output[:, 3:].mean(1))
    torch.testing.assert_close(PositionReader(layer, "index", (4,))(output), output[:, 7])


class Tokens(nn.Module):
    """Sixteen patch tokens, in rows, of six units."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 8, 8)
        self.norm = nn.LayerNorm(6)

    def forward(self, rgb: Tensor) -> Tensor:
        return self.norm(self.conv(rgb).flatten(2).transpose(1, 2)).mean(1)


def test_prefix_tokens_leave_others() -> None:
    with pytest.raises(RequestError, match="prefix_tokens is 16; norm has 16 tokens"):
        resolve(TargetConfig(layer="norm", prefix_tokens=16), model_of(Tokens().eval()), 0)


def test_how_many_tokens_are_no_patches_may_be_said_in_the_config() -> None:
    output = torch.rand(1, 16, 6)
    for prefix, kept in ((None, output), (4, output[:, 4:]), (0, output)):
        config = TargetConfig(layer="norm", units=[2], prefix_tokens=prefix)
        targets = resolve(config, model_of(Tokens().eval()), 0)
        objective = targets.objective(targets.targets, torch.device("cpu"))
        torch.testing.assert_close(objective.scores([output]), kept[..., 2].mean(1))


def test_joint_targets_by_name_are_pictures_of_their_own() -> None:
    joint = {"sum": [{"unit": 0}, {"unit": 1}], "less": [{"unit": 0}, {"unit": 1, "weight": -1}]}
    targets = resolve(TargetConfig(layer="logits", joint=joint), net(), 0).targets
    assert [target.name for target in targets] == ["logits-sum", "logits-less"]
    assert [target.weights[0].tolist() for target in targets if target.weights] == [
        [1, 1, 0, 0],
        [1, -1, 0, 0],
    ]


def test_a_grid_has_every_pair_of_weights_but_zero_and_zero() -> None:
    config = TargetConfig(layer="logits", grid=[3, 1], grid_steps=5)
    targets = resolve(config, net(), 0).targets
    weights = {target.weights[0][[3, 1]].numpy().tobytes() for target in targets if target.weights}
    assert len(targets) == len(weights) == 24
    assert targets[0].name == "logits-3x-1_1x-1"
    assert targets[-1].name == "logits-3x1_1x1"
    assert {"logits-3x0_1x0.5", "logits-3x-0.5_1x0"} <= {target.name for target in targets}
    assert all((target.weights[0][[0, 2]] == 0).all() for target in targets if target.weights)
