"""Sweeps, interruptions and the smaller commands keep the command line's contract."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fvis.artifacts import read_png
from fvis.models.sources.base import CATALOGUES
from fvis.zoo import NETWORKS
from tests.conftest import PROGRAM, QUIET, TIMEOUT, Call
from tests.test_cli import MOMENT, QUICK, Ran, assert_refused, files, read
from tests.test_resume import tree

pytestmark = pytest.mark.slow

QUICK_ARGUMENTS = ("-m", *QUICK)


def errors(ran: Ran) -> list[str]:
    return [line for line in ran.stderr.splitlines() if line.startswith("fvis: error: ")]


# --- sweeps


@pytest.fixture(scope="module")
def sweep(forked_fvis: Call, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    cwd = tmp_path_factory.mktemp("sweep")
    ran = forked_fvis("run", *QUICK_ARGUMENTS, "target.units=0,99,1,98", cwd=cwd)
    return ran, cwd


def test_a_sweep_writes_a_numbered_folder_per_job(sweep: tuple[Ran, Path]) -> None:
    ran, cwd = sweep
    lines = ran.stdout.splitlines()
    folder = lines[0].rpartition("/")[0]
    assert re.fullmatch(f"outputs/multirun/{MOMENT}", folder)
    assert lines == [f"{folder}/0", f"{folder}/2"]
    assert read(cwd / lines[0] / "run.json")["units"] == ["logits-00000"]
    assert read(cwd / lines[1] / "run.json")["units"] == ["logits-00001"]


def test_a_wrong_job_of_a_sweep_stops_no_other_and_is_status_1(sweep: tuple[Ran, Path]) -> None:
    ran, cwd = sweep
    assert ran.returncode == 1
    for line in ran.stdout.splitlines():
        assert read(cwd / line / "run.json")["status"] == "done"
    folder = (cwd / ran.stdout.splitlines()[0]).parent
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"0", "2"}
    assert "Traceback" not in ran.stderr


def test_every_wrong_job_of_a_sweep_is_named(sweep: tuple[Ran, Path]) -> None:
    ran, _ = sweep
    *named, last = errors(ran)
    assert [99 if "99" in line else 98 for line in named] == [99, 98]
    assert last == ran.stderr.splitlines()[-1] == "fvis: error: jobs that failed: 1, 3"


def test_a_sweep_has_a_page_of_all_its_runs(sweep: tuple[Ran, Path]) -> None:
    ran, cwd = sweep
    page = (cwd / ran.stdout.splitlines()[0]).parent / "index.html"
    links = Links(page.read_text()).found
    assert {"0/units/logits-00000/image.png", "2/units/logits-00001/image.png"} <= links
    assert f"2 runs; {page.relative_to(cwd)}" in ran.stderr


def test_a_sweep_that_goes_well_is_status_0(forked_fvis: Call, tmp_path: Path) -> None:
    ran = forked_fvis(
        "run", *QUICK_ARGUMENTS, "target.layer=layer1,layer2", "target.units=[0]", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert errors(ran) == []
    folders = [tmp_path / line for line in ran.stdout.splitlines()]
    assert [read(folder / "run.json")["units"] for folder in folders] == [
        ["layer1-00000"],
        ["layer2-00000"],
    ]


def test_a_wrong_sweep_changes_nothing_of_an_earlier_one(forked_fvis: Call, tmp_path: Path) -> None:
    """Of the jobs 0 to 2, job 1 never began: whatever is asked wrongly after, it can be resumed."""
    words = ("-m", *QUICK, "hydra.sweep.dir=s")
    ran = forked_fvis("run", *words, "target.units=0,1,2", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    shutil.rmtree(tmp_path / "s" / "1")
    plan, kept = (tmp_path / "s" / "sweep.json").read_text(), tree(tmp_path / "s" / "0")
    ran = forked_fvis("run", *words, "target.units=0,1", "engine.lr=none", cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stdout == "", "no run was made"
    assert (tmp_path / "s" / "sweep.json").read_text() == plan
    ran = forked_fvis("run", *words, "target.units=3", "hydra.sweep.subdir=other", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    left = [job["folder"] for job in read(tmp_path / "s" / "sweep.json")["jobs"]]
    assert left == ["other", "1"]
    ran = forked_fvis("resume", "s", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "s/1\n"), ran.stderr
    assert read(tmp_path / "s" / "1" / "run.json")["units"] == ["logits-00001"]
    assert tree(tmp_path / "s" / "0") == kept


def test_what_a_refused_sweep_has_written_goes_though_other_files_stay(
    forked_fvis: Call, tmp_path: Path
) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "notes.txt").write_text("mine")
    words = ("-m", *QUICK, "hydra.sweep.dir=s", "target.units=98,99")
    assert forked_fvis("run", *words, cwd=tmp_path).returncode == 2
    assert [file.name for file in (tmp_path / "s").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", ["[]", '{"jobs": [{"folder"', '{"schema": 1}'])
def test_a_damaged_plan_of_a_sweep_is_not_taken_for_done(
    content: str, sweep: tuple[Ran, Path], forked_fvis: Call, tmp_path: Path
) -> None:
    folder = (sweep[1] / sweep[0].stdout.splitlines()[0]).parent
    shutil.copytree(folder, tmp_path / "s")
    (tmp_path / "s" / "sweep.json").write_text(content)
    ran = forked_fvis("resume", "s", cwd=tmp_path)
    assert ran.returncode == 2
    assert "sweep.json is damaged" in ran.stderr
    assert ran.stderr.count("\n") == 1
    picture = tmp_path / "s" / "2" / "units" / "logits-00001" / "image.png"
    picture.unlink()
    ran = forked_fvis("resume", "s", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "s/2\n"), "what has begun is finished all the same"
    assert picture.is_file()


def test_a_typo_in_a_sweep_is_one_line_with_the_nearest_names(
    forked_fvis: Call, tmp_path: Path
) -> None:
    ran = forked_fvis("run", "-m", *QUICK, "transforms=natural,maxmal", cwd=tmp_path)
    assert ran.returncode == 2
    assert "nearest: maximal" in ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert not list(tmp_path.iterdir())


def test_a_sweep_of_wrong_jobs_alone_is_status_2(forked_fvis: Call, tmp_path: Path) -> None:
    ran = forked_fvis("run", *QUICK_ARGUMENTS, "target.units=99,98", cwd=tmp_path)
    assert ran.returncode == 2
    assert errors(ran)[-1] == "fvis: error: jobs that failed: 0, 1"
    assert not [*tmp_path.iterdir()], "nothing is left behind"


LAUNCHERS = {
    "joblib": ("hydra.launcher.n_jobs=2",),
    "submitit_local": (),
    "ray": ("+hydra.launcher.ray.init.num_cpus=2",),
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_jobs_in_other_processes_give_what_those_in_this_one_do(
    launcher: str, sweep: tuple[Ran, Path], fvis: Call, tmp_path: Path
) -> None:
    plugin = f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher"
    pytest.importorskip(plugin, reason=f"no launcher {launcher}")
    words = (f"hydra/launcher={launcher}", *LAUNCHERS[launcher], "hydra.sweep.dir=out")
    ran = fvis("run", *QUICK_ARGUMENTS, "target.units=0,99,1,98", *words, cwd=tmp_path)
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout.splitlines() == ["out/0", "out/2"]
    assert errors(ran)[-1] == ran.stderr.splitlines()[-1] == "fvis: error: jobs that failed: 1, 3"
    alone, cwd = sweep
    for ours, theirs in zip(alone.stdout.splitlines(), ("out/0", "out/2"), strict=True):
        files = [tree(place / "units") for place in (cwd / ours, tmp_path / theirs)]
        assert files[0] == files[1]


# --- interruptions


def start(cwd: Path) -> "subprocess.Popen[str]":
    overrides = ("engine.steps=150", "engine.batch_size=1", "engine.device=cpu")
    return subprocess.Popen(
        [PROGRAM, "run", *overrides, "hydra.run.dir=out"],
        cwd=cwd,
        env={**os.environ, **QUIET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(pattern: str, folder: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + TIMEOUT
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"{pattern} never came"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_says_so_and_leaves_only_whole_units(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = start(tmp_path)
    wait_for("out/units/logits-*/metadata.json", tmp_path, process)
    assert read(tmp_path / "out" / "run.json")["status"] == "running"
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert stdout == ""
    assert stderr.splitlines()[-1] == "fvis: interrupted; to go on: fvis resume out"
    assert "Traceback" not in stderr
    run = read(tmp_path / "out" / "run.json")
    assert run["status"] == "interrupted"
    folders = sorted((tmp_path / "out" / "units").iterdir())
    assert [folder.name for folder in folders] == sorted(run["units"])
    assert 1 <= len(folders) < 12
    for folder in folders:
        assert files(folder) == {"metadata.json", "image.png"}
        assert read_png(folder / "image.png").shape == (3, 64, 64)
        assert read(folder / "metadata.json")["steps"] == 150
    hidden = [name for name in files(tmp_path / "out") if re.search(r"(^|/)\.", name)]
    assert {name.partition("/")[0] for name in hidden} <= {".hydra", ".state"}


# --- fvis layers, models, report


def test_layers_prints_path_type_shape_and_units(forked_fvis: Call) -> None:
    ran = forked_fvis("layers", "model=glyph_vit")
    assert ran.returncode == 0, ran.stderr
    rows = [re.split(r"  +", line) for line in ran.stdout.splitlines()]
    assert rows[0] == ["layer", "type", "output", "units"]
    table = {row[0]: row[1:] for row in rows[1:]}
    kind, shape, units = table["blocks.2.mlp.act"]
    assert kind == "GELU"
    assert re.fullmatch(r"B N=\d+ C=\d+ \(1 prefix\)", shape)
    assert units == shape.partition("C=")[2].split()[0]
    classes = str(len(NETWORKS["glyph_vit"].classes))
    assert table["logits"] == ["VisionTransformer", f"B K={classes}", classes]


def test_layers_shows_what_has_no_units_and_why(forked_fvis: Call) -> None:
    ran = forked_fvis(
        "layers", "--all", "model=torchvision", "model.name=vit_b_32", "model.pretrained=false"
    )
    assert ran.returncode == 0, ran.stderr
    (line,) = [x for x in ran.stdout.splitlines() if "encoder_layer_0.self_attention " in x]
    assert re.split(r"  +", line)[1:] == ["MultiheadAttention", "several: 0, 1", "-"]
    ran = forked_fvis("layers", "model=torchvision", "model.name=vit_b_32", "self_attention")
    assert ran.returncode == 0, ran.stderr
    assert "MultiheadAttention" not in ran.stdout
    assert ran.stderr == "fvis: 12 without units left out (--all)\n"


def test_models_lists_names_by_source(forked_fvis: Call) -> None:
    ran = forked_fvis("models")
    assert ran.returncode == 0, ran.stderr
    listed = {tuple(line.split()) for line in ran.stdout.splitlines()}
    assert listed == {(source, name) for source in CATALOGUES for name in CATALOGUES[source]()}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("r3d", {("torchvision", "r3d_18"), ("zoo", "drift_r3d")}),
        ("glyph_*", {("zoo", "glyph_cnn"), ("zoo", "glyph_vit")}),
        ("r3d_1?", {("torchvision", "r3d_18")}),
    ],
)
def test_models_takes_a_glob_or_a_part_of_a_name(
    forked_fvis: Call, pattern: str, expected: set[tuple[str, str]]
) -> None:
    ran = forked_fvis("models", pattern)
    assert {tuple(line.split()) for line in ran.stdout.splitlines()} == expected


class Links(HTMLParser):
    """The files that a page shows or links to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value for key, value in attrs if key in ("src", "href") and value}


