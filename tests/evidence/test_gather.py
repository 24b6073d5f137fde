"""Evidence as a run gathers it: what is in the records and files, and of planted lies."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fvis import cli, schema
from fvis.compose import compose
from fvis.context import prepare
from fvis.errors import RequestError
from fvis.evidence.embedding import load_embedding
from fvis.evidence.survey import embedded
from fvis.optimization import Optimization
from fvis.plan import plan
from fvis.run_folder import SavedUnit
from fvis.zoo import glyphs

from ..passes import counted
from .glyph_runs import ALL, draw, run

FOOLING = (
    "model=factory",
    f"model.factory={Path(__file__).parent / 'fooling.py'}:build",
    *("model.input.height=64", "model.input.width=64"),
    *("model.input.mean=[0.5,0.5,0.5]", "model.input.std=[0.25,0.25,0.25]"),
)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-six glyphs."""
    return draw(tmp_path_factory.mktemp("few") / "glyphs", 36)


def evidence(unit: SavedUnit) -> Any:
    assert unit.record.evidence is not None
    return unit.record.evidence


def test_photographs_alone_give_the_path_and_nothing_costly(tmp_path: Path, few: Path) -> None:
    record, (unit,) = run(tmp_path / "run", few, "target.units=3")
    found = json.loads((unit.folder / "metadata.json").read_text())["evidence"]
    assert set(found) == {"word", "votes", "path"}
    assert found["path"]["layers"] == ["layer1", "layer2", "layer3", "layer4", "logits"]
    assert unit.record.files == ["image.png", "natural.png"]
    counts = {word: record.summary[f"evidence.{word}"].mean for word in ("supported", "plausible")}
    assert sum(counts.values()) + record.summary["evidence.unsupported"].mean == 1
    told = {word: round(mean) for word, mean in counts.items()}
    words = f"; evidence: {told['supported']} supported, {told['plausible']} plausible, "
    assert cli.evidence_words(record).startswith(words)


def test_the_path_takes_no_pass_of_its_own_over_photographs_and_pictures(
    tmp_path: Path, few: Path
) -> None:
    """A second pass would run 36 photographs more through the network, and each picture."""
    made = {}
    for path in (True, False):
        words = (f"evidence.path={path}", f"grounding.cache={tmp_path / f'cache-{path}'}")
        with counted() as first:
            run(tmp_path / f"first-{path}", few, "target.units=0:4", *words)
        with counted() as again:
            _, units = run(tmp_path / f"again-{path}", few, "target.units=0:4", *words)
        assert first.pictures - again.pictures == 36
        made[path] = (again.pictures, [unit.record.grounding for unit in units])
    assert made[True][1] == made[False][1]
    assert made[True][0] - made[False][0] <= 4  # single grey ones, by which layers are found


def test_the_way_of_the_photographs_is_read_back_as_it_was_measured(
    tmp_path: Path, few: Path
) -> None:
    words = ("target.units=3", f"grounding.cache={tmp_path / 'cache'}")
    _, (first,) = run(tmp_path / "first", few, *words)
    _, (again,) = run(tmp_path / "again", few, *words)
    assert evidence(first).path == evidence(again).path
    assert evidence(first).path.kept is not None


def test_without_photographs_there_is_no_evidence(tmp_path: Path) -> None:
    record, (unit,) = run(tmp_path / "run", None, "target.units=3")
    assert unit.record.evidence is None
    assert "evidence" not in (unit.folder / "metadata.json").read_text()
    assert not record.summary
    assert cli.evidence_words(record) == ""


def test_the_first_layer_has_no_way_to_stray_from(tmp_path: Path, few: Path) -> None:
    _, (unit,) = run(tmp_path / "run", few, "target.layer=layer1", "target.units=3")
    assert unit.record.evidence is None


def test_everything_that_is_asked_for_is_recorded(tmp_path: Path, few: Path) -> None:
    record, units = run(tmp_path / "run", few, "target.units=[3,7]", *ALL)
    unit = units[0]
    found = evidence(unit)
    names = {"image.png", "natural.png", "seed-1.png", "minimising-1.png"}
    assert set(unit.record.files or ()) == names
    assert len(found.observer.tasks) == 4
    assert len({*found.observer.tasks[0].strong_references, found.observer.tasks[0].strong}) == 3
    assert found.observer.gap == pytest.approx(
        found.observer.natural.accuracy - found.observer.synthetic.accuracy
    )
    synthetic = found.observer.synthetic
    assert (synthetic.maximising, synthetic.minimising) == (2, 1)
    assert len(found.seeds.activations) == 1
    assert -1 <= found.seeds.similarity <= 1
    assert list(found.strangers) == ["glyph_vit", "glyph_vit#2"]
    top = found.strangers["glyph_vit"].top
    assert len(top) == 5
    rank = found.strangers["glyph_vit"].rank
    assert (rank <= 5) == (glyphs.CLASSES[3] in [name for name, _ in top])
    assert record.summary["evidence.observer.gap"].of == 2


