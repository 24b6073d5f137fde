"""Odd settings and options on the command line."""

import random
from collections.abc import Mapping, Sequence

from fvis import schema
from fvis.settings import setting_names
from tests.hostile.case import BASE, QUICK, RUN, TEXT, Draft

NUMBERS = (
    "-1", "0", "1", "2", "3", "0.5", "-0.0", "1e-30", "-1e308", "1e308", "1e309", "nan", "inf",
    "-inf", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "340282366920938463463374607431768211456", "1" + "0" * 400, "0x10", "1_000", "0b1", "007",
    "1e", "1.2.3", ".5", "5.", "+3",
)  # fmt: skip
TEXTS = (
    "", "''", '""', "null", "~", "true", "False", "text", "'with space'", "ünïcödé", "猫",
    "'\u202e\u200b'", "'\t'", "'a\nb'", "'\x1b[31mred'", "\udcff\udcfe", "a" * 5000,
    "'" + "b" * 100_000 + "'", "'unclosed", '"unclosed', "back\\slash", "a:b", "a,b", "a=b", "a b",
    "@", "%s{}", "'{}'", "$", "*", "-", "--", "~/x", "../..", "/dev/null", "/", ".",
)  # fmt: skip
STRUCTURES = (
    "[]", "{}", "[1", "1]", "{a", "{a:1}", "{a:{b:{c:1}}}", "[[1]]", "[null]", "[true]", "[1.5]",
    "[a,b]", "[0,0,0]", "[nan,0]", "[1e308,1e308]", "[-1]", "[" * 50 + "]" * 50,
    "[0" + ",0" * 3000 + "]", "{1:2}", "{null:1}", "[{a:1}]", "choice(1,2)", "range(1,3)",
    "glob(*)", "sort(1,2)", "int(x)", "shuffle([1,2])", "extend_list(1)", "json_str(1)",
    "nosuch(1)", "1,2", "[" * 2000,
)  # fmt: skip
INTERPOLATIONS = (
    "${engine.seed}", "${engine}", "${nosuch}", "${nosuch:1}", "${", "${}", "$${x}", "${.x}",
    "${oc.env:HOME}", "${oc.env:NO_SUCH_VARIABLE}", "${oc.decode:'[1'}", "${oc.create:{a:1}}",
    "${hydra:runtime.cwd}", "${now:%Y}", "${now:}", "${engine.steps}", "${${engine.seed}}",
    "${model.input}", "${target}", "${oc.select:nosuch,3}", "${oc.deprecated:engine.seed}", "???",
)  # fmt: skip
SPECIAL: Mapping[str, Sequence[str]] = {
    "engine.device": (
        "meta", "cpu:0", "cpu:99", "cpu:-1", "cuda:0", "mps", "xla", "'cpu '", "CPU", "vulkan",
        "privateuseone", "hpu", "cuda:99999999999999999999",
    ),
    "target.units": (
        "'0:0'", "'5:2'", "'-3:'", "':'", "random:0", "random:-1", "'random:99999999999'",
        "random:x", "'@/dev/zero'", "'@'", "'@.'", "'0:99999999999999999999'", "all,0", "[3,3]",
        "['0']", "[null]", "'0:10:2'", "'random'", "'\u0661'", "'0:9e9'", "'²'",
    ),
    "target.position": (
        "cls", "'-1'", "[0]", "[0,0,0,0]", "[99999999999999999999,0]", "center", "0", "[-1,-1]",
        "['a',0]", "[0.5,0.5]", "all", "{y:1}",
    ),
    "target.layer": (
        "''", "layer1", "layer1.0", "LAYER1", "conv1.0", "'layer1 '", "fc", "0", "..", "layer1..0",
        "act1", "global_pool", "[layer1]",
    ),
    "target.joint": (
        "[{unit:0}]", "[{}]", "[{unit:0,weight:nan}]", "[{unit:0,weight:1e308}]", "[{unit:99}]",
        "[{layer:nosuch,unit:0}]", "[0,1]", "[{unit:0},{unit:0,weight:-1}]", "[{unit:0,weight:0}]",
        "[{unit:all}]", "[{unit:0,colour:1}]", "[[unit,0]]", "{a:[{unit:0}],b:[{unit:1}]}", "{}",
        "{a:3}", "{'../a':[{unit:0}]}", "3",
    ),
    "target.grid": (
        "[0,1]", "[0]", "[0,0]", "[0,99]", "[a,b]", "[]", "[0,1.5]", "[true,false]", "[-1,0]",
    ),
    "target.output": (
        "0", "-1", "x", "[0]", "99", "{a:1}",
    ),
    "method.epsilon": (
        "1/0", "8/", "/8", "1/3/5", "-1/255", "0/255", "1e999", "'8 / 255'", "0", "2",
        "9" * 5000 + "/255", "nan/255", "1e-320", "'½'", "[8/255]",
    ),
    "method.target": (
        "99", "-1", "random", "least_likely", "'random:3'", "[]", "[3,3]", "disc", "''",
        "[random,99]", "1.5", "true", "{a:1}", "99999999999999999999",
    ),
    "method.images": (
        "absent", "zoo:", "zoo:nosuch", "zoo:../weights", "'*'", "'**'", "'['", "/dev/null",
        "/dev/zero", ".", "[]", "[zoo:glyphs,absent]", "''", "'~nosuchuser/x'", "3",
    ),
    "grounding.images": (
        "absent", "zoo:glyphs", "'*'", "'['", "/dev/null", "[]", "''", "{a:1}", "'~nosuchuser'",
    ),
    "grounding.clips": (
        "absent", "zoo:glyphs", "'*'", "'['", "/dev/zero", "[]", "''", "{a:1}", "'http://x/a.mp4'",
    ),
    "grounding.cache": (
        "/dev/null", "/dev/null/x", "''", "x", "0", "'~nosuchuser/x'",
    ),
    "method.transfer": (
        "[zoo/glyph_vit]", "[zoo/nosuch]", "[zoo]", "[nosuch/x]", "[{}]", "[1]", "[null]",
        "[zoo/drift_r3d]", "[{source:zoo,name:glyph_cnn,colour:1}]", "zoo/glyph_vit", "[/]",
    ),
    "method.models": (
        "[zoo/glyph_vit]", "[zoo/nosuch]", "[zoo]", "[{}]", "[1]", "[null]", "[zoo/drift_r3d]",
        "[zoo/glyph_cnn,zoo/glyph_cnn]", "zoo/glyph_vit", "[/]",
    ),
    "method.clips": (
        "absent.mp4", "zoo:glyphs", "'*'", "/dev/zero", "[]", "''", "3",
    ),
    "model.checkpoint": (
        ".", "/dev/null", "/dev/zero", "/proc/self/mem", "''", "'~nosuchuser/x.pth'",
    ),
    "parametrization.start": (
        ".", "/dev/null", "/dev/zero", "''", "x.jpg", "zoo:glyphs", "zoo:", "'~nosuchuser/x.jpg'",
    ),
    "target.direction": (
        ".", "/dev/null", "/dev/zero", "''", "x.npy", "'~nosuchuser/x.npy'",
    ),
    "model.classes": (
        ".", "/dev/null", "/dev/zero", "[]", "[a,b]", "3", "{a:1}", "''", "/proc/self/mem",
        "[" + "a," * 11 + "null]",
    ),
    "model.name": (
        "''", "'../glyph_cnn'", "GLYPH_CNN", "drift_r3d", "'hf-hub:a/b'", "null", "0",
    ),
    "model.source": (
        "timm", "torchvision", "factory", "''", "ZOO", "null",
    ),
    "model.factory": (
        "os:getcwd", "builtins:print", "x", "':'", "'x.py:build'", "'.py:f'", "os:nosuch",
        "os.path:sep", "'..x:f'", "'a b:c'", "sys:exit", "'__main__:x'",
    ),
    "model.kwargs": (
        "{a:1}", "[1]", "{1:2}", "null",
    ),
}  # fmt: skip
OPTIONS = (
    ("--resolve",), ("-sc",), ("-sc", "install=bash"), ("-sc", "install=nosuch"), ("--info",),
    ("--info", "all"), ("--info", "nosuch"), ("--cfg", "job"), ("--cfg", "nosuch"), ("-c", "all"),
    ("-p", "engine"), ("--cfg", "job", "-p", "nosuch"), ("--cfg", "job", "--resolve"),
    ("--config-name", "nosuch"), ("--config-name", ""), ("--config-path", "nosuch"), ("-m",),
    ("--multirun", "engine.seed=1,2"), ("--hydra-help",), ("--version",),
    ("--experimental-rerun", "nosuch"), ("-h",), ("--help",), ("--force",), ("--",), ("-",),
    ("-1",), ("--config-dir",), ("--config-dir=",), ("--config-dir", "nosuch"),
    ("--run", "--multirun"), ("-cd", "."), ("-r",), ("--config-dir", "/dev/null"),
    ("--shell-completion", "query=bash"),
)  # fmt: skip
HYDRA = (
    "hydra=null", "~hydra", "hydra.run=null", "hydra.run.dir=null", "hydra.job.chdir=true",
    "hydra.output_subdir=x", "hydra.verbose=true", "hydra.verbose=nosuch", "hydra.mode=MULTIRUN",
    "hydra.mode=nosuch", "hydra.searchpath=[pkg://nosuch]", "hydra.searchpath=[file:///nosuch]",
    "hydra.searchpath=[x]", "hydra.searchpath=3", "hydra.callbacks=null", "hydra/job_logging=none",
    "hydra/launcher=nosuch", "hydra/sweeper=nosuch", "hydra.sweeper.params={engine.seed:1}",
    "hydra.job.name=''", "hydra.job.name='a/b'", "hydra.callbacks.x._target_=nosuch.Class",
    "hydra.callbacks.x=3", "hydra.job.env_set.A=1", "hydra.job.env_set={A:null}",
    "hydra.run.dir=${nosuch}", "hydra.run.dir=${engine.seed}", "hydra/output=nosuch",
    "hydra.job.config.override_dirname.kv_sep=3", "hydra.job_logging.version=2",
    "hydra.help.template=3", "hydra.sweep.dir=null",
)  # fmt: skip
WORDS = (
    "", "=", "=1", "+", "~", "++", "+=1", "~=", "a", "a b", "-", "+colour=red", "~method",
    "~target", "~engine.seed", "~model", "engine=null", "model=null", "method=null", "target=null",
    "output=null", "parametrization=null", "transforms=null", "grounding=null", "experiment=null",
    "experiment=''", "+engine=default", "+model=glyph_vit", "model=[glyph_cnn,glyph_vit]",
    "model=../model/glyph_cnn", "experiment=../model/glyph_cnn", "engine@x=default",
    "+engine@model=default", "model@target=glyph_cnn", "target.layer", "TARGET.layer=logits",
    "target..layer=1", ".target=1", "target.=1", "engine.[0]=1", "target[0]=1", "model.input=null",
    "model.input=3", "method.regularizers=null", "method.velocity=null", "experiment=/etc/passwd",
    "model=null,glyph_cnn", "~engine=default", "~engine=nosuch", "::", "\u202ea=1",
)  # fmt: skip
METHODS = {
    "accentuation": ("method=accentuation", "parametrization.start=zoo:glyphs/03-striped-disc.png"),
    "activation_maximization": (),
    "inversion": ("method=inversion", "method.images=zoo:glyphs"),
    "adversarial": ("method=adversarial", "method.images=zoo:glyphs", "method.target=3"),
    "texture_motion": (
        "method=texture_motion", "model=drift_r3d", "method.steps=2", "method.pilot_steps=1",
        "method.finalists=1",
        "method.fit.frame_steps=2", "method.fit.refine_steps=2", "method.fit.joint_steps=2",
    ),
}  # fmt: skip
TEXT_OPTIONS = {
    "-sc", "--info", "--cfg", "-c", "--hydra-help", "--version", "-h", "--help",
    "--shell-completion",
}  # fmt: skip


