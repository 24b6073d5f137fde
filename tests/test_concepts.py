"""A concept's direction is found where there is one, and refused where there is none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fvis.concepts import chance_accuracy, held_out_accuracy, separation
from fvis.errors import RequestError
from fvis.objectives.concepts import read_concepts
from fvis.zoo import glyphs
from tests.conftest import Call

LAYER = "target.layer=layer2"


def planted(count: int, shift: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Values (count, 16) of two groups, apart by `shift` along a direction, which is returned."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(16, generator=generator), dim=0)
    groups = torch.randn(2, count, 16, generator=generator)
    return (groups[0] + shift * direction).double(), groups[1].double(), direction.double()


def fits() -> list[str]:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return ["mean"]
    return ["mean", "probe"]


@pytest.mark.parametrize("fit", fits())
def test_a_planted_direction_is_found_with_the_accuracy_that_its_distance_allows(fit: str) -> None:
    shown, others, direction = planted(400, 3.0)
    found, threshold = separation(shown, others, fit)
    assert found.norm().item() == pytest.approx(1)
    assert found @ direction > 0.9
    assert threshold == pytest.approx((found @ direction).item() * 1.5, abs=0.25)
    best = 0.5 * (1 + torch.erf(torch.tensor(1.5 / 2**0.5)).item())  # 1.5 deviations either way
    assert held_out_accuracy(shown, others, fit, 0) == pytest.approx(best, abs=0.03)


@pytest.mark.parametrize("fit", fits())
def test_photographs_that_were_fitted_do_not_judge(fit: str) -> None:
    """In 500 dimensions any 40 points can be told apart, and held-out ones cannot."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        shown, others = torch.randn(2, 20, 500, generator=generator).double()
        direction, threshold = separation(shown, others, fit)
        assert (shown @ direction > threshold).all() and (others @ direction < threshold).all()
        assert 0.2 < held_out_accuracy(shown, others, fit, seed) < 0.8


def test_one_direction_in_twenty_exceeds_what_chance_reaches() -> None:
    """Judgements share fits, so that guesses' own spread, 0.63 here, is exceeded more often."""
    above, levels = 0, []
    for seed in range(80):
        generator = torch.Generator().manual_seed(seed)
        shown, others = torch.randn(2, 20, 16, generator=generator).double()
        levels.append(chance_accuracy(shown, others, "mean", seed))
        above += held_out_accuracy(shown, others, "mean", seed) > levels[-1]
    assert 1 <= above <= 7, "four are expected"
    assert sum(levels) / len(levels) > 0.63


def test_groups_without_a_difference_are_judged_by_half() -> None:
    same = torch.ones(10, 4).double()
    assert held_out_accuracy(same, same, "mean", 0) == chance_accuracy(same, same, "mean", 0) == 0.5


