"""Reads a composed config into dataclasses, and checks what no single type can."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fvis import grammar
from fvis.errors import RequestError, unknown
from fvis.paths import expand
from fvis.registry import load_entry_points, module_names
from fvis.schema.config import (
    CHOICES,
    ENTRY_POINTS,
    SECTIONS,
    SINCE,
    Config,
    networks_of,
    parse_models,
    start_of,
)
from fvis.schema.engine import (
    EngineConfig,
)
from fvis.schema.methods import (
    AccentuationConfig,
    ActivationMaximizationConfig,
    AdversarialConfig,
    InversionConfig,
    TextureMotionConfig,
)
from fvis.schema.networks import (
    TargetConfig,
)
from fvis.schema.pictures import (
    DenoiserConfig,
    DiffusionConfig,
    FactoryPriorConfig,
    GeneratorConfig,
    NoPriorConfig,
    StatisticsConfig,
    TransformsConfig,
)
from fvis.settings import own_environment, section

EVIDENCE_ASKED = ("embedding", "seeds", "minimising", "strangers")  # what is not gathered unasked
COMPARED = {  # methods whose pictures are compared with photographs, and with videos
    "images": ("activation_maximization", "texture_motion", "accentuation"),
    "clips": ("activation_maximization", "texture_motion"),
}
OWN_PICTURES = "zoo:"  # precedes the name of a set of pictures that comes with the package


def parse(composed: DictConfig) -> Config:
    """The composed config, typed and checked; raises `RequestError` naming the setting at fault."""
    with own_environment():
        config = _parsed(composed)
    _name_folders(config)
    _validate_engine(config.engine)
    _validate_crop(config.transforms)
    _validate_target(config.target)
    _validate_sign(config)
    _validate_source(config.model.source)
    _validate_grounding(config)
    _validate_evidence(config)
    _validate_start(config)
    _validate_photographs(config)
    _validate_classes(config)
    _validate_prior(config)
    _validate_graph(config)
    return config


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


def _name_folders(config: Config) -> None:
    """Make text of a folder whose name is a number, as those are that a sweep makes."""
    for part in (config.grounding, config.method, config.prior):
        for name in ("images", "clips"):
            given = getattr(part, name, None)
            if isinstance(given, int | float) and not isinstance(given, bool):
                setattr(part, name, str(given))


def _validate_engine(engine: EngineConfig) -> None:
    if len(engine.betas) != 2:
        raise RequestError(f"engine.betas is {engine.betas}; it takes Adam's two decay rates")
    for name in ("channels_last", "graph"):
        given = getattr(engine, name)
        if not (given == "auto" or isinstance(given, bool)):
            raise RequestError(f"engine.{name} is {given!r}; it takes auto, true or false")
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
                + " or ".join(COMPARED[name])
            )


def _validate_evidence(config: Config) -> None:
    evidence, method = config.evidence, config.method.name
    asked = [name for name in EVIDENCE_ASKED if getattr(evidence, name)]
    if asked and method != ActivationMaximizationConfig.name:
        raise RequestError(
            f"evidence.{asked[0]} needs method=activation_maximization, not method={method}"
        )
    if evidence.embedding is not None and not (config.grounding.images or evidence.seeds):
        raise RequestError(
            "evidence.embedding needs photographs for its tasks (grounding.images), or pictures "
            "from other seeds to compare (evidence.seeds)"
        )
    networks_of(evidence)  # which names what is no network


def _validate_sign(config: Config) -> None:
    """Refuse minimising pictures of what shows, or is judged by, what excites units most."""
    if config.target.sign > 0:
        return
    method, evidence = config.method.name, config.evidence
    if method != ActivationMaximizationConfig.name:
        raise RequestError(
            f"target.sign=-1 takes method=activation_maximization, not method={method}"
        )
    observed = evidence.embedding is not None and config.grounding.images
    for name, asked in {
        "embedding": observed,
        "minimising": evidence.minimising,
        "strangers": evidence.strangers,
    }.items():
        if asked:
            raise RequestError(
                f"evidence.{name} judges pictures that excite units most; target.sign=-1 makes "
                "those that excite them least (evidence.minimising has them as well)"
            )


def _validate_photographs(config: Config) -> None:
    """Refuse what the methods that work on photographs lack or cannot do."""
    method, target = config.method, config.target
    if not isinstance(method, AccentuationConfig | InversionConfig | AdversarialConfig):
        return
    if target.repeats > 1:
        raise RequestError(f"method={method.name} makes one picture: target.repeats must be 1")
    if isinstance(method, AdversarialConfig):
        return
    if config.transforms.coarse != 1:
        raise RequestError(
            f"method={method.name} compares views with a photograph's: transforms.coarse must be 1"
        )
    if isinstance(method, AccentuationConfig):
        if start_of(config) is None and not config.grounding.images:
            raise RequestError(
                "method=accentuation needs a photograph, parametrization.start, or photographs to "
                "take each unit's strongest of: grounding.images"
            )
        return
    if not method.images:
        raise RequestError(f"method={method.name} needs method.images: files, folders or globs")
    usual = TargetConfig()
    for name in ("position", "direction", "joint", "grid", "dictionary"):
        if getattr(target, name) != getattr(usual, name):
            raise RequestError(
                f"method={method.name} shows all units of a layer at all positions: it takes no "
                f"target.{name}"
            )


def _validate_classes(config: Config) -> None:
    """Refuse what takes classes where no classes are asked for."""
    target, method = config.target, config.method
    shared = bool(parse_models(target.ensemble, "target.ensemble"))
    setting = "target.ensemble" if shared else f"target.score={target.score}"
    if not shared and target.score == "value":
        return
    if not target.names_classes:
        raise RequestError(f"{setting} needs classes: target.layer=logits and target.units")
    if isinstance(method, AdversarialConfig | InversionConfig):
        raise RequestError(f"{setting} takes no method={method.name}")
    if not shared:
        return
    if not isinstance(method, ActivationMaximizationConfig):
        raise RequestError("target.ensemble needs method=activation_maximization")
    if target.sign < 0:
        raise RequestError("target.ensemble has what networks share; target.sign=-1 has none of it")
    if config.engine.canvas not in ("auto", "full"):
        raise RequestError("target.ensemble makes whole pictures: it takes engine.canvas=full")


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


def _validate_graph(config: Config) -> None:
    """Refuse to demand graphs of steps that are never replayed."""
    named = {
        f"method={config.method.name}": config.method.name != ActivationMaximizationConfig.name,
        f"prior={config.prior.name}": not isinstance(config.prior, NoPriorConfig),
        "target.ensemble": bool(config.target.ensemble),
    }
    asked = next((name for name, is_asked in named.items() if is_asked), None)
    if config.engine.graph is True and asked:
        raise RequestError(f"engine.graph=true cannot replay all steps of {asked}; leave it auto")


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
        raise RequestError(
            "prior=diffusion needs prior.model=FOLDER, owner/name of the hub, or glyph_diffusion"
        )
    if isinstance(prior, StatisticsConfig) and config.target.output is not None:
        raise RequestError("prior=statistics does not take target.output")
    if isinstance(prior, DenoiserConfig) and len(prior.sigma) != 2:
        raise RequestError(
            f"prior.sigma is {prior.sigma}; it takes [at the first step, at the last]"
        )
    if isinstance(prior, GeneratorConfig | DiffusionConfig) and start_of(config) is not None:
        raise RequestError(
            f"prior={prior.name} draws pictures of its own: it takes no parametrization.start"
        )
    whole = isinstance(prior, GeneratorConfig | DiffusionConfig | StatisticsConfig)
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