def test_no_picture_depends_on_its_neighbours_or_on_the_evidence(tmp_path: Path, few: Path) -> None:
    _, (_, together) = run(tmp_path / "two", few, "target.units=[3,7]", *ALL)
    _, (alone,) = run(tmp_path / "one", few, "target.units=7", *ALL)
    _, (plain,) = run(tmp_path / "plain", None, "target.units=7")
    for name in ("image.png", "seed-1.png", "minimising-1.png"):
        assert together.file(name).read_bytes() == alone.file(name).read_bytes(), name
    assert plain.file("image.png").read_bytes() == alone.file("image.png").read_bytes()
    assert alone.file("seed-1.png").read_bytes() != alone.file("image.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evidence.embedding=zoo/glyph_vit"], "needs photographs"),
        (["evidence.embedding=glyph_vit", "evidence.seeds=1"], "takes source/name"),
        (["evidence.strangers=[zoo/glyph_cnn]"], "strangers: glyph_cnn has a part in the pictures"),
        (
            [
                "evidence.embedding=zoo/glyph_cnn",
                "evidence.references=1",
                "grounding.images=zoo:glyphs",
            ],
            "embedding: glyph_cnn has a part in the pictures",
        ),
        (
            ["target.ensemble=[zoo/glyph_vit]", "evidence.strangers=[zoo/glyph_vit]"],
            "strangers: glyph_vit has a part in the pictures",
        ),
        (["evidence.strangers=[glyph_vit]"], "evidence.strangers has 'glyph_vit'"),
        (["evidence.seeds=1", "model=drift_r3d"], "needs a network of images"),
        (["evidence.seeds=1", "model=drift_r3d", "method=texture_motion"], "evidence.seeds needs"),
        (["evidence.embedding=zoo/drift_r3d", "evidence.seeds=1"], "takes clips"),
        (["evidence.embedding=zoo/glyph_vit", "grounding.images=zoo:glyphs"], "20 photographs"),
    ],
)
def test_what_cannot_be_had_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        run(tmp_path / "run", None, f"grounding.cache={tmp_path / 'cache'}", *words)
    assert not (tmp_path / "run").exists()


def test_networks_are_loaded_once_for_all_layers(few: Path) -> None:
    layers = ("target.layer=[layer1,layer2]", "target.units=0", f"grounding.images={few}")
    context = prepare(schema.parse(compose(["model=glyph_cnn", *layers, *ALL])))
    first, second = (method._evidence for method in plan(context).methods)  # type: ignore[attr-defined]
    assert first._embedding is second._embedding
    assert first._strangers._strangers is second._strangers._strangers


def test_further_pictures_are_not_made_without_the_prior_too(few: Path) -> None:
    words = ("target.units=0", f"grounding.images={few}", "engine.steps=2", "prior=statistics")
    context = prepare(schema.parse(compose(["model=glyph_cnn", *words, *ALL])))
    (method,) = plan(context).methods
    stages: list[str] = []

    def run_stage(name: str, optimization: Optimization) -> None:
        optimization.run(lambda _: stages.append(name))

    method.solve(method.groups[0], run_stage)
    made = [name for name in dict.fromkeys(stages) if not name.endswith("rescue")]
    assert made == [
        "optimal",
        "without the prior: optimal",
        "seed 1 optimal",
        "minimising 1 optimal",
    ]
    assert method.steps == 2 * len(made)


def test_embeddings_are_of_the_network_as_it_is_asked_for(tmp_path: Path, few: Path) -> None:
    found = []
    for size in (64, 32):
        network = f"{{source: zoo, name: glyph_cnn, input: {{height: {size}, width: {size}}}}}"
        words = (f"evidence.embedding={network}", f"grounding.cache={tmp_path / 'cache'}")
        words = ("model=glyph_cnn", f"grounding.images={few}", "target.units=0", *words)
        context = prepare(schema.parse(compose(list(words))))
        embedding = load_embedding(context.config.evidence.embedding, 0, context.device)
        files = sorted(few.glob("*.png"))
        kept = embedded(context, files, embedding)
        torch.testing.assert_close(kept, embedded(context, files, embedding))
        found.append(kept)
    assert not torch.allclose(*found, atol=1e-3)


def test_dreamsim_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Network:
        def embed(self, rgb: Tensor) -> Tensor:
            assert rgb.shape == (2, 3, 224, 224)
            assert 0 <= rgb.min() <= rgb.max() <= 1
            return rgb.mean((2, 3))

    def build(pretrained: bool, device: str) -> tuple[Network, None]:
        return Network(), None

    package = types.ModuleType("dreamsim")
    package.dreamsim = build  # type: ignore[attr-defined]
    package.__spec__ = types.SimpleNamespace(name="dreamsim")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "dreamsim", package)
    embedding = load_embedding("auto", 0, torch.device("cpu"))
    vectors = embedding(torch.rand(2, 3, 64, 64))
    assert embedding.name == "dreamsim"
    assert vectors.norm(dim=1).tolist() == pytest.approx([1.0, 1.0])


def test_dreamsim_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match="pip install dreamsim"):
        load_embedding("dreamsim", 0, torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "embeds"), [("glyph_cnn", "glyph_vit"), ("glyph_vit", "glyph_cnn")]
)
def test_planted_truth_is_supported_and_a_fooling_networks_lies_are_not(
    name: str, embeds: str, tmp_path: Path
) -> None:
    """The classes are known; the fooling network responds to photographs as the honest one does."""
    images = draw(tmp_path / "glyphs", 200)
    words = ("engine.steps=96", "target.units=0:8", f"evidence.embedding=zoo/{embeds}")
    _, honest = run(tmp_path / "honest", images, f"model={name}", *words)
    _, fooled = run(tmp_path / "fooled", images, *FOOLING, f"+model.kwargs.name={name}", *words)
    assert sum(evidence(unit).word == "supported" for unit in honest) >= 6
    assert sum(evidence(unit).word == "unsupported" for unit in fooled) >= 6
    assert all(evidence(unit).word != "supported" for unit in fooled)
    for one, other in zip(honest, fooled, strict=True):  # photographs explain both alike
        natural, theirs = evidence(one).observer.natural, evidence(other).observer.natural
        assert natural.accuracy == theirs.accuracy == 1.0
