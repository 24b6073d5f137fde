"""The figure of a unit says what its numbers say, whatever the numbers are."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib._pylab_helpers import Gcf
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image
from torch import Tensor

from fvis.motion import summary
from fvis.motion.summary import Summary, draw_tuning, write_summary
from fvis.record.motion import TuningRecord

ACTIVATIONS = {
    "reconstruction": 0.97,
    "static": 0.2,
    "reversed": -0.1,
    "mirrored": 0.1,
    "shuffled": 0.3,
    "retextured": 0.7,
}


def uniform(x: float, y: float, frames: int = 5, h: int = 24, w: int = 32) -> Tensor:
    return torch.tensor([x, y]).view(2, 1, 1, 1).expand(2, frames, h, w).clone()


def unit(velocity: Tensor, **changes: object) -> Summary:
    _, intervals, h, w = velocity.shape
    generator = torch.Generator().manual_seed(0)
    whole = Summary(
        title="r3d_18 layer3 unit 7",
        texture=torch.rand(3, h + 8, w + 8, generator=generator),
        offset=torch.tensor([4.0, 4.0]),
        velocity=velocity,
        weight=torch.ones(intervals, h, w),
        frames=torch.rand(3, intervals + 1, h, w, generator=generator),
        activations=ACTIVATIONS,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def drawn(velocity: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Velocity and weight as the panels get them."""
    weight = torch.ones(velocity.shape[1:]) if weight is None else weight
    return summary.finite(velocity), summary.positive(weight)


def test_the_file_is_a_png_of_the_size_of_a_page(tmp_path: Path) -> None:
    path = tmp_path / "unit" / "summary.png"
    write_summary(path, unit(uniform(1.0, 0.5)))
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.size == (1440, 1000)
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert "Software" not in image.info
        pixels = np.asarray(image.convert("RGB")).astype(float)
    assert 0.3 < (pixels.min(2) > 250).mean() < 0.95, "pictures on white"
    assert [file.name for file in path.parent.iterdir()] == ["summary.png"]


def test_arrows_point_where_the_texture_moves() -> None:
    places, arrows = summary.mean_flow(*drawn(uniform(1.5, -0.5)))
    assert len(places) == len(arrows) == 6 * 8
    np.testing.assert_allclose(arrows, np.tile([1.5, -0.5], (48, 1)), atol=1e-6)
    np.testing.assert_allclose(places.mean(0), [(32 - 1) / 2, (24 - 1) / 2])
    np.testing.assert_allclose(places[0], [1.5, 1.5])


def test_arrows_of_an_expansion_point_outward() -> None:
    y, x = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(40) - 19.5, indexing="ij")
    velocity = torch.stack([x, y])[:, None].expand(2, 3, 40, 40) * 0.1
    places, arrows = summary.mean_flow(*drawn(velocity))
    np.testing.assert_allclose(arrows, (places - 19.5) * 0.1, atol=1e-5)


def test_arrows_on_the_figure_go_up_when_the_motion_does() -> None:
    """Drawn on a picture whose y grows downward, upward motion is up and one cell long."""
    figure, axes = canvas()
    velocity, weight = drawn(uniform(0.0, -3.0, h=32, w=32))
    summary.draw_texture(axes, torch.zeros(3, 48, 48), torch.tensor([8.0, 8.0]), velocity, weight)
    figure.canvas.draw()
    (quiver,) = (item for item in axes.collections if hasattr(item, "U"))
    tip = quiver._make_verts(quiver.XY, quiver.U, quiver.V, quiver.angles)[0]
    assert np.ptp(tip[:, 1]) > np.ptp(tip[:, 0]), "upright"
    cell = np.diff(axes.transData.transform([[0, 4], [0, 0]])[:, 1])[0]
    length = np.ptp(tip[:, 1]) * quiver.get_transform().get_matrix()[1, 1]
    assert length == pytest.approx(cell, rel=0.05)
    below, above = sorted(tip[:, 1])[0], sorted(tip[:, 1])[-1]
    assert (tip[:, 1] == above).sum() < (tip[:, 1] == below).sum(), "one tip, above the flat end"
    np.testing.assert_allclose(quiver.XY[0], [8 + 1.5, 8 + 1.5])
    assert "3 px/frame" in axes.get_xlabel()


