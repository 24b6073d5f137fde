"""The config as typed dataclasses: every setting's name, type and range, checked by `parse`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fvis import grammar
from fvis.errors import RequestError, unknown
from fvis.paths import expand
from fvis.registry import load_entry_points, module_names
from fvis.settings import own_environment, section, setting, setting_names

MOST_STEPS = 10_000_000
EMBEDDINGS = ("auto", "dreamsim")  # that are named by themselves
EVIDENCE_ASKED = ("embedding", "seeds", "minimising", "strangers")  # what is not gathered unasked
OWN_PICTURES = "zoo:"  # precedes the name of a set of pictures that comes with the package


@dataclass
class InputConfig:
    """The network's input; `None` means the value that the library declares for the model."""

    mean: list[float] | None = setting(None, at_least=0, at_most=1)
    std: list[float] | None = setting(None, above=0)
    height: int | None = setting(None, at_least=1, at_most=16_384)
    width: int | None = setting(None, at_least=1, at_most=16_384)
    frames: int | None = setting(None, at_least=1, at_most=4096)


@dataclass
class ModelConfig:
    """Which network, with which weights."""

    source: str = "zoo"
    name: str | None = "glyph_cnn"
    pretrained: bool = True
    checkpoint: str | None = None
    factory: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    classes: Any = None
    attends: bool | None = None
    input: InputConfig = field(default_factory=InputConfig)


@dataclass
class TargetConfig:
    """Which units of which layers, and the position at which they are read (`objectives`)."""

    layer: Any = "logits"
    units: Any = "all"
    position: Any = "mean"
    direction: str | None = None
    dictionary: str | None = None
    read: str = setting("pre", one_of=("pre", "post", "decoder"))
    joint: Any = None
    grid: list[Any] | None = None
    grid_steps: int = setting(5, at_least=2, at_most=101)
    repeats: int = setting(1, at_least=1, at_most=1000)
    diversity: float = setting(0.5, at_least=0, at_most=1e6)
    output: Any = None
    channel_dim: int | None = None
    prefix_tokens: int | None = setting(None, at_least=0)

    @property
    def is_joint(self) -> bool:
        """Whether it asks for weighted sums of units."""
        return self.joint is not None or self.grid is not None


@dataclass
class ParametrizationConfig:
    """The setting of every parametrization: `name`, under which it is registered."""

    name: str = ""


@dataclass
class PictureConfig(ParametrizationConfig):
    """What fvis's own parametrizations share: the photograph that an image may start as."""

    start: str | None = None


@dataclass
class PixelConfig(PictureConfig):
    """`parametrizations/pixel.py`."""

    name: str = "pixel"
    init_std: float = setting(0.5, at_least=0)


@dataclass
class FourierConfig(PictureConfig):
    """`parametrizations/fourier.py`."""

    name: str = "fourier"
    init_std: float = setting(0.01, above=0)
    decay: float | None = setting(None, at_least=0)
    temporal_decay: float = setting(1.0, at_least=0)
    blur: float | None = setting(None, at_least=0)
    decorrelate: bool = True


@dataclass
class PhaseConfig(PictureConfig):
    """`parametrizations/phase.py`."""

    name: str = "phase"
    contrast: float = setting(1.0, above=0)
    temporal_decay: float = setting(1.0, at_least=0)


@dataclass
class PyramidConfig(PictureConfig):
    """`parametrizations/pyramid.py`."""

    name: str = "pyramid"
    init_std: float = setting(0.1, above=0)
    coarsest: int = setting(4, at_least=1)
    decorrelate: bool = True


@dataclass
class PriorConfig:
    """The setting of every prior: `name`, under which it is registered."""

    name: str = ""


@dataclass
class NoPriorConfig(PriorConfig):
    """No prior: what a picture is held by is its parametrization, views and regularizers."""

    name: str = "none"


@dataclass
class ComparedPriorConfig(PriorConfig):
    """What all priors share: whether pictures are also made without, to tell its effect."""

    compare: bool = True


