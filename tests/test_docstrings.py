"""The examples in docstrings are true."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import fvis

ROOT = Path(fvis.__file__).parent
MODULES = [
    ".".join(("fvis", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for file in sorted(ROOT.rglob("*.py"))
    if re.search(r">>> (?!.*SKIP)", file.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert failed == 0 < tried


def test_the_numeric_core_has_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in ("motion.warp", "motion.measures", "transforms", "regularizers", "optimization"):
        module = importlib.import_module(f"fvis.{name}")
        assert any(test.examples for test in finder.find(module)), name
