"""Threads sleep while they wait wherever other processes may need the cores."""

import os
from pathlib import Path

import pytest

from fvis import waiting


@pytest.mark.parametrize(
    ("load", "policy"),
    [
        ("0.10 0.20 0.30 1/79 17512\n", None),
        ("0.10 0.20 0.30 3/79 17512\n", "PASSIVE"),
        ("nothing that is known\n", "PASSIVE"),
        (None, "PASSIVE"),
    ],
)
def test_threads_sleep_unless_nothing_else_is_at_work(
    load: str | None, policy: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOAD", tmp_path / "loadavg")
    if load is not None:
        (tmp_path / "loadavg").write_text(load)
    monkeypatch.setattr(os, "environ", {})
    waiting.settle()
    assert os.environ.get(waiting.POLICY) == policy


def test_a_process_that_runs_for_a_moment_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    class Load:
        looks = iter(["2/79", "2/79", "1/79"])

        def read_text(self, encoding: str) -> str:
            return f"0.10 0.20 0.30 {next(self.looks)} 17512"

    monkeypatch.setattr(waiting, "LOAD", Load())
    monkeypatch.setattr(os, "environ", {})
    waiting.settle()
    assert waiting.POLICY not in os.environ


def test_the_users_own_setting_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOAD", tmp_path / "absent")
    monkeypatch.setattr(os, "environ", {waiting.POLICY: "ACTIVE"})
    waiting.settle()
    assert os.environ[waiting.POLICY] == "ACTIVE"