def test_the_scale_of_a_unit_does_not_matter_to_a_probe() -> None:
    pytest.importorskip("sklearn")
    shown, others, _ = planted(60, 2.0)
    scale = torch.logspace(-3, 3, 16).double()
    plain, _ = separation(shown, others, "probe")
    scaled, _ = separation(shown * scale, others * scale, "probe")
    back = torch.nn.functional.normalize(scaled * scale, dim=0)
    torch.testing.assert_close(back, plain, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of glyphs: striped, plain, and two of both at random."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    textures = {"striped": [1, 4, 7, 10], "plain": [0, 3, 6, 9], "some": [0, 1], "more": [0, 1]}
    for name, labels in textures.items():
        (folder / name).mkdir()
        rgb = glyphs.draw(torch.tensor(labels * (16 // len(labels))), generator)
        for place, picture in enumerate((rgb * 255).round().byte().movedim(1, -1).numpy()):
            Image.fromarray(picture).save(folder / name / f"{place}.png")
    return folder


@pytest.fixture(scope="module")
def striped(pictures: Path, forked_fvis: Call) -> Path:
    """A file with the concept of stripes, and of plain glyphs."""
    words = ("striped", "plain", LAYER, "--out", "textures.safetensors")
    ran = forked_fvis("concept", *words, cwd=pictures, XDG_CACHE_HOME=str(pictures / "cache"))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "textures.safetensors\n"
    assert "striped at layer2: held-out accuracy" in ran.stderr
    words = ("plain", "striped", LAYER, "--out", "textures.safetensors", "--name", "flat")
    ran = forked_fvis("concept", *words, cwd=pictures, XDG_CACHE_HOME=str(pictures / "cache"))
    assert ran.returncode == 0, ran.stderr
    return pictures / "textures.safetensors"


def test_a_concept_has_its_accuracy_in_its_file_and_in_the_record_of_its_picture(
    striped: Path, forked_fvis: Call, tmp_path: Path
) -> None:
    concepts = read_concepts(striped)
    assert concepts is not None and list(concepts) == ["striped", "flat"]
    (record, vector), (_, opposite) = concepts.values()
    torch.testing.assert_close(vector, -opposite)
    assert record.accuracy is not None and record.accuracy > 0.8
    assert record.photographs == (16, 16)
    for given, names in ((f"{striped}:striped", ["striped"]), (striped, ["flat", "striped"])):
        ran = forked_fvis(
            "run", LAYER, f"target.direction='{given}'", "engine.steps=24", "transforms=none",
            "hydra.run.dir=out", "--force", cwd=tmp_path,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        units = sorted((tmp_path / "out" / "units").iterdir())
        assert [unit.name for unit in units] == [f"layer2-direction-{name}" for name in names]
    metadata = json.loads((units[1] / "metadata.json").read_text())
    assert metadata["concept"]["accuracy"] == record.accuracy
    assert metadata["concept"]["chance"] == record.chance
    assert metadata["activation"]["final"] > metadata["activation"]["initial"]
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert str(striped) in run["inputs"]


def test_a_direction_that_does_not_separate_is_refused_or_called_a_control(
    pictures: Path, forked_fvis: Call, tmp_path: Path
) -> None:
    words = ("concept", str(pictures / "some"), str(pictures / "more"), LAYER)
    ran = forked_fvis(*words, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert ran.returncode == 2
    assert "this direction shows nothing" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.safetensors"))
    ran = forked_fvis(*words, "--force", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert ran.returncode == 0, ran.stderr
    file = ran.stdout.strip()
    ran = forked_fvis("run", LAYER, f"target.direction={file}", "engine.steps=2", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "concept some tells no photographs apart" in ran.stderr


def test_what_cannot_be_fitted_or_used_is_refused_in_one_line(
    pictures: Path, striped: Path, forked_fvis: Call, tmp_path: Path
) -> None:
    (tmp_path / "few").mkdir()
    for place in range(3):
        shutil.copy(pictures / "striped" / f"{place}.png", tmp_path / "few")
    few, plain, full = tmp_path / "few", pictures / "plain", pictures / "striped"
    np.save(tmp_path / "v.safetensors", np.zeros(3))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(striped.read_bytes()[:-9])
    for words, said in (
        (("concept", few, plain, LAYER), "few has 3 photographs; 5 are needed"),
        (("concept", full, few, LAYER), "are the same photograph"),
        (("concept", full, LAYER), "two folders of photographs are needed"),
        (("concept", full, plain, LAYER, "--fit", "svm"), "invalid choice: 'svm'"),
        (("concept", full, tmp_path / "absent", LAYER), "no image file at"),
        (("concept", full, plain, "target.layer=layer9"), "no layer 'layer9'"),
        (("concept", full, plain, "target.layer=layer1", "--out", striped), "give another --out"),
        (("concept", full, plain, "model=drift_r3d", "target.layer=layer1"), "takes clips"),
        (("run", "target.layer=layer1", f"target.direction={striped}"), "was fitted at layer2"),
        (("run", LAYER, "model.pretrained=false", f"target.direction={striped}"), "other weights"),
        (("run", LAYER, f"target.direction='{striped}:stripes'"), "nearest: striped"),
        (("run", LAYER, f"target.direction={damaged}"), "is not a readable file of concepts"),
    ):
        ran = forked_fvis(*map(str, words), cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
        assert ran.returncode == 2, (words, ran.stderr)
        assert said in ran.stderr
        assert ran.stderr.count("\n") == 1, ran.stderr


def test_concepts_of_a_file_with_wrong_numbers_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    wrong = {"fvis.concepts": json.dumps({"a": {"layer": 3}})}
    save_file({"a": torch.ones(4)}, tmp_path / "a.safetensors", wrong)
    with pytest.raises(RequestError, match="concept a has no valid layer"):
        read_concepts(tmp_path / "a.safetensors")
