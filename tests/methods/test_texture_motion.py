"""A 3D unit's motion and texture are found, row by row, and what the files say is true."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fvis.artifacts import write_json
from fvis.errors import RequestError
from fvis.methods import METHODS, Context, Result
from fvis.models import Model, Preprocessing, load
from fvis.optimization import Optimization, run_stage
from fvis.schema import (
    Config,
    EngineConfig,
    FitConfig,
    FourierConfig,
    InputConfig,
    ModelConfig,
    OutputConfig,
    TargetConfig,
    TextureMotionConfig,
    TransformsConfig,
    VelocityConfig,
)
from tests.methods.test_activation_maximization import Net
from tests.motion.reference import moved

SOLVERS = ("factored", "tracking", "joint")
CONTROLS = {
    "reconstruction", "static", "reversed", "mirrored", "shuffled", "retextured", "blank",
    "held", "flicker", "appears",
}  # fmt: skip
FRAMES, SIDE = 6, 24
QUICK = TextureMotionConfig(
    steps=20,
    pilot_steps=3,
    finalists=2,
    rescue=False,
    fit=FitConfig(frame_steps=15, refine_steps=15, joint_steps=60),
)


def context(
    solver: str = "factored", seed: int = 0, frames: int | None = FRAMES, **target: Any
) -> Context:
    """A small random 3D CNN (or CNN), few steps of everything."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Net(2 if frames is None else 3).eval()
    half = (0.5, 0.5, 0.5)
    classes = tuple(f"class {k}" for k in range(6))
    model = Model(module, "net", Preprocessing(SIDE, SIDE, frames, half, half), classes, "", "")
    config = Config(
        ModelConfig(),
        TargetConfig(**target),
        dataclasses.replace(QUICK, solver=solver),
        FourierConfig(decay=1.3, blur=1.0),
        TransformsConfig(crop=[0.75, 1.0], rotate=5, noise=0.05, time_shift=1.0),
        EngineConfig(steps=20, seed=seed),
        OutputConfig(mp4=False),
    )
    return Context(config, model, torch.device("cpu"))


def solve(given: Context) -> list[Result]:
    method = METHODS["texture_motion"](given)
    jobs = [job for group in method.groups for job in group]
    return method.solve(jobs, run_stage)