@dataclass
class FactoryPriorConfig(ComparedPriorConfig):
    """A prior that a function of the user's builds, called with `kwargs`."""

    factory: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class GeneratorConfig(FactoryPriorConfig):
    """`priors/generator.py`."""

    name: str = "generator"
    latent: list[int] = setting([128], at_least=1, at_most=16_777_216)
    range: list[float] = setting([-1.0, 1.0])
    init_std: float = setting(1.0, at_least=0)
    decay: float = setting(0.5, at_least=0)


@dataclass
class DenoiserConfig(FactoryPriorConfig):
    """`priors/denoiser.py`."""

    name: str = "denoiser"
    weight: float = setting(0.5, above=0, at_most=1e6)
    sigma: list[float] = setting([0.16, 0.04], above=0, at_most=1)


@dataclass
class DiffusionConfig(ComparedPriorConfig):
    """`priors/diffusion.py`."""

    name: str = "diffusion"
    model: str | None = None
    strength: float = setting(0.3, at_least=0, at_most=100)
    prompt: str = ""
    negative: str = ""
    label: int | None = setting(None, at_least=0)
    guidance: float = setting(1.0, at_least=0, at_most=100)


@dataclass
class TransformsConfig:
    """The random views of `transforms.py`."""

    views: int = setting(1, at_least=1, at_most=1024)
    crop: list[float] | None = setting([1.0, 1.0], above=0, at_most=1)
    shift: float = setting(0.0, at_least=0, at_most=1)
    rotate: float | None = setting(0.0, at_least=0, at_most=180)
    flip: bool | None = False
    noise: float = setting(0.0, at_least=0, at_most=10)
    gain: float | None = setting(0.0, at_least=0, at_most=5)
    offset: float | None = setting(0.0, at_least=0, at_most=1)
    settle: float | None = setting(0.0, at_least=0, at_most=1)
    settle_noise: float | None = setting(0.0, at_least=0, at_most=1)
    time_shift: float = setting(0.0, at_least=0, at_most=4096)
    time_scale: float = setting(0.0, at_least=0, at_most=0.9)


@dataclass
class RegularizersConfig:
    """Weights relative to the activation's own gradient (see `regularizers.py`)."""

    total_variation: float = setting(0.0, at_least=0, at_most=1e6)
    l2: float = setting(0.0, at_least=0, at_most=1e6)


@dataclass
class MethodConfig:
    """The setting of every method: `name`, under which it is registered."""

    name: str = ""


@dataclass
class AscentConfig(MethodConfig):
    """Settings of all methods whose pictures climb a score (`ascent.py`)."""

    regularizers: RegularizersConfig = field(default_factory=RegularizersConfig)


@dataclass
class SynthesisConfig(AscentConfig):
    """Settings of all methods that synthesise optimal pictures (`synthesis.py`)."""

    rescue: bool = True


@dataclass
class ActivationMaximizationConfig(SynthesisConfig):
    """`methods/activation_maximization.py`."""

    name: str = "activation_maximization"


@dataclass
class VelocityConfig:
    """The velocity's cosine series (`motion/factored.py`)."""

    terms: int = setting(6, at_least=1)
    scale: float = setting(1.6, above=0)
    decay: float = setting(2.0, at_least=0)
    weight_decay: float = setting(0.04, at_least=0)


@dataclass
class FitConfig:
    """The fit of a texture and its displacement to a clip (`motion/decomposition.py`)."""

    frame_steps: int = setting(100, at_least=1, at_most=MOST_STEPS)
    refine_steps: int = setting(200, at_least=1, at_most=MOST_STEPS)
    smoothness: float = setting(1e-3, at_least=0)
    joint_steps: int = setting(600, at_least=1, at_most=MOST_STEPS)
    joint_smoothness: float = setting(1.0, at_least=0)
    texture_smoothness: float = setting(1.0, at_least=0)
    anchor: float = setting(1.0, at_least=0)