def make(rng: random.Random) -> Draft:
    """A command with one to three odd words."""
    if rng.random() < 0.04:
        pattern = rng.choice((*TEXTS, *STRUCTURES[:12], "[", "[!", "**", "nosuch", "resnet1*"))
        return Draft(("models", pattern), "an odd pattern", leaves=TEXT)
    choices, name = _setting(rng)
    words = [*choices, *_word(rng, name)]
    for _ in range(rng.choices((0, 1, 2), (6, 3, 1))[0]):
        extra = rng.choice((_word(rng, _setting(rng)[1]), _anything(rng)))
        words[rng.randrange(len(choices), len(words) + 1) :] = extra
    shown = " ".join(words)
    if rng.random() < 0.08:
        return Draft(("layers", *words), shown, leaves=TEXT)
    return _drafted((*(BASE if "units" in shown else QUICK), *words), shown)


def _drafted(words: tuple[str, ...], shown: str) -> Draft:
    """A run, or a sweep, or a command that only prints something."""
    prints = any(word in TEXT_OPTIONS for word in words)
    verbose = "hydra.verbose" in shown
    sweeps = any(word in ("-m", "--multirun", "hydra.mode=MULTIRUN") for word in words)
    leaves, chatty = TEXT if prints else RUN, sweeps or verbose
    return Draft(("run", *words), shown, leaves=leaves, several=sweeps, chatty=chatty)


