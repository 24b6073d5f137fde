"""Files and folders are written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from fvis import artifacts, whole_files
from fvis.errors import UnwritableError


class BrokenWriteError(RuntimeError):
    """What a test breaks a write with."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())  # hidden names too


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    artifacts.write_text(path, "old")
    with pytest.raises(BrokenWriteError), whole_files.whole_file(path) as place:
        place.write_text("half of the n")
        raise BrokenWriteError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole_files.whole_file(path) as place:
        place.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_files_are_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        artifacts.write_text(tmp_path / "a.txt", "x")
        with whole_files.whole_directory(tmp_path / "unit"):
            pass
    finally:
        seen = os.umask(old)
    assert seen == 0o027, "the process's own umask is as it was"
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "unit").stat().st_mode & 0o777 == 0o750


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "units" / "conv-00003"
    with whole_files.whole_directory(path) as place:
        (place / "image.png").write_text("1")
        assert not path.exists()
        (place / "metadata.json").write_text("2")
    assert names(path) == ["image.png", "metadata.json"]
    assert names(path.parent) == ["conv-00003"]


def test_a_directory_is_replaced_not_merged(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    path.mkdir()
    (path / "stale.png").write_text("old")
    with whole_files.whole_directory(path) as place:
        (place / "image.png").write_text("new")
    assert names(path) == ["image.png"]
    assert names(tmp_path) == ["unit"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_directory_whose_filling_fails_is_as_before(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "unit"
    if exists:
        path.mkdir()
        (path / "image.png").write_text("old")
    with pytest.raises(BrokenWriteError), whole_files.whole_directory(path) as place:
        (place / "image.png").write_text("half")
        raise BrokenWriteError
    assert names(tmp_path) == (["unit"] if exists else [])
    if exists:
        assert (path / "image.png").read_text() == "old"


def test_a_folder_made_for_a_file_that_cannot_be_written_does_not_stay(tmp_path: Path) -> None:
    with (
        pytest.raises(UnwritableError, match=r"config\.yaml cannot be written: No space"),
        whole_files.whole_file(tmp_path / "run" / ".hydra" / "config.yaml"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_and_what_it_was_replacing_put_back(
    tmp_path: Path,
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / ".hidden").write_text("not ours")
    (tmp_path / ".old-drafts" / "kept").mkdir(parents=True)  # nor these
    (tmp_path / ".tmp-work").mkdir()
    (tmp_path / ".fvis-old-list").write_text("nor this")
    (tmp_path / ".fvis-tmp-abc").mkdir()
    (tmp_path / ".fvis-tmp-abc" / "half.png").write_bytes(b"half")
    (tmp_path / ".fvis-tmp-x.json").write_text("{")
    for name in ("kept", "unit"):  # killed after, and between, the two renames
        (tmp_path / f".fvis-old-{name}" / name).mkdir(parents=True)
        (tmp_path / f".fvis-old-{name}" / name / "old.png").write_bytes(b"old")
    whole_files.clear_leftovers(tmp_path)
    theirs = [".fvis-old-list", ".hidden", ".old-drafts", ".tmp-work"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*theirs, "kept", "unit"]
    assert (tmp_path / ".old-drafts" / "kept").is_dir()
    assert (tmp_path / "unit" / "old.png").read_bytes() == b"old"
    assert list((tmp_path / "kept").iterdir()) == []
    whole_files.clear_leftovers(tmp_path / "absent")


def test_unfinished_files_and_folders_are_told_by_their_names(tmp_path: Path) -> None:
    with whole_files.whole_file(tmp_path / "a.json") as place:
        assert place.name.startswith(whole_files.UNFINISHED)
    (tmp_path / "d").mkdir()
    with whole_files.whole_directory(tmp_path / "d") as place:
        assert place.name.startswith(whole_files.UNFINISHED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "d"]


def test_a_directory_takes_the_place_of_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "unit").symlink_to("nosuch")
    with whole_files.whole_directory(tmp_path / "unit") as place:
        (place / "a.txt").write_text("a")
    assert not (tmp_path / "unit").is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["unit"]
