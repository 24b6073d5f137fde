"""The config of a run, as typed dataclasses: its sections, and the choices that some have."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fvis.errors import RequestError, unknown
from fvis.schema.engine import (
    EngineConfig,
    ExecutionConfig,
    HereConfig,
    OutputConfig,
    RayConfig,
)
from fvis.schema.methods import (
    AccentuationConfig,
    ActivationMaximizationConfig,
    AdversarialConfig,
    CaricatureConfig,
    InversionConfig,
    MethodConfig,
    TextureMotionConfig,
)
from fvis.schema.networks import (
    ModelConfig,
    TargetConfig,
)
from fvis.schema.pictures import (
    DenoiserConfig,
    DiffusionConfig,
    FourierConfig,
    GeneratorConfig,
    NoPriorConfig,
    ParametrizationConfig,
    PhaseConfig,
    PictureConfig,
    PixelConfig,
    PriorConfig,
    PyramidConfig,
    StatisticsConfig,
    TransformsConfig,
)
from fvis.schema.witnesses import (
    EvidenceConfig,
    GroundingConfig,
)
from fvis.settings import section, setting_names

EMBEDDINGS = ("auto", "dreamsim")  # that are named by themselves


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
        CaricatureConfig,
    )
}

PRIORS: dict[str, type[PriorConfig]] = {
    c.name: c
    for c in (NoPriorConfig, GeneratorConfig, DenoiserConfig, DiffusionConfig, StatisticsConfig)
}

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

    Its `name` must default to the name under which the choice is registered. Raises `TypeError` for
    a class of no such kind.
    """
    key = next((key for key, base in KINDS.items() if issubclass(kind, base)), None)
    if key is None:
        bases = ", ".join(base.__name__ for base in KINDS.values())
        raise TypeError(f"{kind.__name__} extends none of {bases}")
    CHOICES[key][kind.name] = kind


def start_of(config: Config) -> str | None:
    """The photograph that pictures start as (`parametrization.start`); None for none."""
    settings = config.parametrization
    return settings.start if isinstance(settings, PictureConfig) else None


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


def networks_of(evidence: EvidenceConfig) -> list[ModelConfig]:
    """The networks that a config asks evidence of, except those that have names of their own."""
    embedding = evidence.embedding
    own = [] if embedding in (None, *EMBEDDINGS) else [embedding]
    strangers = parse_models(evidence.strangers, "evidence.strangers")
    return [*parse_models(own, "evidence.embedding"), *strangers]


def all_setting_names() -> Iterator[str]:
    """The dotted names of the settings of all sections and of all their choices."""
    kinds = [*SECTIONS.items()]
    kinds += [(key, kind) for key, choices in CHOICES.items() for kind in choices.values()]
    for key, kind in kinds:
        yield from setting_names(key, kind)


def sections_with(setting: str) -> list[str]:
    """The sections that have a setting of this name.

    >>> sections_with("steps"), sections_with("zebra")
    (['engine', 'method'], [])
    """
    names = [name for name in all_setting_names() if name.partition(".")[2] == setting]
    return list(dict.fromkeys(name.partition(".")[0] for name in names))


def unknown_setting(name: str) -> RequestError:
    """A `RequestError` for a setting that the config, as it was composed, does not have."""
    section = name.partition(".")[0]
    if section == name:
        return unknown("group or section", name, [*SECTIONS, *CHOICES, "experiment"])
    if name in ("output.dir", "output.directory", "output.folder", "output.path"):
        return RequestError(
            f"no setting {name!r}; hydra.run.dir is the folder of a run, hydra.sweep.dir of a sweep"
        )
    if name not in all_setting_names():
        return unknown("setting", name, all_setting_names())
    kinds = CHOICES.get(section, {}).items()
    owners = [choice for choice, kind in kinds if name in setting_names(section, kind)]
    if owners:
        return RequestError(f"{name} is a setting of {section}={' or '.join(owners)} alone")
    return RequestError(f"{name} cannot be set: the config has no section {section}")
