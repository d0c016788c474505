"""What a record says of the code that made it."""

from pathlib import Path

import pytest

from mixmae_bench.environment import code_hash


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "their_method.py"
    file.write_text('"""A method."""\n\n\ndef loss(x):\n    return x**2\n')
    return file


def test_the_code_hash_is_that_of_the_sources_and_of_the_modules_that_a_config_imports(module: Path) -> None:
    assert code_hash() == code_hash(["mixmae_bench"])
    assert code_hash(["their_method"]) == code_hash(["mixmae_bench", "their_method"]) != code_hash()


def test_docstrings_comments_and_layout_do_not_count(module: Path) -> None:
    before = code_hash(["their_method"])
    module.write_text('"""Ours."""\ndef loss(x):\n    """Doc."""\n    return x ** 2  # squared\n')
    assert code_hash(["their_method"]) == before


def test_arithmetic_counts(module: Path) -> None:
    before = code_hash(["their_method"])
    module.write_text(module.read_text().replace("x**2", "x**3"))
    assert code_hash(["their_method"]) != before
