"""Every default is the same in the YAML that users read and in the dataclass that checks it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fvis import schema
from fvis.compose import compose, config_directory

# What a YAML file says on purpose: the embedded network's name, the natural views of the default.
OTHERWISE = {"transforms"}


def defaults_of(kind: type) -> dict[str, Any]:
    return dataclasses.asdict(kind())


@pytest.mark.parametrize("section", sorted(set(schema.SECTIONS) - OTHERWISE))
def test_a_sections_yaml_has_the_dataclasss_defaults(section: str) -> None:
    composed = OmegaConf.to_container(compose([]), resolve=True)
    assert isinstance(composed, dict)
    assert composed[section] == defaults_of(schema.SECTIONS[section])


@pytest.mark.parametrize(
    ("section", "name"),
    [(section, name) for section, kinds in schema.CHOICES.items() for name in kinds],
)
def test_a_choices_yaml_has_the_dataclasss_defaults(section: str, name: str) -> None:
    composed = OmegaConf.to_container(compose([f"{section}={name}"]), resolve=True)
    assert isinstance(composed, dict)
    assert composed[section] == defaults_of(schema.CHOICES[section][name])


def test_plain_views_are_the_dataclasss_defaults() -> None:
    composed = OmegaConf.to_container(compose(["transforms=none"]))
    assert isinstance(composed, dict)
    assert composed["transforms"] == defaults_of(schema.TransformsConfig)


@pytest.mark.parametrize("file", sorted(config_directory().glob("transforms/*.yaml")))
def test_every_file_of_views_names_only_settings_that_there_are(file: Path) -> None:
    composed = OmegaConf.to_container(compose([f"transforms={file.stem}"]))
    assert isinstance(composed, dict)
    assert composed["transforms"].keys() == defaults_of(schema.TransformsConfig).keys()
