"""`fvis run` keeps its contract: spellings, output layout, exit statuses, clean refusals."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from fvis.artifacts import read_png
from fvis.models import load
from fvis.models.checkpoints import sha256_of_file
from fvis.schema import ModelConfig
from tests.conftest import PROGRAM, QUIET, ROOT, SMALL_CLIPS, Call

Ran = subprocess.CompletedProcess[str]

NET = """
from safetensors.torch import load_file
from torch import nn

def build(width=4, checkpoint=None):
    net = nn.Sequential(nn.Conv3d(3, width, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool3d(1),
                        nn.Flatten(), nn.Linear(width, 5))
    if checkpoint is not None:
        net.load_state_dict(load_file(checkpoint))
    return net
"""
MOMENT = r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d"
QUICK = ("engine.steps=2", "engine.device=cpu")
UNIT_KEYS = {
    "schema", "model", "layer", "unit", "position", "method", "seed", "steps", "status",
    "activation", "seconds", "files",
}  # fmt: skip


def last_line(ran: Ran) -> str:
    return ran.stdout.splitlines()[-1]


def files(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


def read(path: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(path.read_text(), parse_constant=pytest.fail)
    return content


def assert_refused(ran: Ran, *words: str) -> None:
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith("fvis: error: ")
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.endswith("\n")
    for word in words:
        assert word in ran.stderr


# --- a timm model with weights of one's own, as the contract spells it


class Made:
    """One finished run: what was asked, what was printed, what lies in its folder."""

    def __init__(self, ran: Ran, cwd: Path, folder: Path, weights: Path) -> None:
        self.ran, self.cwd, self.folder, self.weights = ran, cwd, folder, weights


@pytest.fixture(scope="module")
def timm_run(fvis: Call, tmp_path_factory: pytest.TempPathFactory) -> Made:
    cwd = tmp_path_factory.mktemp("timm")
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), cwd / "W.safetensors")
    ran = fvis(
        "run", "model.source=timm", "model.name=test_vit", "model.pretrained=false",
        "model.checkpoint=W.safetensors", "target.layer=blocks.1.mlp.act", "target.units=[5,16]",
        "method=activation_maximization", "engine.steps=20", "engine.seed=3",
        "hydra.run.dir=results/here", cwd=cwd,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return Made(ran, cwd, cwd / "results" / "here", cwd / "W.safetensors")


def test_stdout_holds_the_folder_and_stderr_the_progress(timm_run: Made) -> None:
    assert timm_run.ran.stdout == "results/here\n"
    assert "step" in timm_run.ran.stderr
    assert "Traceback" not in timm_run.ran.stderr


def test_every_path_of_the_contract_is_there_and_no_other(timm_run: Made) -> None:
    units = ("blocks.1.mlp.act-00005", "blocks.1.mlp.act-00016")
    assert files(timm_run.folder) == {
        "index.html", "run.json", "fvis.log",
        ".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml",
        *(f"units/{unit}/{name}" for unit in units for name in ("metadata.json", "image.png")),
    }  # fmt: skip
    assert files(timm_run.cwd) - {"W.safetensors"} == {
        f"results/here/{name}" for name in files(timm_run.folder)
    }


def test_the_picture_has_the_networks_size(timm_run: Made) -> None:
    with Image.open(timm_run.folder / "units" / "blocks.1.mlp.act-00005" / "image.png") as image:
        assert (image.mode, image.size) == ("RGB", (160, 160))


def test_metadata_says_what_was_asked_and_reached(timm_run: Made) -> None:
    unit = read(timm_run.folder / "units" / "blocks.1.mlp.act-00016" / "metadata.json")
    assert unit.keys() >= UNIT_KEYS
    assert (unit["layer"], unit["unit"], unit["position"]) == ("blocks.1.mlp.act", 16, "mean")
    assert (unit["method"], unit["seed"], unit["steps"]) == ("activation_maximization", 3, 20)
    assert unit["model"] == "test_vit"
    assert unit["status"] in ("ok", "rescued")
    assert unit["files"] == ["image.png"]
    assert unit["seconds"] > 0
    activation = unit["activation"]
    assert activation.keys() == {"initial", "final", "trace"}
    assert activation["final"] > activation["initial"]
    steps = [step for step, _ in activation["trace"]]
    assert steps == sorted(set(steps))
    assert steps[-1] == 19
    assert all(isinstance(value, float) for _, value in activation["trace"])


def test_the_final_activation_is_that_of_the_picture_on_disk(timm_run: Made) -> None:
    model = load(ModelConfig("timm", "test_vit", checkpoint=str(timm_run.weights)))
    seen: list[torch.Tensor] = []
    act = model.module.get_submodule("blocks.1.mlp.act")
    act.register_forward_hook(lambda *a: seen.append(a[2]))
    for unit in (5, 16):
        folder = timm_run.folder / "units" / f"blocks.1.mlp.act-{unit:05d}"
        rgb = torch.from_numpy(read_png(folder / "image.png"))[None]
        with torch.no_grad():
            model.module(model.preprocessing.normalise(rgb))
        patches = seen[-1][0, model.module.num_prefix_tokens :, unit]
        final = read(folder / "metadata.json")["activation"]["final"]
        assert patches.mean().item() == pytest.approx(final, rel=1e-3, abs=1e-5)


def test_the_run_records_config_versions_weights_and_device(timm_run: Made) -> None:
    run = read(timm_run.folder / "run.json")
    assert run["status"] == "done"
    assert run["model"]["weights"]["sha256"] == sha256_of_file(timm_run.weights)
    assert run["config"]["target"]["units"] == [5, 16]
    assert run["config"]["engine"]["steps"] == 20
    assert run["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert run["versions"]["timm"] == timm.__version__
    assert run["timings"]["seconds"] > 0
    assert "cpu" in run["device"] or "cuda" in run["device"]
    assert run["units"] == ["blocks.1.mlp.act-00005", "blocks.1.mlp.act-00016"]


def test_the_gallery_shows_every_unit(timm_run: Made) -> None:
    page = (timm_run.folder / "index.html").read_text()
    for unit in ("00005", "00016"):
        assert f'src="units/blocks.1.mlp.act-{unit}/image.png"' in page


def test_the_composed_config_is_kept(timm_run: Made) -> None:
    text = (timm_run.folder / ".hydra" / "overrides.yaml").read_text()
    assert "- target.layer=blocks.1.mlp.act" in text
    assert "W.safetensors" in (timm_run.folder / ".hydra" / "config.yaml").read_text()


def test_the_same_request_makes_the_same_pictures(timm_run: Made, forked_fvis: Call) -> None:
    overrides = [
        "model.source=timm", "model.name=test_vit", "model.pretrained=false",
        "model.checkpoint=W.safetensors", "target.layer=blocks.1.mlp.act", "engine.steps=20",
        "engine.seed=3", "target.units=[16]", "hydra.run.dir=again",
    ]  # fmt: skip
    ran = forked_fvis("run", *overrides, cwd=timm_run.cwd)
    assert ran.returncode == 0, ran.stderr
    name = "units/blocks.1.mlp.act-00016/image.png"
    with (
        Image.open(timm_run.folder / name) as one,
        Image.open(timm_run.cwd / "again" / name) as two,
    ):
        difference = torch.frombuffer(bytearray(one.tobytes()), dtype=torch.uint8).int()
        difference = difference - torch.frombuffer(bytearray(two.tobytes()), dtype=torch.uint8)
    assert difference.abs().float().mean() < 1  # another batch size may round otherwise


# --- a factory, clips


@pytest.fixture(scope="module")
def clip_run(forked_fvis: Call, tmp_path_factory: pytest.TempPathFactory) -> Made:
    cwd = tmp_path_factory.mktemp("factory")
    (cwd / "net.py").write_text(NET)
    scope: dict[str, Callable[..., torch.nn.Module]] = {}
    exec(NET, scope)
    save_file(scope["build"](width=6).state_dict(), cwd / "W.safetensors")
    ran = forked_fvis(
        "run", "model.source=factory", "model.factory=net.py:build",
        "+model.kwargs.checkpoint=W.safetensors", "+model.kwargs.width=6",
        "model.input.frames=5", "model.input.height=18", "model.input.width=25",
        "model.input.mean=[0.4,0.4,0.4]", "model.input.std=[0.2,0.2,0.2]",
        "target.layer=logits", "target.units=0:2", "target.repeats=2", *QUICK, cwd=cwd,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return Made(ran, cwd, cwd / last_line(ran), cwd / "W.safetensors")


def test_a_run_goes_to_outputs_by_date_and_time(clip_run: Made) -> None:
    assert re.fullmatch(
        r"outputs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d",
        clip_run.folder.relative_to(clip_run.cwd).as_posix(),
    )


def test_clips_and_repeats_have_their_files(clip_run: Made) -> None:
    names = ("logits-00000-r0", "logits-00000-r1", "logits-00001-r0", "logits-00001-r1")
    found = {name for name in files(clip_run.folder) if name.startswith("units/")}
    parts = ("metadata.json", "clip.apng", "clip.gif", "clip.mp4")
    assert found == {f"units/{name}/{part}" for name in names for part in parts}
    for name in names:
        with Image.open(clip_run.folder / "units" / name / "clip.gif") as image:
            assert (image.n_frames, image.size) == (5, (25, 18))


def test_kwargs_and_input_reach_the_users_network(clip_run: Made) -> None:
    run = read(clip_run.folder / "run.json")
    assert run["config"]["model"]["kwargs"] == {"checkpoint": "W.safetensors", "width": 6}
    preprocessing = run["model"]["preprocessing"]
    assert preprocessing["mean"] == [0.4] * 3
    assert [preprocessing[key] for key in ("frames", "height", "width")] == [5, 18, 25]


def test_a_users_network_goes_by_its_own_name(clip_run: Made) -> None:
    assert read(clip_run.folder / "run.json")["model"]["name"] == "net.py:build"
    unit = read(clip_run.folder / "units/logits-00000-r0/metadata.json")
    assert unit["model"] == "net.py:build"


# --- refusals


@pytest.fixture(scope="module")
def bad_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    state = timm.create_model("test_vit").state_dict()
    save_file({**state, "head.bias": torch.zeros(3)}, folder / "shape.safetensors")
    return folder


TIMM = ("model=timm", "model.name=test_vit", "model.pretrained=false")
WRONG: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("target.layer=layer9",), ("no layer 'layer9'", "layer4")),
    (("target.units=99",), ("99", "0 to 11")),
    (("target.units=-1",), ("target.units",)),
    (("target.units=some",), ("some", "random:16")),
    (("target.position=cls",), ("class token",)),
    (("target.layer=layer1", "target.position=[99,0]"), ("target.position", "[99, 0]")),
    (("engine.steps=0",), ("engine.steps", "at least 1")),
    (("engine.steps=many",), ("engine.steps", "many")),
    (("engine.lr=nan",), ("engine.lr", "finite")),
    (("parametrization=pixel", "parametrization.init_std=1e308"), ("init_std", "at most 1e+09")),
    (("target=null",), ("target=null: there is no config without target",)),
    (("target.output=[0]",), ("target.output",)),
    (("method=adversarial", "method.images=mine.png"), ("mine.png is not an image",)),
    (("model.checkpoint='~nosuchuser/x.pth'",), ("no checkpoint file '~nosuchuser/x.pth'",)),
    (("hydra.job.chdir=true", "target.units=99"), ("99",)),
    (("hydra.job_logging.version=2",), ("version",)),
    (("engine.precision=fp8",), ("engine.precision", "fp32, bf16")),
    (("engine.device=quantum",), ("engine.device=quantum",)),
    (("engine.device=hpu",), ("engine.device=hpu cannot be used",)),
    (("--experimental-rerun", "job.pickle"), ("not supported",)),
    (("hydra.output_subdir=x",), ("hydra.output_subdir=x", ".hydra")),
    (("engine.batch_size=0",), ("engine.batch_size",)),
    (("transforms.crop=[0.9,0.1]",), ("transforms.crop",)),
    (("engine.stps=3",), ("engine.stps", "engine.steps")),
    (("+engine.stps=3",), ("engine.stps", "engine.steps")),
    (("targt.layer=logits",), ("targt.layer", "target.layer")),
    (("+colour=red",), ("colour", "model")),
    (("method.regularizers.tv=1",), ("method.regularizers.tv", "total_variation")),
    (("model=tim",), ("tim", "timm")),
    (("transforms=natral",), ("natral", "natural")),
    (("parametrization=forier",), ("forier", "fourier")),
    (("experiment=absent",), ("absent", "experiment")),
    (("method.name=activation",), ("activation", "activation_maximization")),
    (("model.name=glyph",), ("glyph", "glyph_cnn")),
    (("model.source=tim",), ("tim", "timm")),
    (("target.units=[1,",), ("[1,",)),
    (("model.checkpoint=absent.safetensors",), ("absent.safetensors",)),
    ((*TIMM, "model.checkpoint={weights}/shape.safetensors"), ("head.bias 3 for 1000",)),
    ((*TIMM, "+model.kwargs.nonsense=1"), ("nonsense",)),
    ((*TIMM, "model.input.height=100"), ("test_vit", "100")),
]


@pytest.mark.parametrize(("overrides", "words"), WRONG, ids=lambda part: " ".join(part)[:60])
def test_a_wrong_request_is_one_line_status_2_and_leaves_nothing(
    forked_fvis: Call,
    tmp_path: Path,
    bad_weights: Path,
    overrides: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    for name in ("mine.png", "mine.txt"):
        (tmp_path / name).write_text("the user's own")
    filled = [override.replace("{weights}", str(bad_weights)) for override in overrides]
    assert_refused(forked_fvis("run", *QUICK, *filled, cwd=tmp_path), *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.png", "mine.txt"]


@pytest.mark.slow
def test_a_refusal_never_takes_the_users_own_empty_folders(
    forked_fvis: Call, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    cwd = tmp_path / "empty"
    cwd.mkdir()
    assert_refused(forked_fvis("run", "target.units=99", cwd=cwd))
    assert cwd.is_dir()
    override = f"hydra.run.dir={tmp_path}/results/a/b"
    assert_refused(forked_fvis("run", "target.units=99", override, cwd=cwd))
    assert (tmp_path / "results").is_dir()


def test_a_refusal_leaves_an_older_run_in_the_same_folder_alone(
    timm_run: Made, forked_fvis: Call
) -> None:
    before = files(timm_run.folder)
    ran = forked_fvis("run", "target.units=99", "hydra.run.dir=results/here", cwd=timm_run.cwd)
    assert_refused(ran)
    assert files(timm_run.folder) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rum",), ("no command 'rum'", "run")),
        (("layers", "model=tim"), ("tim", "timm")),
        (("layers", "--nonsense"), ("--nonsense", "--config-dir")),
        (("models", "no_such_model_at_all"), ("no_such_model_at_all",)),
        (("models", "a", "b"), ("usage",)),
        (("report",), ("usage",)),
        (("report", "absent"), ("absent", "run.json")),
        (("quiz",), ("usage",)),
        (("quiz", "absent"), ("absent", "run.json")),
        (("quiz", "--score", "absent.json", "absent"), ("absent.json",)),
        (("run", "model.input.height=100000"), ("model.input.height", "at most 16384")),
        (("run", "transforms.views=100000"), ("transforms.views", "at most 1024")),
        (("run", "engine.threads=100000"), ("engine.threads", "at most 1024")),
        (("run", "engine.lr=1e308"), ("engine.lr", "at most 1000")),
        (("run", "target.units=@absent.txt"), ("absent.txt",)),
        (("run", "--nonsense"), ("--nonsense",)),
    ],
)
def test_every_command_refuses_in_one_line(
    forked_fvis: Call, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_refused(forked_fvis(*arguments, cwd=tmp_path), *words)


def test_a_traceback_is_shown_only_when_asked_for(forked_fvis: Call) -> None:
    ran = forked_fvis("run", "target.units=99", FVIS_TRACEBACK="1")
    assert ran.returncode == 2
    assert "Traceback (most recent call last)" in ran.stderr
    assert "in parse_units" in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("fvis: error: ")


@pytest.mark.slow
def test_the_installed_program_refuses_as_the_forked_one_does(fvis: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    assert_refused(fvis("run", "target.layer=layer9", cwd=tmp_path), "layer4")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_part_that_the_config_lacks_is_refused_in_one_line(forked_fvis: Call) -> None:
    assert_refused(forked_fvis("run", "--cfg", "job", "--package", "nosuch"), "nosuch")
    shown = forked_fvis("run", "--cfg", "job", "--package", "engine")
    assert shown.returncode == 0 and "steps:" in shown.stdout


def test_what_is_nobodys_request_is_status_1(forked_fvis: Call, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def build():\n    raise MemoryError('no room')\n")
    ran = forked_fvis(
        "run", "model=factory", "model.factory=net.py:build", "model.input.height=8",
        "model.input.width=8", *QUICK, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr == "fvis: error: no room\n"


def test_an_error_in_a_thread_of_the_networks_is_one_line(
    forked_fvis: Call, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(
        "import threading\n\n\ndef build():\n"
        "    thread = threading.Thread(target=lambda: 1 / 0)\n    thread.start()\n"
        "    thread.join()\n    raise MemoryError('no room')\n"
    )
    ran = forked_fvis(
        "run", "model=factory", "model.factory=net.py:build", "model.input.height=8",
        "model.input.width=8", *QUICK, cwd=tmp_path,
    )  # fmt: skip
    thread, error = ran.stderr.splitlines()
    assert thread == "fvis: warning: a thread ended: division by zero"
    assert error == "fvis: error: no room"


def test_the_folder_is_told_from_where_the_command_was_given(
    forked_fvis: Call, tmp_path: Path
) -> None:
    ran = forked_fvis("run", *QUICK, "hydra.run.dir=out", "hydra.job.chdir=true", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "out\n"), ran.stderr
    assert (tmp_path / "out" / "run.json").is_file()


# --- experiments


EXPERIMENTS = ROOT / "configs" / "experiment"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        file.relative_to(EXPERIMENTS).with_suffix("").as_posix()
        for file in sorted([*EXPERIMENTS.glob("*.yaml"), *EXPERIMENTS.glob("demo/*.yaml")])
    ],
)
def test_every_experiment_runs(
    forked_fvis: Call, tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    override = ["target.units=0", "target.repeats=1", "hydra.run.dir=out", *QUICK]
    if any(word in name for word in ("motion", "demo/drift", "demo/planted")):
        override += ["method.steps=2", "method.pilot_steps=1"]
    if "drift" in name:
        override += SMALL_CLIPS
    if "diffusion" in name:
        pytest.importorskip("diffusers", reason="pip install 'fvis[diffusion]'")
    if name == "demo/imagenet":
        request.getfixturevalue("lite")
    ran = forked_fvis("run", f"experiment={name}", *override, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    run = read(tmp_path / "out" / "run.json")
    assert run["status"] == "done"
    assert run["units"]
    for name in run["units"]:
        unit = read(tmp_path / "out" / "units" / name / "metadata.json")
        assert unit.keys() >= UNIT_KEYS
        assert files(tmp_path / "out" / "units" / name) == {*unit["files"], "metadata.json"}


def test_a_users_own_experiment_is_found_in_its_folder(forked_fvis: Call, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "edges.yaml").write_text(
        "# @package _global_\ntarget:\n  layer: layer1\n  units: [3]\nengine:\n  seed: 7\n"
    )
    ran = forked_fvis("run", "--config-dir", "mine", "experiment=edges", *QUICK, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    unit = read(tmp_path / last_line(ran) / "units" / "layer1-00003" / "metadata.json")
    assert (unit["seed"], unit["steps"]) == (7, 2)
    ran = forked_fvis("layers", "--config-dir", "mine", "experiment=edges", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_options_may_stand_between_overrides(forked_fvis: Call, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "brief.yaml").write_text(
        "# @package _global_\nengine:\n  steps: 1\n"
    )
    words = ("target.units=[3]", "--config-dir", "mine", "experiment=brief", "hydra.run.dir=out")
    ran = forked_fvis("run", *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["config"]["engine"]["steps"] == 1


@pytest.mark.parametrize(
    ("streams", "status", "told"),
    [
        ("2>/dev/full", 0, "out\n"),
        ("2>&-", 0, "out\n"),
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full", 1, ""),
    ],
)
def test_streams_that_fail_or_are_closed_end_no_run(
    tmp_path: Path, streams: str, status: int, told: str
) -> None:
    command = f"{PROGRAM} run target.units=[3] engine.steps=2 hydra.run.dir=out {streams}"
    ran = subprocess.run(
        command, shell=True, cwd=tmp_path, env={**os.environ, **QUIET}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (status, told)
    assert ("stdout cannot be written" in ran.stderr) is (status == 1)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "done"


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    command = f"mkdir gone; cd gone; rmdir ../gone; {PROGRAM} layers 2>&1 | tail -n 1"
    ran = subprocess.run(
        command, shell=True, cwd=tmp_path, env={**os.environ, **QUIET}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.stdout == "fvis: error: the folder that this is run in is no longer there\n"


def test_what_a_network_prints_is_not_on_stdout(forked_fvis: Call, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\ndef build():\n    print('hello')\n"
        "    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    network = (
        "model.source=factory", "model.factory=net.py:build",
        "model.input.height=16", "model.input.width=16",
    )  # fmt: skip
    ran = forked_fvis("run", *network, "engine.steps=2", "hydra.run.dir=out", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "out\n")
    assert "hello" in ran.stderr
    listed = forked_fvis("layers", *network, cwd=tmp_path)
    assert "hello" not in listed.stdout and "hello" in listed.stderr


def test_units_are_read_from_a_file(forked_fvis: Call, tmp_path: Path) -> None:
    (tmp_path / "units.txt").write_text("3  # striped ring\n5, 0:2\n\n# nothing more\n")
    words = ("target.units=@units.txt", "engine.steps=1", "hydra.run.dir=out")
    ran = forked_fvis("run", *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["units"] == [f"logits-{unit:05d}" for unit in (3, 5, 0, 1)]
    assert "units.txt" in record["inputs"]
