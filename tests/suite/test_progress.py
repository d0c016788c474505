"""Small files: whole or as they were, and one line where they cannot be written."""

import os
import time
from pathlib import Path

import pytest

from mixmae_bench.errors import UserError
from mixmae_bench.system import files
from mixmae_bench.system.files import atomic_path, remove_leftovers, write_atomically


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "x.txt"
    write_atomically(file, "ä")
    write_atomically(file, b"more")
    assert [(p.name, p.read_bytes()) for p in file.parent.iterdir()] == [("x.txt", b"more")]


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "x").mkdir(parents=True)
    for path in (tmp_path / "file" / "x", tmp_path / "folder"):
        with pytest.raises(
            UserError, match=f"^{path} cannot be written: .*; free disk space or give another path$"
        ):
            write_atomically(path, "text")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_writers_of_one_file_on_several_hosts_do_not_share_a_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)  # as another host's process may be
    file = tmp_path / "x.pth"
    with atomic_path(file) as one, atomic_path(file) as other:
        assert one != other
        assert one.parent == other.parent == tmp_path  # a rename is atomic within a file system only
        one.write_text("one")
        other.write_text("other")
        assert not file.exists()
    assert file.read_text() == "one"
    assert list(tmp_path.iterdir()) == [file]


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    file.write_text("before")
    with pytest.raises(IsADirectoryError), atomic_path(file) as temporary:
        temporary.write_text("half") and tmp_path.read_text()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.pth", "before")]


def test_a_file_has_its_content_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = []
    monkeypatch.setattr(os, "fsync", lambda _: there.append((tmp_path / "x").exists()))
    with atomic_path(tmp_path / "x") as temporary:
        temporary.write_text("content")
    assert there == [False, True]  # the file, then the folder


def test_what_killed_writers_left_is_removed_after_a_day_and_nothing_else(tmp_path: Path) -> None:
    killed, fresh = (f".{name}.pth.{'0f' * 16}.part" for name in "ab")
    ages = {killed: files.LEFT_OVER + 60, fresh: 60, "c.pth.part": 1e7, ".d": 1e7, ".e.0123.part": 1e7}
    for name, age in ages.items():
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with atomic_path(tmp_path / "x") as temporary:
        temporary.write_text("content")
    kept = [".d", ".e.0123.part", "c.pth.part", "x"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([fresh, *kept])
    remove_leftovers(tmp_path, age=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == kept
