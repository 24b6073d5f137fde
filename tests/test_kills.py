"""A few of the kills of `python -m tests.kills`, which ends runs at random moments."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_run_ended_at_a_random_moment_is_whole_and_can_be_finished() -> None:
    # A process of its own: after a backward pass torch refuses to be forked.
    words = (sys.executable, "-m", "tests.kills", "--count", "2", "--seed", "1")
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 trials, 0 wrong" in ran.stdout