@dataclass
class TextureMotionConfig(SynthesisConfig):
    """`methods/texture_motion.py`."""

    name: str = "texture_motion"
    solver: str = setting("factored", one_of=("factored", "tracking", "joint"))
    steps: int = setting(200, at_least=1, at_most=MOST_STEPS)
    pilot_steps: int = setting(24, at_least=0, at_most=MOST_STEPS)
    finalists: int = setting(3, at_least=1, at_most=11)
    lr_scale: float = setting(2.5, above=0)
    decay: float | None = setting(1.0, at_least=0)
    margin: float = setting(0.5, at_least=0, at_most=2)
    velocity: VelocityConfig = field(default_factory=VelocityConfig)
    fit: FitConfig = field(default_factory=FitConfig)


@dataclass
class AdversarialConfig(MethodConfig):
    """`methods/adversarial.py`."""

    name: str = "adversarial"
    images: Any = None
    clips: Any = None
    models: list[Any] = field(default_factory=list)
    target: Any = "random"
    norm: str = setting("linf", one_of=("linf", "l2", "none"))
    epsilon: Any = "8/255"
    objective: str = setting("margin", one_of=("margin", "logit", "cross_entropy"))
    confidence: float = setting(0.1, at_least=0)
    probability: float = setting(0.5, at_least=0, at_most=0.999)
    tv: float = setting(1.0, at_least=0)
    size: float = setting(0.3, at_least=0)
    cutoff: float | None = setting(0.1, above=0)
    step: float = setting(1.5, above=0)
    transfer: list[Any] = field(default_factory=list)


@dataclass
class AccentuationConfig(AscentConfig):
    """`methods/accentuation.py`."""

    name: str = "accentuation"
    strongest: int = setting(3, at_least=1, at_most=100)
    layer: str | None = None
    weight: float = setting(0.3, at_least=0, at_most=1e6)
    norm: str = setting("none", one_of=("linf", "l2", "none"))
    epsilon: Any = "32/255"


@dataclass
class InversionConfig(AscentConfig):
    """`methods/inversion.py`."""

    name: str = "inversion"
    images: Any = None
    objective: str = setting("distance", one_of=("distance", "caricature"))
    power: float = setting(2.0, at_least=0, at_most=100)
    regularizers: RegularizersConfig = field(
        default_factory=lambda: RegularizersConfig(total_variation=0.2)
    )


@dataclass
class GroundingConfig:
    """Photographs and videos that pictures are compared with (`grounding.py`)."""

    images: Any = None
    clips: Any = None
    patches: int = setting(9, at_least=1, at_most=100)
    drifts: int = setting(16, at_least=1)
    cache: str | None = None


@dataclass
class EvidenceConfig:
    """What says how far to believe each picture (`evidence`)."""

    path: bool = True
    embedding: Any = None
    tasks: int = setting(11, at_least=1, at_most=1000)
    references: int = setting(9, at_least=1, at_most=100)
    seeds: int = setting(0, at_least=0, at_most=100)
    minimising: int = setting(0, at_least=0, at_most=100)
    strangers: list[Any] = field(default_factory=list)


@dataclass
class EngineConfig:
    """How the ascent is run."""

    device: str = "auto"
    precision: str = setting("fp32", one_of=("fp32", "bf16"))
    batch_size: Any = "auto"
    canvas: Any = "auto"
    steps: int = setting(160, at_least=1, at_most=MOST_STEPS)
    lr: float = setting(0.07, above=0, at_most=1000)
    lr_final: float = setting(0.2, at_least=0, at_most=1)
    betas: list[float] = setting([0.5, 0.99], at_least=0, at_most=0.9999)
    seed: int = setting(0, at_least=0, at_most=2**63 - 1)
    log_every: int = setting(8, at_least=1, at_most=MOST_STEPS)
    fold: str = setting("auto", one_of=("auto", "never"))
    channels_last: Any = "auto"
    checkpoint_every: int = setting(60, at_least=0, at_most=1_000_000)
    threads: int | None = setting(None, at_least=1, at_most=1024)


@dataclass
class OutputConfig:
    """The files of clips: frames per second, and whether each is also written as MP4."""

    fps: int = setting(8, at_least=1, at_most=60)
    mp4: bool = True


@dataclass
class ExecutionConfig:
    """The setting of every execution: `name`, under which it is registered."""

    name: str = ""


@dataclass
class HereConfig(ExecutionConfig):
    """`execution/here.py`."""

    name: str = "here"
    writers: int = setting(2, at_least=0, at_most=64)