def _setting(rng: random.Random) -> tuple[tuple[str, ...], str]:
    """A setting's name, and what has to be chosen for it; sometimes the wrong choice."""
    key = rng.choice((*schema.SECTIONS, *schema.CHOICES, "method"))
    if key in schema.SECTIONS:
        return (), rng.choice(list(setting_names(key, schema.SECTIONS[key])))
    if rng.random() < 0.1:
        return (), rng.choice(list(schema.all_setting_names()))
    choice = rng.choice(sorted(schema.CHOICES[key]))
    name = rng.choice(list(setting_names(key, schema.CHOICES[key][choice])))
    return METHODS[choice] if key == "method" else (f"parametrization={choice}",), name


def _word(rng: random.Random, name: str) -> list[str]:
    """One override of a setting, or two of the same one."""
    value = _value(rng, name)
    form = rng.choices(
        ("{n}={v}", "+{n}={v}", "++{n}={v}", "~{n}", "{n}", "+{n}.x={v}", "~{n}={v}", "{n}.0={v}"),
        (70, 4, 6, 3, 1, 2, 1, 1),
    )[0]
    if name.endswith("steps") and (form == "~{n}" or value == "1_000"):  # a long run, and lawful
        form, value = "{n}={v}", "1e"
    words = [form.format(n=name, v=value)]
    if rng.random() < 0.05:
        words.append(f"{name}={_value(rng, name)}")
    return words


def _value(rng: random.Random, name: str) -> str:
    pools: list[Sequence[str]] = [NUMBERS, TEXTS, STRUCTURES, INTERPOLATIONS]
    weights = [5, 3, 3, 2]
    if name in SPECIAL:
        pools.append(SPECIAL[name])
        weights.append(13)
    return rng.choice(rng.choices(pools, weights)[0])


def _anything(rng: random.Random) -> list[str]:
    return rng.choice(([rng.choice(HYDRA)], [rng.choice(WORDS)], list(rng.choice(OPTIONS))))
