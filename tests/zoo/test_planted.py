"""What the planted units promise: each responds most to what the answer key says it does."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from fvis.zoo import NETWORKS, drifts, planted

CONTRAST = 1.6  # of a normalised clip, which spans -2 to 2
FRAME = torch.arange(16).view(-1, 1, 1) - 7.5
AXIS = torch.arange(64) - 31.5
RIGHT, DOWN = AXIS.view(1, 1, -1), AXIS.view(1, -1, 1)


def _clip(phase: Tensor) -> Tensor:
    """A grey normalised clip (1, 3, 16, 64, 64) of a wave's phase (16, 64, 64)."""
    return (CONTRAST * phase.cos()).expand(3, 16, 64, 64).unsqueeze(0)


def _grating(direction_deg: float, speed: float, wavelength: float, phase: float = 0.4) -> Tensor:
    angle = math.radians(direction_deg)
    along = math.cos(angle) * RIGHT - math.sin(angle) * DOWN
    return _clip(2 * math.pi / wavelength * (along - speed * FRAME) + phase)


def _of(unit: planted.EnergyUnit) -> Tensor:
    return _grating(unit.direction_deg, unit.speed, unit.wavelength)


def _outputs(network: planted.PlantedMotion, clips: list[Tensor]) -> Tensor:
    """(clips, units) for clips (1, 3, T, H, W)."""
    with torch.no_grad():
        return torch.cat([network(clip) for clip in clips])


def _rings_of(clip: Tensor, reverse_time: bool = False) -> dict[str, float]:
    network = planted.build(angles_deg=0, reverse_time=reverse_time).eval()
    units = network.key.rings
    values = _outputs(network, [clip])[0, -len(units) :]
    return {unit.name: float(value) for unit, value in zip(units, values, strict=True)}


@pytest.fixture(scope="module")
def network() -> planted.PlantedMotion:
    return planted.build().eval()


@pytest.fixture(scope="module")
def own(network: planted.PlantedMotion) -> Tensor:
    """(units, outputs): what every unit makes of every unit's own grating."""
    return _outputs(network, [_of(unit) for unit in network.key.energy])


def test_every_unit_prefers_its_own_direction_speed_and_wavelength(
    network: planted.PlantedMotion, own: Tensor
) -> None:
    grid = list(product(range(0, 360, 45), (0, 0.5, 1, 1.5, 2), (5, 6, 8, 10, 12)))
    responses = _outputs(network, [_grating(*wave) for wave in grid])
    for index, unit in enumerate(network.key.energy):
        waves = [grid[int(i)] for i in responses[:, index].topk(2).indices]
        best = next(wave for wave in waves if wave[1] > 0 or wave[0] == unit.direction_deg)
        assert best == (unit.direction_deg, unit.speed, unit.wavelength)
        assert float(own[index, index]) > 0.99 * float(responses[:, index].max())


def test_motion_the_opposite_way_is_next_to_nothing(
    network: planted.PlantedMotion, own: Tensor
) -> None:
    for index, unit in enumerate(network.key.energy):
        turned = _grating(unit.direction_deg + 180, unit.speed, unit.wavelength)
        share = float(_outputs(network, [turned])[0, index] / own[index, index])
        assert share < 0.06 if unit.speed > 0 else share > 0.99


def test_the_phase_of_a_wave_does_not_matter(network: planted.PlantedMotion) -> None:
    unit = network.key.energy[1]
    wave = (unit.direction_deg, unit.speed, unit.wavelength)
    responses = _outputs(network, [_grating(*wave, phase) for phase in (0.0, 0.8, 1.6, 2.4)])[:, 1]
    assert float(responses.max() / responses.min()) < 1.01