def test_a_report_over_runs_shows_every_picture_from_their_common_folder(
    sweep: tuple[Ran, Path], forked_fvis: Call
) -> None:
    ran, cwd = sweep
    runs = ran.stdout.splitlines()
    assert forked_fvis("report", *runs, cwd=cwd).returncode == 0
    everything = sorted(str(path) for path in (cwd / runs[0]).parent.iterdir())
    assert len(everything) > len(runs), "the index and what Hydra leaves of a sweep lie there too"
    shown = forked_fvis("report", *everything, cwd=cwd)
    assert shown.returncode == 0, shown.stderr
    index = cwd / shown.stdout.strip()
    assert index == (cwd / runs[0]).parent / "index.html"
    links = Links(index.read_text()).found
    assert {"0/units/logits-00000/image.png", "2/units/logits-00001/image.png"} <= links
    local = [link for link in links if "://" not in link and not link.startswith(("#", "data:"))]
    assert all((index.parent / link).exists() for link in local)


def test_a_report_finds_the_runs_of_sweeps_and_of_folders_around_them(
    sweep: tuple[Ran, Path], forked_fvis: Call, tmp_path: Path
) -> None:
    ran, cwd = sweep
    folder = (cwd / ran.stdout.splitlines()[0]).parent
    for name in ("sweep10", "sweep2"):
        shutil.copytree(folder, tmp_path / "all" / name)
    shown = forked_fvis("report", "all", cwd=tmp_path)
    assert shown.stdout == "all/index.html\n", shown.stderr
    text = (tmp_path / "all" / "index.html").read_text()
    assert "sweep2/2/units/logits-00001/image.png" in Links(text).found
    assert text.index("sweep2/0/units") < text.index("sweep10/0/units")