@pytest.mark.parametrize(
    ("x", "y", "degrees"), [(1, 0, 0), (0, -1, 90), (-1, 0, 180), (0, 1, 270), (1, -1, 45)]
)
def test_directions_are_counter_clockwise_from_the_right(x: int, y: int, degrees: int) -> None:
    shares = summary.direction_shares(*drawn(uniform(float(x), float(y))))
    expected = np.zeros(24)
    expected[degrees // 15] = 1
    np.testing.assert_allclose(shares, expected, atol=1e-6)


def test_a_direction_counts_by_weight_and_speed() -> None:
    velocity = uniform(1.0, 0.0)
    velocity[:, :, :, 16:] = torch.tensor([0.0, -3.0]).view(2, 1, 1, 1)
    weight = torch.ones(5, 24, 32)
    weight[:, :, :16] = 2
    shares = summary.direction_shares(*drawn(velocity, weight))
    assert shares[0] == pytest.approx(0.4, abs=1e-4)
    assert shares[6] == pytest.approx(0.6, abs=1e-4)


def test_means_over_time_are_weighted() -> None:
    velocity = uniform(2.0, -1.0)
    velocity[:, :, :, 16:] = 0
    velocity[:, 3] *= -1
    weight = torch.zeros(5, 24, 32)
    weight[:, :, :16] = 3
    weight[4] = 0
    speed, right, up = summary.speeds_over_time(*drawn(velocity, weight))
    np.testing.assert_allclose(speed[:4], math.sqrt(5), atol=1e-4)
    np.testing.assert_allclose(right[:4], [2, 2, 2, -2], atol=1e-4)
    np.testing.assert_allclose(up[:4], [1, 1, 1, -1], atol=1e-4)
    assert right[4] == pytest.approx(1.0), "a frame without weight: the plain mean"


def texts(unit_: Summary, monkeypatch: pytest.MonkeyPatch, path: Path) -> list[tuple[str, Bbox]]:
    """Every text the figure shows, with the box of pixels it fills."""
    drawn_texts: dict[int, Text] = {}
    draw, draw_figure = Text.draw, Figure.draw

    def start(self: Figure, renderer: RendererBase) -> None:
        drawn_texts.clear()  # the layout's own passes
        draw_figure(self, renderer)

    def note(self: Text, renderer: RendererBase) -> None:
        drawn_texts[id(self)] = self
        draw(self, renderer)

    monkeypatch.setattr(Figure, "draw", start)
    monkeypatch.setattr(Text, "draw", note)
    write_summary(path, unit_)
    shown = (text for text in drawn_texts.values() if text.get_visible() and text.get_text())
    return [(text.get_text(), text.get_window_extent()) for text in shown]


HARD = {
    "plain": unit(uniform(1.0, 0.5)),
    "still": unit(uniform(0.0, 0.0), weight=torch.zeros(5, 24, 32)),
    "not numbers": unit(
        uniform(math.nan, math.inf),
        activations={"reconstruction": math.nan, "static": math.inf, "shuffled": -math.inf},
    ),
    "extreme": unit(
        uniform(300.0, -2000.0),
        activations={"reconstruction": -4e7, "static": 1e300, "reversed": -1e-9},
    ),
    "two frames": unit(uniform(0.02, 0.0, frames=1)),
    "tall": unit(uniform(1.0, 1.0, h=60, w=20)),
    "wide": unit(uniform(-1.0, 1.0, h=20, w=60)),
    "long title": unit(uniform(1.0, 0.0), title="$x_{ blocks.3.attention$ " * 30),
    "noted": unit(uniform(2.0, 0.5), note="unexplained by a moving texture"),
    "no activations": unit(uniform(1.0, 0.0), activations={}),
    "texture as large as the frame": unit(
        uniform(1.0, 0.0), texture=torch.zeros(3, 24, 32), offset=torch.zeros(2)
    ),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.filterwarnings("error")
def test_no_text_is_cut_or_lies_on_another(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = texts(HARD[case], monkeypatch, tmp_path / "a.png")
    assert len(seen) > 20
    for text, box in seen:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 1440 and box.y1 <= 1000, text
    for i, (text, box) in enumerate(seen):
        for other, second in seen[:i]:
            wide = min(box.x1, second.x1) - max(box.x0, second.x0)
            high = min(box.y1, second.y1) - max(box.y0, second.y0)
            assert wide <= 1 or high <= 1, f"{text!r} lies on {other!r}"


def canvas() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3, 2), dpi=100)
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


@pytest.mark.parametrize("speed", [0.0, 0.02, 3.0, -400.0])
def test_the_legend_lies_above_the_lines(speed: float) -> None:
    figure, axes = canvas()
    summary.draw_speeds(axes, *drawn(uniform(speed, 0.0)))
    figure.canvas.draw()
    legend = axes.get_legend()
    assert legend is not None
    highest = max(
        axes.transData.transform(line.get_xydata())[:, 1].max() for line in axes.lines[:3]
    )
    assert highest < legend.get_window_extent().y0


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [((0.5, 0.9), 0, 1), ((-0.3, 1.6), -0.3, 1.6), ((-50, 9.0), -1, 2), ((math.nan,), 0, 1)],
)
def test_bars_keep_in_sight_what_has_room(
    values: tuple[float, ...], low: float, high: float
) -> None:
    _, axes = canvas()
    summary.draw_activations(axes, {str(i): value for i, value in enumerate(values)})
    left, right = axes.get_xlim()
    assert low - 0.1 <= left <= low < high <= right <= high + 0.1


