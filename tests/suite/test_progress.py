"""Small files: whole or as they were, and one line where they cannot be written."""

from pathlib import Path

import pytest

from mixmae_bench.errors import UserError
from mixmae_bench.files import write_atomically


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "x.txt"
    write_atomically(file, "ä")
    write_atomically(file, b"more")
    assert [(p.name, p.read_bytes()) for p in file.parent.iterdir()] == [("x.txt", b"more")]


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "x").mkdir(parents=True)
    for path in (tmp_path / "file" / "x", tmp_path / "folder"):
        with pytest.raises(UserError, match=f"^{path} cannot be written: .*; make room, or name another$"):
            write_atomically(path, "text")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
