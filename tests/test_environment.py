"""What a record says of the code that made it."""

import hashlib
from pathlib import Path

import pytest

from mixmae_bench.system.environment import _code, code_hash


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


@pytest.mark.parametrize(
    ("source", "other"),
    [
        ("f('a', b)", 'f(\n    "a",\n    b,\n)'),
        ("x = a + b * c", "x = (a + (b * c))"),
        ("x = 'ab'", "x = 'a' 'b'"),
        ("x = f'a{b}c'", 'x = f"a" f"{ b }" "c"'),
        ("x = 'a'", "x = u'a'"),
        ("if a:\n    b()\nelse:\n    c()", "if a:\n  'Why.'\n  b()\nelse:\n  'Otherwise.'\n  c()"),
        ("class A:\n    x: int", "class A:\n    '''Doc.'''\n    x: int\n    '''Of x.'''"),
    ],
)
def test_ways_to_write_the_same_do_not_count(source: str, other: str) -> None:
    assert _code(source) == _code(other)


@pytest.mark.parametrize(
    ("source", "other"),
    [
        ("x = (a,)", "x = (a)"),
        ("x = a[b,]", "x = a[b]"),
        ("x = 'a'", "x = b'a'"),
        ("x = f'{a}b'", "x = f'{a}{b}'"),
        ("x = f'{a:b}'", "x = f'{a!r:b}'"),
        ("x = f'{{a}}'", "x = f'{a}'"),
        ("x = None", "x = 0"),
        ("x = True", "x = 1"),
        ("x = 1", "x = 1.0"),
        ("f(None)", "f()"),
        ("def f(a, *, b=None): 1", "def f(a, *, b): 1"),
        ("{**a, b: c}", "{a: c, **b}"),
        ("if a:\n    b()\n    c()", "if a:\n    b()\nc()"),
        ("x = 'a'", "'a'"),
        ("async def f(): 1", "def f(): 1"),
    ],
)
def test_other_code_counts(source: str, other: str) -> None:
    assert _code(source) != _code(other)


EVERY_SYNTAX = r'''
"""Doc."""
from __future__ import annotations
from . import a as b
@d(1, *e, k=2, **g)
class A(B, metaclass=M):
    x: int = 0x10
    """Of x."""
    async def f(self, p, /, q=1_000, *r, s: "t" = ..., u=None, **v) -> "w":
        async with y as z, await o():
            yield f"{x}{y!r:>{width}.3f}{{z}}" "ö\N{BULLET}" f'{q["k"]=}' f"" f"a{x:}", rb"\d"
        return [i async for i in j if k] or {**m, "n": -1.5e-300j} and not (l := {1, 2})
try:
    match point:
        case {"x": [0, *rest], **more} if 1 < y <= 2 is not None:
            del x[1:2, ..., None:], y.z
        case P(1, k=("a" | b"c") as n) | None | -1:
            pass
except* (E, F) as e:
    raise G from e
else:
    """Otherwise."""
    global h; h = lambda *a, b=2: (yield)
finally:
    x @= y if z else 10**400 // 123456789012345678901234567890
    for i, (j, *k) in l: continue
    while 1: assert s, f"{1:{2}}" u"\ud800\x00\u2028"
'''


def test_the_text_of_code_is_the_same_on_every_version_of_python() -> None:
    # From 3.11.7, 3.12.1 and 3.13.0.
    assert hashlib.sha256(_code(EVERY_SYNTAX).encode()).hexdigest()[:16] == "6daa8eb70adbfd83"
