"""Environment of a run: versions, hardware and the state of the checkout."""

import ast
import hashlib
import importlib.util
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path

import mixmae_bench
from mixmae_bench.compat.openmmlab import FORK, ORIGINAL, installed

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pycocotools", *FORK, *ORIGINAL)


def packages() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that affect results."""
    return {"python": platform.python_version(), **installed(PACKAGES)}


def package_version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def code_version() -> str:
    """Return this package's version and, in a checkout, its commit, followed by + for local changes."""
    root = Path(mixmae_bench.__file__).parents[1]
    commit = _git(root, "rev-parse", "--short=8", "HEAD")
    if not commit:
        return mixmae_bench.__version__
    changed = "+" if _git(root, "status", "--porcelain", "--untracked-files=no") else ""
    return f"{mixmae_bench.__version__} ({commit}{changed})"


DECIDING = ("backbones", "compat", "datasets", "engine/cpu.py", "engine/precision.py", "methods", "transfer")
"""Sources of this package that determine the result of a run, together with its config."""


def code_hash(modules: Iterable[str] = ()) -> str:
    """Return the first 16 hex digits of the SHA-256 of the sources that determine results.

    The hash does not depend on comments, docstrings, layout or the version of Python.

    Args:
        modules: Names of further modules to include: `custom_imports` of a config.
    """
    package = Path(mixmae_bench.__file__).parent
    files = [file for name in DECIDING for file in sorted((package / name).rglob("*.py")) or [package / name]]
    for name in sorted({*modules} - {"mixmae_bench"}):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and Path(spec.origin).is_file():
            files.append(Path(spec.origin))
    text = "\n".join(_code(file.read_text(encoding="utf-8")) for file in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _code(source: str) -> str:
    """Return a program's syntax tree as text, equal on every version of Python.

    The output of `ast.unparse` and `ast.dump` differs between versions in quotes and omitted fields.
    """
    return _text(ast.parse(source))


def _text(node: object) -> str:
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr({','.join(_pieces(node))})"
    values = {name: _code_alone(value) for name, value in ast.iter_fields(node) if name not in NOT_CODE}
    # Newer versions of Python add fields, which are empty for older syntax.
    own = [f"{name}={_text(values[name])}" for name in sorted(values) if values[name] not in (None, [])]
    return f"{type(node).__name__}({','.join(own)})"


NOT_CODE = ("ctx", "kind", "type_comment")
"""Fields of a syntax tree that only describe notation, or follow from other fields."""


def _code_alone(value: object) -> object:
    """Remove string statements (docstrings) from a list of statements."""
    if not isinstance(value, list):
        return value
    return [own for own in value if not (isinstance(own, ast.Expr) and _is_text(own.value))]


def _pieces(string: ast.JoinedStr) -> Iterator[str]:
    """Yield the parts of an f-string, with plain text joined, as Python versions split it differently."""
    for plain, pieces in groupby(string.values, _is_text):
        if plain:
            text = "".join(piece.value for piece in pieces)
            yield from [ascii(text)] if text else []
        else:
            yield from map(_text, pieces)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    # Only Linux can report the cores available to a process.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware() -> dict[str, str | int | None]:
    """Return the processor, the number of usable cores and the GPU, if there is one."""
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def _git(root: Path, *command: str) -> str:
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
