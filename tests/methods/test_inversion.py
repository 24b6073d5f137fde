"""A picture from noise comes near a photograph's activations, or goes beyond them."""

import functools
from pathlib import Path

import pytest
import torch

from fvis import runner, schema
from fvis.artifacts import read_png
from fvis.capture import Network
from fvis.compose import compose
from fvis.errors import RequestError
from fvis.methods import Result
from fvis.models.layers import survey
from fvis.optimization import run_stage
from fvis.plan import plan

DISC, CROSS = "zoo:glyphs/03-striped-disc.png", "zoo:glyphs/02-plain-cross.png"
WORDS = ("engine.device=cpu", "engine.steps=60", "transforms=none")


@functools.cache
def solved(*words: str) -> list[Result]:
    config = schema.parse(compose([*WORDS, *words]))
    return [
        result
        for method in plan(runner.prepare(config)).methods
        for result in method.solve([job for group in method.groups for job in group], run_stage)
    ]


def values(
    results: list[Result], layer: str, folder: Path
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each result, the layer's values for its picture and its photograph."""
    context = runner.prepare(schema.parse(compose([*WORDS])))
    found = []
    with Network(context.model, [survey(context.model)[layer]]) as network, torch.no_grad():
        for result in results:
            pair = []
            for name in ("image.png", "photograph.png"):
                result.files[name](folder / name)
                pair.append(network(torch.from_numpy(read_png(folder / name))[None])[0].flatten())
            found.append((pair[0], pair[1]))
    return found


def test_an_inversion_is_nearer_to_its_own_photograph_than_to_another(tmp_path: Path) -> None:
    words = ("method=inversion", "target.layer=layer1", f"method.images=[{DISC},{CROSS}]")
    results = solved(*words, "engine.lr=0.2", "method.regularizers.total_variation=0.05")
    assert [result.name for result in results] == [
        "layer1-03-striped-disc",
        "layer1-02-plain-cross",
    ]
    (disc, of_disc), (cross, of_cross) = values(results, "layer1", tmp_path)
    for made, own, other in ((disc, of_disc, of_cross), (cross, of_cross, of_disc)):
        assert (made - own).norm() < 0.7 * (made - other).norm()
    for result, (made, own) in zip(results, ((disc, of_disc), (cross, of_cross)), strict=True):
        record = result.metadata
        relative = ((made - own).norm() / own.norm()).item()
        assert record["distance"] == pytest.approx(relative, rel=1e-2)
        assert record["activation"]["final"] == pytest.approx(1 - relative, abs=1e-2)
        cosine = torch.nn.functional.cosine_similarity(made, own, dim=0).item()
        assert record["cosine"] == pytest.approx(cosine, abs=1e-2)


def test_a_caricature_goes_beyond_the_photograph_in_its_direction(tmp_path: Path) -> None:
    words = ("method=caricature", "target.layer=layer2", f"method.images={DISC}")
    results = solved(*words, "method.power=1", "engine.lr=0.2")
    ((made, own),) = values(results, "layer2", tmp_path)
    along = (made @ own / (own @ own)).item()
    record = results[0].metadata
    assert record["objective"] == "caricature"
    assert along > 1.2, "the features are stronger than in the photograph"
    assert record["cosine"] > 0.7
    assert record["activation"]["final"] == pytest.approx(along * record["cosine"], rel=0.02)


def test_a_glob_gives_a_series_and_each_picture_is_that_of_its_layer_alone(tmp_path: Path) -> None:
    words = ("method=inversion", f"method.images={DISC}", "engine.steps=2")
    series = solved(*words, "target.layer=layer?")
    assert [r.metadata["layer"] for r in series] == [f"layer{n}" for n in (1, 2, 3, 4)]
    (alone,) = solved(*words, "target.layer=layer3")
    for result, name in ((series[2], "a.png"), (alone, "b.png")):
        result.files["image.png"](tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_photographs_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    words = ("method=inversion", "target.layer=layer1", "engine.steps=1")
    context = runner.prepare(
        schema.parse(compose([*WORDS, *words, f"method.images=[{DISC},{tmp_path}/broken.png]"]))
    )
    made = plan(context)
    assert made.names == ["layer1-03-striped-disc"]
    assert ["broken.png" in name for name in made.refused] == [True]
    twins = [tmp_path / folder / "broken.png" for folder in ("a", "b")]
    for twin in twins:
        twin.parent.mkdir()
        twin.write_bytes(b"no picture")
    both = f"method.images=[{DISC},{twins[0]},{twins[1]}]"
    context = runner.prepare(schema.parse(compose([*WORDS, *words, both])))
    assert list(plan(context).refused) == ["broken.png", "broken.png (2)"]
    with pytest.raises(RequestError, match=r"broken\.png is not an image"):
        solved(*words, f"method.images={tmp_path}/broken.png")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("method=inversion",), "needs method.images"),
        (
            ("method=caricature", f"method.images={DISC}", "target.position=center"),
            "no target.position",
        ),
        (("method=inversion", f"method.images={DISC}", "grounding.images=x"), "grounding.images"),
        (("method=inversion", f"method.images={DISC}", "model=drift_r3d"), "takes clips"),
        (("method=inversion", "method.images=absent"), "no image file"),
        (("method=caricature", f"method.images={DISC}", "target.grid=[0,1]"), "no target.grid"),
    ],
)
def test_what_cannot_be_inverted_is_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        solved(*words)