def test_a_lost_index_is_rebuilt(sweep: tuple[Ran, Path], forked_fvis: Call) -> None:
    ran, cwd = sweep
    index = cwd / ran.stdout.splitlines()[0] / "index.html"
    index.unlink()
    shown = forked_fvis("report", str(index.parent), cwd=cwd)
    assert shown.stdout == f"{index.relative_to(cwd)}\n"
    assert "units/logits-00000/image.png" in Links(index.read_text()).found


# --- help


def test_help_names_every_command(forked_fvis: Call) -> None:
    ran = forked_fvis("--help")
    assert ran.returncode == 0
    for command in ("run", "layers", "models", "report"):
        assert f"fvis {command}" in ran.stdout


def test_run_help_lists_groups_choices_and_settings(forked_fvis: Call, tmp_path: Path) -> None:
    ran = forked_fvis("run", "--help", cwd=tmp_path)
    assert ran.returncode == 0
    assert ran.stderr == ""
    for text in (
        "transforms: maximal, natural, none, photograph",
        "parametrization:",
        "batch_size: auto",
    ):
        assert text in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_no_command_is_a_wrong_request(forked_fvis: Call) -> None:
    assert forked_fvis().returncode == 2


def test_an_installed_version_is_printed(forked_fvis: Call) -> None:
    ran = forked_fvis("--version")
    assert re.fullmatch(r"fvis \d+\.\d+\.\d+\S*\n", ran.stdout)


