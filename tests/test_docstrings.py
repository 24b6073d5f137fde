"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import fvis

MODULES = [
    module.name
    for module in pkgutil.walk_packages(fvis.__path__, "fvis.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_the_numeric_core_has_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in ("motion.warp", "motion.measures", "transforms", "regularizers", "optimization"):
        module = importlib.import_module(f"fvis.{name}")
        assert any(test.examples for test in finder.find(module)), name