@pytest.mark.parametrize("seed", range(3))
def test_any_bank_responds_as_its_key_says(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    angles = (360 * torch.rand(3, generator=generator)).tolist()
    speeds = (0.4 + 1.6 * torch.rand(3, generator=generator)).tolist()
    wavelengths = (6 + 6 * torch.rand(3, generator=generator)).tolist()
    network = planted.build(angles, speeds, wavelengths).eval()
    for index, unit in enumerate(network.key.energy[:3]):
        assert (unit.direction_deg, unit.speed) == pytest.approx((angles[index], speeds[index]))
        turns = [float(turn) for turn in range(-30, 31, 5)]
        waves = [_grating(unit.direction_deg + t, unit.speed, unit.wavelength) for t in turns]
        assert turns[int(_outputs(network, waves)[:, index].argmax())] == 0
        steps = [step / 10 for step in range(-4, 5, 1)]
        waves = [_grating(unit.direction_deg, unit.speed + s, unit.wavelength) for s in steps]
        assert abs(steps[int(_outputs(network, waves)[:, index].argmax())]) <= 0.1


def test_a_reversed_bank_prefers_the_opposite_direction() -> None:
    angles = [0.0, 70.0, 200.0]
    network = planted.build(angles, 1.2, 9.0, reverse_time=True).eval()
    assert network.key == planted.answer_key(angles, 1.2, 9.0, reverse_time=True)
    for index, angle in enumerate(angles):
        unit = network.key.energy[index]
        assert unit.direction_deg == (angle + 180) % 360
        forth, back = (_of(unit), _grating(angle, unit.speed, unit.wavelength))
        responses = _outputs(network, [forth, back])[:, index]
        assert float(responses[0]) > 20 * float(responses[1])


def test_the_velocity_points_down_for_what_moves_down() -> None:
    assert planted.EnergyUnit(270.0, 1.5, 8.0).velocity == pytest.approx((0.0, 1.5))
    assert planted.EnergyUnit(0.0, 1.5, 8.0).velocity == pytest.approx((1.5, 0.0))


def _spreading() -> Tensor:
    """Circles that move outwards by a pixel a frame."""
    return _clip(2 * math.pi / 8 * (torch.hypot(RIGHT, DOWN) - FRAME))


def _turning() -> Tensor:
    """Spokes that turn clockwise, by a pixel a frame at a radius of 14 pixels."""
    return _clip(11 * (torch.atan2(DOWN, RIGHT) - FRAME / 14))


@pytest.mark.parametrize("reverse_time", [False, True])
@pytest.mark.parametrize(
    ("clip", "divergence", "curl"),
    [
        (_spreading(), 1, 0),
        (_spreading().flip(2), -1, 0),
        (_turning(), 0, 1),
        (_turning().flip(2), 0, -1),
    ],
)
def test_a_ring_unit_prefers_the_flow_of_its_signs(
    clip: Tensor, divergence: int, curl: int, reverse_time: bool
) -> None:
    key = planted.answer_key(reverse_time=reverse_time).rings
    values = _rings_of(clip, reverse_time)
    (unit,) = (unit for unit in key if (unit.divergence, unit.curl) == (divergence, curl))
    assert max(values, key=lambda name: values[name]) == unit.name
    others = [value for name, value in values.items() if name != unit.name]
    assert max(others) < 0.1 * values[unit.name]
    assert min(others) < -0.9 * values[unit.name]  # the opposite flow speaks against


@pytest.mark.parametrize("label", ["expanding", "contracting", "clockwise", "counterclockwise"])
def test_ring_units_know_drawn_textures_that_move_so(label: str) -> None:
    labels = torch.full((12,), drifts.CLASSES.index(label))
    clips = drifts.draw(labels, torch.Generator().manual_seed(1))
    network = planted.build().eval()
    rings = _outputs(network, [((clips - 0.5) / 0.25)]).mean(0)[-4:]
    assert network.key.rings[int(rings.argmax())].name == label


def test_translation_says_nothing_to_the_rings() -> None:
    strongest = max(map(abs, _rings_of(_grating(0, 1, 8)).values()))
    assert strongest < 0.02 * _rings_of(_spreading())["expanding"]


def test_even_grey_and_flicker_of_the_whole_frame_are_silence(
    network: planted.PlantedMotion,
) -> None:
    grey = torch.zeros(1, 3, 16, 64, 64)
    flicker = grey + torch.randn(1, 1, 16, 1, 1, generator=torch.Generator().manual_seed(0))
    assert float(_outputs(network, [grey, flicker]).abs().max()) < 1e-3


def test_kernels_have_mean_zero_and_norm_one() -> None:
    energy = planted.build().energy
    space = energy.space.weight.view(20, 2, 256).double()
    time = energy.time.weight.view(20, 2, 2, 8).double()
    kernels = torch.einsum("uwst,usp->uwtp", time, space)
    torch.testing.assert_close(kernels.flatten(2).norm(dim=2), torch.ones(20, 2).double())
    assert float(kernels.sum((2, 3)).abs().max()) < 1e-4


def test_ascent_from_faint_noise_finds_the_motion(network: planted.PlantedMotion) -> None:
    clip = 0.05 * torch.randn(1, 3, 16, 64, 64, generator=torch.Generator().manual_seed(2))
    clip.requires_grad_()
    optimizer = torch.optim.Adam([clip], lr=0.05)
    for _ in range(25):
        optimizer.zero_grad()
        (-network(clip)[0, 2]).backward()
        optimizer.step()
    up, down = _outputs(network, [clip.detach()])[0, [2, 6]]
    assert network.key.energy[2].direction_deg == 90
    assert float(up) > 30 * float(down)
    assert float(up) > 20


def test_outputs_are_named_in_order(network: planted.PlantedMotion) -> None:
    key = network.key
    assert network.classes == NETWORKS["planted_motion"].classes == planted.answer_key().classes
    assert len(network.classes) == len(key.energy) + 4 == _outputs(network, [_spreading()]).shape[1]
    assert network.classes[2] == "90 deg at 1 px/frame, 8 px"
    assert network.classes[-4:] == tuple(unit.name for unit in key.rings)


def test_a_bank_gets_the_rings_directions_once() -> None:
    assert len(planted.answer_key(angles_deg=[30, 90], speeds=[1, 1]).energy) == 2 + 7
    assert planted.answer_key(angles_deg=[30]).energy[1:] == planted.RING_BANK


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"angles_deg": [0, 90], "speeds": [1, 1, 1]}, "lists of one length"),
        ({"angles_deg": []}, "angles_deg"),
        ({"angles_deg": "up"}, "angles_deg"),
        ({"angles_deg": float("nan")}, "finite"),
        ({"speeds": -1}, "speeds"),
        ({"speeds": 2.5}, "speeds"),
        ({"wavelengths": 3}, "wavelengths"),
        ({"speeds": 2, "wavelengths": 5}, "5.7 px"),
    ],
)
def test_what_frames_and_pixels_cannot_show_is_refused(
    arguments: dict[str, float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        planted.build(**arguments)
    with pytest.raises(ValueError, match=complaint):
        planted.answer_key(**arguments)