def test_the_config_shown_is_the_one_that_would_run(forked_fvis: Call, tmp_path: Path) -> None:
    ran = forked_fvis("run", "--cfg", "job", "engine.steps=9", cwd=tmp_path)
    assert ran.returncode == 0
    assert "steps: 9" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_is_no_traceback() -> None:
    shell = f"'{PROGRAM}' models | head -n 1"
    ran = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert ran.stdout.count("\n") == 1
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


def test_metadata_is_plain_json(sweep: tuple[Ran, Path]) -> None:
    ran, cwd = sweep
    files = list((cwd / ran.stdout.splitlines()[0]).rglob("*.json"))
    assert {"run.json", "metadata.json"} <= {path.name for path in files}
    for path in files:
        json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_interactions_take_overrides_as_runs_do_but_make_no_sweep(
    forked_fvis: Call, tmp_path: Path
) -> None:
    refused = forked_fvis("interactions", "-m", "engine.steps=1,2", cwd=tmp_path)
    assert_refused(refused, "makes no sweep", "each choice")
    ran = forked_fvis("interactions", "+experiment=glyph_cnn_hidden", cwd=tmp_path)
    assert_refused(ran, "needs grounding.images")
    assert files(tmp_path) == set()


def test_a_folder_that_is_no_run_is_refused_by_report(forked_fvis: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(forked_fvis("report", "empty", cwd=tmp_path), "empty", "no run")
    assert files(tmp_path) == set()


def test_layers_needs_no_weights(forked_fvis: Call) -> None:
    ran = forked_fvis("layers", "model=c3d", "model.checkpoint=absent.pickle", "--depth", "1")
    assert ran.returncode == 0, ran.stderr
    assert "conv1 " in ran.stdout


def test_layers_takes_a_pattern_and_a_depth(forked_fvis: Call) -> None:
    def listed(*words: str) -> list[str]:
        ran = forked_fvis("layers", *words)
        assert ran.returncode == 0, ran.stderr
        return [line.split()[0] for line in ran.stdout.splitlines()[1:]]

    assert listed("layer?") == ["layer1", "layer2", "layer3", "layer4"]
    assert listed("layer2", "--depth", "2") == ["layer2.0", "layer2"]
    assert listed("layer2*") == ["layer2"], "as target.layer takes it"
    assert listed("layer2**.conv?") == ["layer2.0.conv1", "layer2.0.conv2"]


def test_a_pattern_that_no_layer_matches_is_refused(forked_fvis: Call) -> None:
    ran = forked_fvis("layers", "blocks.*")
    assert ran.returncode == 2
    assert ran.stderr.startswith("fvis: error: no layer 'blocks.*'")
    assert ran.stderr.count("\n") == 1
    for words, said in ((("layer9",), "nearest: layer4"), (("--depth", "0"), "number from 1")):
        ran = forked_fvis("layers", *words)
        assert ran.returncode == 2
        assert said in ran.stderr


def test_an_experiment_may_be_added_as_in_other_tools(forked_fvis: Call, tmp_path: Path) -> None:
    words = ("+experiment=glyph_cnn_hidden", "engine.steps=1", "target.units=3")
    ran = forked_fvis("run", *words, "hydra.run.dir=out", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert [path.name for path in (tmp_path / "out" / "units").iterdir()] == ["layer2-00003"]
