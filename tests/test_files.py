"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from mixmae_bench.errors import UserError
from mixmae_bench.system.files import atomic_path, write_atomically


def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (Path("."), tmp_path):
        with pytest.raises(UserError, match="cannot be written: Is a directory; "):
            write_atomically(place, "text")
        with pytest.raises(IsADirectoryError), atomic_path(place):
            pass
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_where_a_writer_fails(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_atomically(file, "before")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), atomic_path(file) as path:
        fail(path)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
