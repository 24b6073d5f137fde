"""Hydra composes configs."""

import contextlib
import importlib.util
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fvis import schema, yaml_files
from fvis.errors import JobError, RequestError, UnwritableError, one_line, unknown

VERSION_BASE = "1.3"
SINGLETONS = (GlobalHydra, JobRuntime, VersionBase)  # what composing a config sets
ENTRY_POINTS = (*schema.ENTRY_POINTS.values(), "fvis.sources")
MERGING = "Error merging override "  # Hydra's words, before an override of another kind
LAUNCHERS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}
CHOSEN_BY_NAME = (*schema.SECTIONS, *schema.CHOICES, "experiment")


def config_directory() -> Path:
    """The folder of configs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def compose(overrides: Sequence[str], *, directory: Path | None = None) -> DictConfig:
    """The config that `fvis run` would use with these overrides, and a `--config-dir`."""
    words = as_in_other_tools(overrides)
    if directory is not None:
        words.append(f"hydra.searchpath=[file://{directory.resolve()}]")
    with refusing(), _own_hydra():
        return hydra.compose("config", words)


def compose_sections(sections: Mapping[str, Any]) -> DictConfig:
    """The config in which each section is a choice's name, or settings that replace its defaults.

    Raises `RequestError` for a name or a setting that there is not.
    """
    named = {key: value for key, value in sections.items() if isinstance(value, str)}
    for key in schema.CHOICES:
        settings = sections.get(key)
        if isinstance(settings, Mapping) and "name" in settings:
            named[key] = str(settings["name"])
    composed = compose([_choice(key, name) for key, name in named.items()])
    for key, value in sections.items():
        if not isinstance(value, str):
            try:
                OmegaConf.update(composed, key, dict(value), force_add=True)
            except OmegaConfBaseException as error:
                reason = str(error).splitlines()[0]
                raise RequestError(f"visualize() cannot take {key}: {reason}") from None
    return composed


def swept(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """What each job of an experiment's own sweep adds to the overrides; one () without a sweep."""
    with _own_hydra():
        whole = hydra.compose("config", list(overrides), return_hydra_config=True)
    params = OmegaConf.select(whole, "hydra.sweeper.params") or {}
    axes = [[f"{key}={value}" for value in str(params[key]).split(",")] for key in params]
    return list(itertools.product(*axes))


def as_in_other_tools(arguments: Sequence[str]) -> list[str]:
    """The arguments with `+experiment=NAME`, as tools without a default experiment ask for it."""
    return [
        word.removeprefix("+") if word.startswith("+experiment=") else word for word in arguments
    ]


def check_config_directory(directory: Path) -> None:
    """Raise `RequestError` for a folder that is not there, or has YAML that is not safe to load."""
    if not directory.is_dir():
        raise RequestError(f"--config-dir: no folder {str(directory)!r}")
    for file in sorted(directory.rglob("*.yaml")):
        try:
            yaml_files.check(file)
        except yaml_files.UnsafeYamlError as error:
            raise RequestError(str(error)) from None


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """A context in which what Hydra cannot do, or warns of, is a `RequestError`."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", category=UserWarning, module=r"hydra\._internal")
            yield
    except (RequestError, JobError, UnwritableError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, HydraException):
            raise  # of an output folder that cannot be made
        raise RequestError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """What Hydra refuses; for an unknown setting, the nearest names."""
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(error, HydraException) and str(error).startswith("Could not override"):
        name = str(error).split("'")[1]
        return str(schema.unknown_setting(name))
    if isinstance(error, HydraException) and str(error).startswith(MERGING):
        word = str(error).removeprefix(MERGING)
        name = word.partition("=")[0]
        kinds = "a list and a mapping do not mix"
        return f"{word}: {kinds}; to replace what the config has, write '~{name}' '+{word}'"
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).partition("/")
        launcher = name.removeprefix("launcher/")
        if group == "hydra" and launcher in LAUNCHERS:
            extra = LAUNCHERS[launcher]
            return f"hydra/launcher={launcher} needs a package: pip install 'fvis[{extra}]'"
        if group in CHOSEN_BY_NAME:
            return str(unknown(group, name, [*error.options, *choices(group)]))
    return one_line(error).partition(" Config search path:")[0]


def _unreadable(override: str) -> str:
    """Why Hydra cannot read an override, and how it can be written."""
    name, equals, value = override.partition("=")
    if not equals:
        return f"{override}: not of the form setting=value"
    told = f"{override}: Hydra cannot read this value"
    marked = set(value) & set("'\"\\")
    advice = f"""text with such characters is quoted twice in a shell: '{name}="{value}"'"""
    return told if marked else f"{told}; {advice}"


def _choice(section: str, name: str) -> str:
    """The override that chooses `name` for a section; raises `RequestError` where there is none."""
    if section not in CHOSEN_BY_NAME:
        raise unknown("config section", section, CHOSEN_BY_NAME)
    names = choices(section)
    if name not in names:
        raise unknown(section, name, names)
    return f"{section}={name}"


def choices(group: str) -> list[str]:
    """The names of a group's files, as fvis and the packages that extend it have them."""
    folders = [place / group for place in (config_directory(), *_plugin_folders())]
    return [
        file.relative_to(folder).with_suffix("").as_posix()
        for folder in folders
        for file in folder.rglob("*.yaml")
    ]


@contextlib.contextmanager
def _own_hydra() -> Iterator[None]:
    """A context to compose in; the Hydra of an app that calls us stays as it was."""
    register_plugins()
    instances = Singleton._instances
    theirs: dict[type, Singleton] = {
        kind: instances.pop(kind) for kind in SINGLETONS if kind in instances
    }
    try:
        with hydra.initialize_config_dir(str(config_directory()), version_base=VERSION_BASE):
            yield
    finally:
        for kind in SINGLETONS:
            instances.pop(kind, None)
        instances.update(theirs)


class PluginConfigs(SearchPathPlugin):
    """Hydra also searches the `configs` folder of every package that extends fvis."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append those folders."""
        for folder in _plugin_folders():
            search_path.append("fvis-plugin", f"file://{folder}")


def register_plugins() -> None:
    """Let Hydra search the configs of packages that extend fvis, too."""
    plugins = Plugins.instance()
    if PluginConfigs not in plugins.discover(SearchPathPlugin):
        plugins.register(PluginConfigs)


def _plugin_folders() -> list[Path]:
    """The `configs` folders of the packages that declare an entry point of fvis."""
    packages = {
        entry.module.partition(".")[0]
        for group in ENTRY_POINTS
        for entry in entry_points(group=group)
    }
    specs = [importlib.util.find_spec(package) for package in sorted(packages)]
    places = [place for spec in specs if spec for place in spec.submodule_search_locations or ()]
    folders = [Path(place) / "configs" for place in places]
    return [folder for folder in folders if folder.is_dir()]