def numbers(result: Result, folder: Path) -> dict[str, NDArray[np.float32]]:
    path = folder / f"{result.name}.npz"
    result.files["flow.npz"](path)
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("solver", SOLVERS)
def test_metadata_says_what_the_contract_asks_and_what_the_network_says(
    solver: str, tmp_path: Path
) -> None:
    given = context(solver, units=[0, 3])
    for result in solve(given):
        found = result.metadata
        assert found["solver"] == solver
        assert found["activation"]["final"] > found["activation"]["initial"]
        flow = numbers(result, tmp_path)
        with torch.no_grad():
            clip = torch.from_numpy(flow["optimal"])[None]
            output = given.model.module(given.model.preprocessing.normalise(clip))[0]
        final = found["activation"]["final"]
        assert output[found["unit"]].item() == pytest.approx(final, rel=1e-4, abs=1e-4)
        assert set(found["activations"]) == CONTROLS | {"optimal"}
        kept = found["activations"]
        assert max(kept["optimal"], kept["reconstruction"]) == 1, "shares of the better one"
        assert set(found["motion"]) == {
            "velocity", "normal_velocity", "speed", "direction_deg", "confidence", "axis_deg",
            "divergence", "curl", "kind",
        }  # fmt: skip
        motion = found["motion"]
        assert len(motion["velocity"]) == len(motion["normal_velocity"]) == 2
        seen = "velocity" if motion["axis_deg"] is None else "normal_velocity"
        assert math.hypot(*motion[seen]) <= motion["speed"] * 1.1
        for index in (found["motion_index"], found["texture_index"]):
            excites = kept["reconstruction"] > 0  # more than grey
            assert 0 <= index <= 1 if excites else math.isnan(index)
        write_json(tmp_path / "metadata.json", found)
        assert '"normal_velocity"' in (tmp_path / "metadata.json").read_text()


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_controls_are_shares_of_the_better_ones_activation(solver: str, tmp_path: Path) -> None:
    given = context(solver, units=3)
    (result,) = solve(given)
    flow = numbers(result, tmp_path)
    optimal = torch.from_numpy(flow["optimal"])
    metadata = result.metadata
    seen = rendered(flow)
    error = (seen - optimal).square().mean().sqrt().item()
    assert metadata["reconstruction_error"] == pytest.approx(error, abs=1e-3)
    versions = {
        "optimal": optimal,
        "reconstruction": seen,
        "static": seen[:, FRAMES // 2, None].expand_as(seen),
        "held": optimal[:, FRAMES // 2, None].expand_as(seen),
        "reversed": seen.flip(1),
        "mirrored": seen.flip(3),
        "grey": torch.full_like(seen, 0.5),
    }
    with torch.no_grad():
        clips = given.model.preprocessing.normalise(torch.stack(list(versions.values())))
        logits = given.model.module(clips)
    grey = logits[-1, 3]
    assert metadata["grey"] == pytest.approx(grey.item(), abs=1e-4)
    reference = logits[:2, 3].max() - grey
    for name, row in zip([*versions][:-1], logits[:-1], strict=True):
        fraction = ((row[3] - grey) / reference).item()
        assert metadata["activations"][name] == pytest.approx(fraction, abs=2e-3)
        assert metadata["becomes"][name] == f"class {row.argmax()}"
    assert set(metadata["becomes"]) == CONTROLS | {"optimal"}


def rendered(flow: dict[str, NDArray[np.float32]]) -> torch.Tensor:
    """The reconstruction (3, T, H, W), made again from flow.npz."""
    keys = ("texture", "displacement", "offset")
    return torch.from_numpy(moved(*(torch.from_numpy(flow[key]) for key in keys))).float()


def test_a_bias_changes_nothing_that_is_told_of_a_unit() -> None:
    plain, biased = context("tracking", units=3), context("tracking", units=3)
    with torch.no_grad():
        biased.model.module.head.bias[3] -= 100
    (one,), (other,) = solve(plain), solve(biased)
    assert other.metadata["activation"]["final"] < 0
    assert other.metadata["motion"]["kind"] == one.metadata["motion"]["kind"]
    assert other.metadata["motion_index"] == pytest.approx(one.metadata["motion_index"], abs=1e-2)


def test_fractions_of_a_response_that_is_none_are_no_numbers() -> None:
    given = context("tracking", units=3)
    with torch.no_grad():
        given.model.module.head.weight[3] = 0
    (result,) = solve(given)
    assert all(math.isnan(value) for value in result.metadata["activations"].values())
    assert math.isnan(result.metadata["motion_index"])
    assert math.isfinite(result.metadata["motion"]["speed"])


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_unit_that_is_never_finite_is_dead_and_ends_nothing(solver: str) -> None:
    given = context(solver, units=[0, 3])
    with torch.no_grad():
        given.model.module.head.bias[0] = -torch.inf
    masked, plain = (result.metadata for result in solve(given))
    assert masked["status"] == "dead"
    assert plain["status"] == "ok"
    assert math.isfinite(plain["motion"]["speed"])


def test_a_unit_that_a_moving_texture_wakes_is_not_dead() -> None:
    given = context("factored", units=3)
    given.config.engine = dataclasses.replace(given.config.engine, lr=5e-5)  # the clip stays grey
    given.config.method.lr_scale = 1000
    (result,) = solve(given)
    assert result.metadata["activations"]["reconstruction"] == 1
    assert result.metadata["status"] == "rescued"


def test_what_it_becomes_is_told_of_logits_alone() -> None:
    (hidden,) = solve(context(layer="conv", units=4))
    assert "becomes" not in hidden.metadata
    (logit,) = solve(context(units=4))
    assert "becomes" in logit.metadata


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_unit_alone_and_in_a_batch_agree(solver: str) -> None:
    together = {r.name: r.metadata for r in solve(context(solver, units=[0, 3, 4]))}
    for unit in (0, 4):
        (alone,) = solve(context(solver, units=unit))
        mate = together[alone.name]
        final = mate["activation"]["final"]
        assert alone.metadata["activation"]["final"] == pytest.approx(final, rel=0.02)
        for name, value in mate["activations"].items():
            assert alone.metadata["activations"][name] == pytest.approx(value, rel=0.05, abs=0.02)
        velocity = mate["motion"]["velocity"]
        assert alone.metadata["motion"]["velocity"] == pytest.approx(velocity, abs=0.05)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_seed_gives_the_same_numbers_and_another_gives_others(
    solver: str, tmp_path: Path
) -> None:
    first, again, other = (
        numbers(solve(context(solver, units=4, seed=seed))[0], tmp_path) for seed in (3, 3, 4)
    )
    for key, value in first.items():
        assert np.array_equal(value, again[key])
    for key in ("optimal", "texture", "displacement"):
        assert not (
            other[key].shape == first[key].shape and np.allclose(other[key], first[key], atol=1e-3)
        )


def test_global_random_state_is_neither_used_nor_changed() -> None:
    given = context(units=4)
    found = []
    for seed in (7, 8):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(solve(given)[0].metadata["activations"])
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_model_comes_back_as_it_was(solver: str) -> None:
    given = context(solver, layer="relu", units=[0, 3])
    module = given.model.module
    before = {key: value.clone() for key, value in module.state_dict().items()}
    solve(given)
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert not any(part._forward_hooks for part in module.modules())


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_step_of_every_stage_moves_the_progress_bar(solver: str) -> None:
    method = METHODS["texture_motion"](context(solver, units=4))
    seen: list[str] = []

    def run(stage: str, optimization: Optimization) -> None:
        optimization.run(lambda _: seen.append(stage))

    method.solve(method.groups[0], run)
    assert len(seen) == method.steps
    assert seen[0] == "optimal" and len(set(seen)) > 1


def test_a_network_of_images_is_refused() -> None:
    with pytest.raises(RequestError, match="net takes images"):
        METHODS["texture_motion"](context(frames=None, units=0))
    with pytest.raises(RequestError, match="2 frames or more, not 1"):
        METHODS["texture_motion"](context(frames=1, units=0))


def test_frames_too_small_to_show_motion_are_refused() -> None:
    given = context(units=0)
    small = dataclasses.replace(given.model.preprocessing, height=4)
    model = dataclasses.replace(given.model, preprocessing=small)
    with pytest.raises(RequestError, match="frames of 5 px or more, not 4x24"):
        METHODS["texture_motion"](dataclasses.replace(given, model=model))


def test_more_terms_than_a_frame_has_pixels_are_refused() -> None:
    given = context(units=0)
    method = dataclasses.replace(QUICK, velocity=VelocityConfig(terms=SIDE + 1))
    config = dataclasses.replace(given.config, method=method)
    with pytest.raises(RequestError, match=r"terms=25 must be at most 24: frames of 24x24 px"):
        METHODS["texture_motion"](dataclasses.replace(given, config=config))


# Units of planted_motion: directions off every axis, and one that wants what stands still.
PLANTED = {
    "angles_deg": [30.0, 160.0, 330.0, 75.0],
    "speeds": [1.0, 1.5, 2.0, 0.0],
    "wavelengths": [8.0, 9.0, 10.0, 8.0],
}


def planted(units: Any, reverse_time: bool = False) -> tuple[Context, list[dict[str, Any]]]:
    """A third of the config's steps on smaller frames: half a minute instead of five."""
    kwargs = PLANTED | {"reverse_time": reverse_time}
    network = ModelConfig(
        name="planted_motion", kwargs=kwargs, input=InputConfig(height=52, width=52)
    )
    config = Config(
        network,
        TargetConfig(layer="energy", position="center", units=units),
        # As in experiment=planted_motion_energy: nothing but decay stops motion along the crests.
        TextureMotionConfig(
            steps=100, pilot_steps=12, finalists=2, velocity=VelocityConfig(weight_decay=0.2)
        ),
        FourierConfig(decay=1.3, blur=1.0),
        TransformsConfig(),
        EngineConfig(steps=60),
        OutputConfig(mp4=False),
    )
    given = Context(config, load(network), torch.device("cpu"))
    return given, [result.metadata for result in solve(given)]


@functools.cache
def all_planted() -> tuple[Context, list[dict[str, Any]]]:
    return planted([0, 2, 3])


SLACK = 20  # degrees that motion along the crests may still turn a direction after so few steps


def degrees_apart(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


@pytest.mark.slow
@pytest.mark.parametrize(("row", "unit"), [(0, 0), (1, 2)])
def test_a_planted_units_motion_is_found(row: int, unit: int) -> None:
    given, found = all_planted()
    truth, motion = given.model.module.key.energy[unit], found[row]["motion"]
    assert truth.direction_deg == PLANTED["angles_deg"][unit]
    assert degrees_apart(motion["direction_deg"], truth.direction_deg) < SLACK
    # The unit is blind to motion along its crests: across them the speed is the planted one.
    across = sum(a * b for a, b in zip(motion["velocity"], truth.velocity, strict=True))
    assert across / truth.speed == pytest.approx(truth.speed, rel=0.1)
    assert motion["kind"] == "moving"
    activations = found[row]["activations"]
    assert activations["reconstruction"] >= 0.9
    for name in ("reversed", "mirrored", "retextured"):
        assert activations[name] < 0.5 * activations["reconstruction"], name


class UpwardsEverywhere(nn.Module):
    """The mean over a clip of the energy of a wave of 9 px that drifts up by 2 px/frame."""

    def __init__(self) -> None:
        super().__init__()
        time, y = torch.arange(5.0)[:, None, None] - 2, torch.arange(7.0)[:, None] - 3
        x = torch.arange(7.0) - 3
        window = torch.exp(-(x**2 + y**2) / 8 - time**2 / 5)
        phase = 2 * math.pi / 9 * (-y - 2 * time) + 0 * x
        waves = [window * (wave - (window * wave).sum() / window.sum())
                 for wave in (phase.cos(), phase.sin())]  # fmt: skip
        self.register_buffer("waves", torch.stack([wave / wave.norm() for wave in waves])[:, None])

    def forward(self, rgb: Tensor) -> Tensor:
        grey = functional.pad(rgb.mean(1, keepdim=True), (3, 3, 3, 3, 2, 2))
        squares = functional.conv3d(grey, self.waves, stride=(1, 2, 2)).square().sum(1)
        return squares.add(0.01).sqrt().mean((1, 2, 3))[:, None]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_speed_is_found_where_a_coarse_fast_texture_is_nearly_as_good(seed: int) -> None:
    given = context(seed=seed, units=0)
    shape = Preprocessing(32, 32, 8, (0.5,) * 3, (0.25,) * 3)
    given = dataclasses.replace(
        given, model=Model(UpwardsEverywhere().eval(), "up", shape, None, "", "")
    )
    given.config.method = TextureMotionConfig(steps=80, pilot_steps=8, finalists=2)
    given.config.parametrization, given.config.transforms = FourierConfig(), TransformsConfig()
    (result,) = solve(given)
    motion = result.metadata["motion"]
    assert motion["speed"] == pytest.approx(2, rel=0.1)
    assert degrees_apart(motion["direction_deg"], 90) < 6


@pytest.mark.slow
def test_a_planted_unit_that_wants_stillness_gets_it() -> None:
    _, found = all_planted()
    still = found[2]
    assert math.hypot(*still["motion"]["normal_velocity"]) < 0.05
    assert math.hypot(*still["motion"]["velocity"]) < 0.1  # along its crests, where none sees it
    assert still["motion"]["direction_deg"] is None
    assert still["activations"]["reconstruction"] >= 0.9
    assert still["activations"]["static"] >= 0.9
    assert still["motion_index"] < 0.05 < 0.5 < still["texture_index"]


@pytest.mark.slow
def test_kernels_that_run_backwards_in_time_turn_the_motion_around() -> None:
    _, (found,) = planted(1, reverse_time=True)
    opposite = PLANTED["angles_deg"][1] + 180
    assert degrees_apart(found["motion"]["direction_deg"], opposite) < SLACK