PARAMETRIZATIONS: dict[str, type[ParametrizationConfig]] = {
    c.name: c for c in (PixelConfig, FourierConfig, PhaseConfig, PyramidConfig)
}
METHODS: dict[str, type[MethodConfig]] = {
    c.name: c
    for c in (
        ActivationMaximizationConfig,
        TextureMotionConfig,
        AdversarialConfig,
        AccentuationConfig,
        InversionConfig,
    )
}

PRIORS: dict[str, type[PriorConfig]] = {
    c.name: c for c in (NoPriorConfig, GeneratorConfig, DenoiserConfig, DiffusionConfig)
}


@dataclass
class RayConfig(ExecutionConfig):
    """`execution/ray.py`."""

    name: str = "ray"
    workers: int | None = setting(None, at_least=1, at_most=10_000)
    address: str | None = None


EXECUTIONS: dict[str, type[ExecutionConfig]] = {c.name: c for c in (HereConfig, RayConfig)}


@dataclass
class Config:
    """All settings of one run; its pictures depend on all but `execution`."""

    model: ModelConfig
    target: TargetConfig
    method: MethodConfig
    parametrization: ParametrizationConfig
    transforms: TransformsConfig
    engine: EngineConfig
    output: OutputConfig
    grounding: GroundingConfig = field(default_factory=GroundingConfig)
    execution: ExecutionConfig = field(default_factory=HereConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    prior: PriorConfig = field(default_factory=NoPriorConfig)


SECTIONS: Mapping[str, type] = {
    "model": ModelConfig,
    "target": TargetConfig,
    "transforms": TransformsConfig,
    "engine": EngineConfig,
    "output": OutputConfig,
    "grounding": GroundingConfig,
    "evidence": EvidenceConfig,
}
CHOICES: Mapping[str, dict[str, Any]] = {
    "method": METHODS,
    "parametrization": PARAMETRIZATIONS,
    "execution": EXECUTIONS,
    "prior": PRIORS,
}
KINDS: Mapping[str, type] = {
    "method": MethodConfig,
    "parametrization": ParametrizationConfig,
    "prior": PriorConfig,
}
SINCE = ("execution", "prior")  # groups that the first versions did not have
ENTRY_POINTS = {key: f"fvis.{key}s" for key in KINDS}


def register(kind: type[MethodConfig] | type[ParametrizationConfig] | type[PriorConfig]) -> None:
    """Register the settings dataclass of another package's method, parametrization or prior.

    Its `name` must default to the name under which the choice is registered.
    """
    key = next(key for key, base in KINDS.items() if issubclass(kind, base))
    CHOICES[key][kind.name] = kind


def parse(composed: DictConfig) -> Config:
    """The composed config, typed and checked; raises `RequestError` naming the setting at fault."""
    with own_environment():
        config = _parsed(composed)
    _validate_engine(config.engine)
    _validate_crop(config.transforms)
    _validate_target(config.target)
    _validate_source(config.model.source)
    _validate_grounding(config)
    _validate_evidence(config)
    _validate_start(config)
    _validate_photographs(config)
    _validate_prior(config)
    return config


def start_of(config: Config) -> str | None:
    """The photograph that pictures start as (`parametrization.start`); None for none."""
    settings = config.parametrization
    return settings.start if isinstance(settings, PictureConfig) else None


def _parsed(composed: DictConfig) -> Config:
    stray = {str(key) for key in composed} - set(SECTIONS) - set(CHOICES)
    if stray:
        raise unknown("config section", min(stray), [*SECTIONS, *CHOICES])
    sections: dict[str, Any] = {
        key: section(composed.get(key, {}), key, kind) for key, kind in SECTIONS.items()
    }
    for key, kinds in CHOICES.items():
        if key in SINCE and key not in composed:
            continue  # the record of a run of an fvis that had no such group
        name = str(OmegaConf.select(composed, f"{key}.name"))
        if name not in kinds and key in ENTRY_POINTS:
            load_entry_points(ENTRY_POINTS[key])  # another package may call `register`
        if name not in kinds:
            raise unknown(key, name, kinds)
        sections[key] = section(composed.get(key, {}), key, kinds[name])
    return Config(**sections)


def parse_models(specs: Sequence[Any], setting: str) -> list[ModelConfig]:
    """Models given as `source/name`, with the library's weights, or as mappings of settings."""
    found = []
    for spec in specs:
        settings = spec
        if isinstance(spec, str):
            source, slash, name = spec.partition("/")
            if not slash:
                raise RequestError(f"{setting} has {spec!r}; it takes source/name, or settings")
            settings = {"source": source, "name": name}
        if not isinstance(settings, Mapping):
            raise RequestError(f"{setting} has {spec!r}; it takes source/name, or settings")
        found.append(section({"name": None, **settings}, setting, ModelConfig))
    return found


def all_setting_names() -> Iterator[str]:
    """The dotted names of the settings of all sections and of all their choices."""
    kinds = [*SECTIONS.items()]
    kinds += [(key, kind) for key, choices in CHOICES.items() for kind in choices.values()]
    for key, kind in kinds:
        yield from setting_names(key, kind)


def unknown_setting(name: str) -> RequestError:
    """A `RequestError` for a setting that the config, as it was composed, does not have."""
    section = name.partition(".")[0]
    if section == name:
        return unknown("group or section", name, [*SECTIONS, *CHOICES, "experiment"])
    if name not in all_setting_names():
        return unknown("setting", name, all_setting_names())
    kinds = CHOICES.get(section, {}).items()
    owners = [choice for choice, kind in kinds if name in setting_names(section, kind)]
    if owners:
        return RequestError(f"{name} is a setting of {section}={' or '.join(owners)} alone")
    return RequestError(f"{name} cannot be set: the config has no section {section}")


def _validate_engine(engine: EngineConfig) -> None:
    if len(engine.betas) != 2:
        raise RequestError(f"engine.betas is {engine.betas}; it takes Adam's two decay rates")
    if not (engine.channels_last == "auto" or isinstance(engine.channels_last, bool)):
        given = engine.channels_last
        raise RequestError(f"engine.channels_last is {given!r}; it takes auto, true or false")
    for name, words in (("batch_size", ("auto",)), ("canvas", ("auto", "full"))):
        given = getattr(engine, name)
        if given not in words and not (type(given) is int and given >= 1):
            takes = ", ".join(words)
            raise RequestError(
                f"engine.{name} is {given!r}; it takes {takes} or a whole number from 1"
            )


def _validate_grounding(config: Config) -> None:
    without: dict[str, tuple[type, ...]] = {
        "images": (AdversarialConfig, InversionConfig),
        "clips": (AdversarialConfig, InversionConfig, AccentuationConfig),
    }
    for name, methods in without.items():
        if getattr(config.grounding, name) and isinstance(config.method, methods):
            raise RequestError(
                f"grounding.{name} needs a method whose pictures it compares with natural ones: "
                "activation_maximization or texture_motion"
            )


def _validate_evidence(config: Config) -> None:
    evidence, method = config.evidence, config.method.name
    asked = [name for name in EVIDENCE_ASKED if getattr(evidence, name)]
    if asked and method != ActivationMaximizationConfig.name:
        raise RequestError(
            f"evidence.{asked[0]} needs method=activation_maximization; method={method} has its own"
        )
    if evidence.embedding is not None and not (config.grounding.images or evidence.seeds):
        raise RequestError(
            "evidence.embedding needs photographs for its tasks (grounding.images), or pictures "
            "from other seeds to compare (evidence.seeds)"
        )
    networks_of(evidence)  # which names what is no network


def _validate_photographs(config: Config) -> None:
    """Refuse what the methods that work on photographs lack or cannot do."""
    method, target = config.method, config.target
    if not isinstance(method, AccentuationConfig | InversionConfig):
        return
    if target.repeats > 1:
        raise RequestError(f"method={method.name} makes one picture: target.repeats must be 1")
    if isinstance(method, AccentuationConfig):
        if start_of(config) is None and not config.grounding.images:
            raise RequestError(
                "method=accentuation needs a photograph, parametrization.start, or photographs to "
                "take each unit's strongest of: grounding.images"
            )
        return
    if not method.images:
        raise RequestError("method=inversion needs method.images: files, folders or globs")
    asked = (target.direction, target.joint, target.dictionary)
    if any(given is not None for given in asked) or target.position != "mean":
        raise RequestError(
            "method=inversion shows a whole layer: it takes target.layer, and no direction, joint, "
            "dictionary or position"
        )


def _validate_start(config: Config) -> None:
    start = start_of(config)
    if start is None:
        return
    if not start.startswith(OWN_PICTURES) and not expand(start).is_file():
        raise RequestError(f"parametrization.start: no file {start!r}")
    if config.engine.canvas not in ("auto", "full"):
        raise RequestError("parametrization.start is a whole picture: it takes engine.canvas=full")
    if isinstance(config.method, TextureMotionConfig):
        raise RequestError("parametrization.start takes methods of images, not texture_motion")


def _validate_prior(config: Config) -> None:
    prior = config.prior
    if isinstance(prior, NoPriorConfig):
        return
    if config.method.name != ActivationMaximizationConfig.name:
        raise RequestError(
            f"prior={prior.name} holds the pictures of method=activation_maximization alone; "
            f"with method={config.method.name} leave it prior=none"
        )
    if isinstance(prior, FactoryPriorConfig) and not prior.factory:
        raise RequestError(
            f"prior={prior.name} needs prior.factory=path/to/file.py:function "
            "or package.module:function"
        )
    if isinstance(prior, DiffusionConfig) and not prior.model:
        raise RequestError("prior=diffusion needs prior.model=FOLDER, or owner/name of the hub")
    if isinstance(prior, DenoiserConfig) and len(prior.sigma) != 2:
        raise RequestError(
            f"prior.sigma is {prior.sigma}; it takes [at the first step, at the last]"
        )
    whole = isinstance(prior, GeneratorConfig | DiffusionConfig)
    if whole and config.engine.canvas not in ("auto", "full"):
        raise RequestError(
            f"engine.canvas={config.engine.canvas}: prior={prior.name} makes whole pictures; "
            "leave it auto or full"
        )
    if isinstance(prior, GeneratorConfig) and (
        len(prior.range) != 2 or prior.range[0] >= prior.range[1]
    ):
        raise RequestError(f"prior.range is {prior.range}; it takes the values [black, white]")


def _validate_target(target: TargetConfig) -> None:
    """Check the layers, whose paths may look like numbers, and become text; and the output."""
    words = target.layer if isinstance(target.layer, list) else [target.layer]
    if not words or not all(isinstance(word, str | int | float) for word in words):
        raise RequestError(
            f"target.layer is {target.layer!r}; it takes a path, a glob, stages, or a list of these"
        )
    target.layer = [*map(str, words)] if isinstance(target.layer, list) else str(target.layer)
    if isinstance(target.units, Mapping):
        target.units = {str(layer): units for layer, units in target.units.items()}
    if target.output is not None and not isinstance(target.output, int | str):
        raise RequestError(f"target.output is {target.output!r}; it takes an index or a key")
    grammar.parse_position(target.position)
    if target.direction is None and not target.is_joint:
        grammar.unit_words(target.units)


def _validate_source(name: str) -> None:
    """Refuse a source that there is not, unless another package may have it."""
    known = set(module_names("fvis.models.sources")) - {"base"}
    if name not in known and not entry_points(group="fvis.sources"):
        raise unknown("model.source", name, known)


def _validate_crop(transforms: TransformsConfig) -> None:
    crop = transforms.crop
    if crop is not None and (len(crop) != 2 or crop[0] > crop[1]):
        raise RequestError(f"transforms.crop is {crop}; it takes [smallest, largest] side fraction")


def networks_of(evidence: EvidenceConfig) -> list[ModelConfig]:
    """The networks that a config asks evidence of, except those that have names of their own."""
    embedding = evidence.embedding
    own = [] if embedding in (None, *EMBEDDINGS) else [embedding]
    strangers = parse_models(evidence.strangers, "evidence.strangers")
    return [*parse_models(own, "evidence.embedding"), *strangers]