def test_what_is_not_a_number_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [text for text, _ in texts(HARD["not numbers"], monkeypatch, tmp_path / "a.png")]
    assert shown.count("n/a") == 3
    shown = [text for text, _ in texts(HARD["extreme"], monkeypatch, tmp_path / "b.png")]
    assert {"\N{MINUS SIGN}4e+07", "0.00", "longest arrow: 2022 px/frame"} <= set(shown)


@pytest.mark.parametrize(("speed", "still"), [(0.0, True), (0.09, True), (0.2, False)])
def test_a_still_unit_shows_no_arrow_and_no_direction(
    speed: float, still: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [text for text, _ in texts(unit(uniform(speed, 0.0)), monkeypatch, tmp_path / "a.png")]
    assert ("still (below 0.1 px/frame)" in shown) == still
    assert ("no arrow: still (below 0.1 px/frame)" in shown) == still
    assert any(text.startswith("longest arrow") for text in shown) != still


def test_a_note_stands_in_place_of_arrows_and_directions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = unit(uniform(3.0, 0.0), note="unexplained by a moving texture")
    shown = [text for text, _ in texts(noted, monkeypatch, tmp_path / "a.png")]
    assert "no arrow: see (b)" in shown
    assert "unexplained by a\nmoving texture" in shown
    assert not any(text.startswith("longest arrow") or "%" in text for text in shown)


def test_names_are_text_not_formulas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = unit(uniform(1.0, 0.0), title="a $x_{ of $b$", activations={"$x_{$": 0.5})
    shown = [text for text, _ in texts(strange, monkeypatch, tmp_path / "a.png")]
    assert "a $x_{ of $b$" in shown
    assert "$x_{$" in shown


@pytest.mark.slow
def test_the_same_unit_gives_the_same_bytes_in_threads_too(tmp_path: Path) -> None:
    units = [unit(uniform(1.0, 0.5)), unit(uniform(-2.0, 0.1), title="another")]
    for i, one in enumerate(units):
        write_summary(tmp_path / f"{i}.png", one)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: write_summary(tmp_path / f"t{i}.png", units[i % 2]), range(6)))
    for i in range(6):
        assert (tmp_path / f"t{i}.png").read_bytes() == (tmp_path / f"{i % 2}.png").read_bytes()
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "1.png").read_bytes()


def test_a_figure_that_fails_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.png"
    path.write_bytes(b"old")

    def savefig(self: Figure, place: Path, **_: object) -> None:
        place.write_bytes(b"half a header")
        raise RuntimeError("no space")

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(RuntimeError, match="no space"):
        write_summary(path, unit(uniform(1.0, 0.5)))
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["summary.png"]


def test_the_global_state_of_matplotlib_is_left_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    write_summary(tmp_path / "a.png", unit(uniform(1.0, 0.5)))
    assert dict(matplotlib.rcParams) == before
    assert not Gcf.figs, "pyplot, if anyone loaded it, holds no figure"


def test_a_tuning_curve_is_drawn_where_drift_excites_the_unit() -> None:
    figure = Figure()
    axes = figure.add_subplot(projection="polar")
    responses = [[0.1, 0.5, 1.0, 0.5] + [0.0] * 8]
    draw_tuning(axes, TuningRecord([1.0], responses, math.nan, None, math.nan), "weak")
    assert not axes.lines
    draw_tuning(axes, TuningRecord([1.0], responses, 1.0, 60.0, 40.0), "line: a unit")
    (line,) = axes.lines
    angles, values = line.get_data()
    assert math.degrees(angles[int(np.argmax(values))]) == pytest.approx(60)
    assert max(values) == pytest.approx(axes.get_ylim()[1])
    assert axes.get_xlabel().endswith("line: a unit")
