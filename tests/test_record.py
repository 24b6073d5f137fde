"""run.json and metadata.json are read back as they were written, old and broken ones too."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fvis import processes
from fvis.artifacts import write_png
from fvis.errors import RequestError
from fvis.processes import Process
from fvis.record.attack import AdversarialRecord, AttackedRecord, MarginRecord
from fvis.record.motion import TextureMotionRecord
from fvis.record.run import UNIT_RECORDS, RunRecord
from fvis.record.unit import UnitRecord
from fvis.run_folder import SavedRun, finished_unit, read_run, read_unit
from fvis.typed_json import from_json, to_json
from tests import recorded

METHODS = tuple(recorded.SETTINGS)


def units_of(method: str) -> list[Path]:
    return sorted((recorded.run_folder(method) / "units").iterdir())


@pytest.mark.parametrize("method", METHODS)
def test_what_a_run_writes_is_read_back_without_loss(method: str) -> None:
    run = read_run(recorded.run_folder(method))
    content = recorded.run_json(method)
    assert to_json(run.record) == content
    assert run.record.extra == {}
    for folder in units_of(method):
        unit = read_unit(folder)
        assert type(unit.record) is UNIT_RECORDS[method]
        assert to_json(unit.record) == json.loads((folder / "metadata.json").read_text())
        assert unit.record.extra == {}
    assert [unit.folder.name for unit in run.units()] == sorted(run.record.jobs)


@pytest.mark.parametrize("method", METHODS)
def test_every_value_has_the_type_that_its_field_says(method: str) -> None:
    _, faults = from_json(RunRecord, recorded.run_json(method))
    assert faults == []
    for folder in units_of(method):
        content = json.loads((folder / "metadata.json").read_text())
        _, faults = from_json(UNIT_RECORDS[method], content)
        assert faults == []


def test_what_the_methods_add_is_typed() -> None:
    motion = read_unit(units_of("texture_motion")[0]).record
    assert isinstance(motion, TextureMotionRecord)
    assert motion.solver == "factored"
    assert isinstance(motion.motion.speed, float)
    assert motion.becomes is not None and set(motion.becomes) == set(motion.activations)
    attacks = [read_unit(unit).record for unit in units_of("adversarial")]
    attack = next(one for one in attacks if isinstance(one, AdversarialRecord) and one.linf)
    assert len(attack.clean) == len(attack.adversarial) == 5
    assert attack.transfer["glyph_vit"].success in (True, False)
    assert attack.networks is not None and set(attack.networks) == {"glyph_cnn", "glyph_vit"}
    assert attack.tally()["networks.glyph_vit"] == attack.networks["glyph_vit"].success
    assert attack.tally()["linf"] == attack.linf
    assert attack.tally()["transfer.glyph_vit"] == attack.transfer["glyph_vit"].success


@pytest.mark.parametrize(
    ("clean", "others", "counts"),
    [(0.3, (), False), (-0.3, (), True), (0.3, (0.1, 0.2), False), (0.3, (0.1, -0.2), True)],
)
def test_what_was_its_target_before_has_no_part_in_the_means(
    clean: float, others: tuple[float, ...], counts: bool
) -> None:
    networks = {str(n): AttackedRecord(margin=MarginRecord(each)) for n, each in enumerate(others)}
    attack = AdversarialRecord(
        success=True, linf=0.03, margin=MarginRecord(clean, 2.0), networks=networks or None
    )
    assert bool(attack.tally()) is counts


def test_a_file_of_the_first_schema_is_read(tmp_path: Path) -> None:
    old: dict[str, Any] = recorded.unit_json("activation_maximization")
    for name in ("schema", "config_sha256"):
        del old[name]
    unit = write(tmp_path / "units" / "u", old | {"schema": 1, "files": []})
    (tmp_path / "run.json").write_text(
        json.dumps({"schema": 1, "status": "done", "units": ["u"], "model": {"name": "net"}})
    )
    run = read_run(tmp_path)
    assert (run.record.schema, run.status, run.record.model.name) == (1, "done", "net")
    (found,) = run.units()
    assert found.folder == unit
    assert found.record.activation.final == old["activation"]["final"]


def test_a_value_of_a_wrong_type_is_as_good_as_none(tmp_path: Path) -> None:
    content = recorded.unit_json("texture_motion")
    content |= {"seed": "three", "motion": {"speed": "fast"}, "of_tomorrow": [1], "steps": 7}
    found = read_unit(write(tmp_path / "u", content)).record
    assert isinstance(found, TextureMotionRecord)
    assert (found.seed, found.motion.speed, found.steps) == (None, None, 7)
    assert found.extra == {"of_tomorrow": [1]}
    _, faults = from_json(TextureMotionRecord, content)
    assert faults == ["seed", "motion"]


@pytest.mark.parametrize("text", ["", "[1, 2", "null", "[" * 50_000, "\x00"])
def test_a_broken_file_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "metadata.json").write_text(text)
    assert read_unit(tmp_path).record == UnitRecord()
    assert finished_unit(tmp_path, "hash") is None


def test_a_unit_is_finished_when_it_is_whole_and_of_this_config(tmp_path: Path) -> None:
    content = recorded.unit_json("activation_maximization") | {"files": ["image.png"]}
    sha256 = content["config_sha256"]
    folder = write(tmp_path / "u", content)
    assert finished_unit(folder, sha256) is None, "its picture is missing"
    (folder / "image.png").write_bytes(b"")
    assert finished_unit(folder, sha256) is None, "its picture is empty"
    write_png(folder / "image.png", torch.zeros(3, 2, 2))
    assert finished_unit(folder, sha256) is not None
    assert finished_unit(folder, "another") is None
    write(folder, content | {"seed": "three"})
    assert finished_unit(folder, sha256) is None


def test_units_of_another_config_are_not_a_runs_own(tmp_path: Path) -> None:
    content = recorded.unit_json("activation_maximization") | {"files": []}
    write(tmp_path / "units" / "own", content)
    write(tmp_path / "units" / "foreign", content | {"config_sha256": "another"})
    interrupted = recorded.run_json("activation_maximization") | {"status": "interrupted"}
    (tmp_path / "run.json").write_text(json.dumps(interrupted))
    assert [unit.folder.name for unit in read_run(tmp_path).units()] == ["own"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no run: it has no run\.json"):
        read_run(tmp_path)


def test_a_run_whose_process_is_gone_is_interrupted() -> None:
    def status(process: Process | None) -> str | None:
        running = RunRecord(status="running", process=process)
        return SavedRun(Path(), running).status

    here = processes.current()
    assert status(here) == "running"
    assert status(dataclasses.replace(here, host="elsewhere")) == "running"
    assert status(dataclasses.replace(here, started="0")) == "interrupted"
    assert status(dataclasses.replace(here, boot="another")) == "interrupted"
    assert status(dataclasses.replace(here, pid=2**22 + 1)) == "interrupted"
    assert status(None) == "interrupted"


def write(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps(content))
    return folder
