"""Which errors are the request's fault, and how each becomes one line."""

import errno
import os
from pathlib import Path

import pytest
import yaml

from fvis.errors import LONGEST, RequestError, exit_status, one_line


def error_of(path: Path | str) -> OSError:
    with pytest.raises(OSError) as caught:
        Path(path).read_text(encoding="utf-8")
    return caught.value


@pytest.mark.parametrize("name", ["absent", "x" * 300, "file/below", "loop", "."])
def test_a_path_that_cannot_be_is_the_requests_fault(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    error = error_of(tmp_path / name)
    assert exit_status(error) == 2
    assert one_line(error) == f"{tmp_path / name}: {os.strerror(error.errno or 0)}"


def test_text_that_cannot_be_read_is_the_requests_fault() -> None:
    with pytest.raises(yaml.YAMLError) as broken:
        yaml.safe_load("a: [1")
    with pytest.raises(UnicodeError) as encoded:
        "\udcff".encode()
    assert [exit_status(e.value) for e in (broken, encoded)] == [2, 2]
    assert exit_status(RequestError("no such layer")) == 2


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "full"), OSError("own"), RuntimeError("x"), ValueError("x"), KeyError()],
)
def test_what_is_nobodys_request_is_status_1(error: Exception) -> None:
    assert exit_status(error) == 1


def test_a_message_is_one_line_that_can_be_read() -> None:
    assert one_line(ValueError("first\n\n  second\t.")) == "first second ."
    assert one_line(KeyError()) == "KeyError"
    long = one_line(ValueError(f"begins {'x' * 100_000} ends"))
    assert long.startswith("begins") and long.endswith("ends")
    assert len(long) < LONGEST + 10
