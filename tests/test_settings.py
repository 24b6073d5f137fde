"""A section of the config that cannot be is refused by its own name."""

import pytest

from fvis.errors import RequestError
from fvis.schema import TargetConfig, unknown_setting
from fvis.settings import section


@pytest.mark.parametrize("given", [5, [1, 2], "text", None])
def test_a_section_that_is_no_mapping(given: object) -> None:
    with pytest.raises(RequestError, match=r"^target is .*; it takes settings"):
        section(given, "target", TargetConfig)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("engine.stps", "nearest: engine.steps"),
        ("parametrization.coarsest", "a setting of parametrization=pyramid alone"),
        ("engine.steps", "no section engine"),
    ],
)
def test_a_setting_that_the_config_lacks_is_not_suggested_for_itself(name: str, says: str) -> None:
    assert says in str(unknown_setting(name))
