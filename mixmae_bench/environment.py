"""What a run ran on: versions, hardware, the state of the checkout."""

import ast
import hashlib
import importlib.util
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mixmae_bench
from mixmae_bench.compat.openmmlab import FORK, ORIGINAL, installed

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pycocotools", *FORK, *ORIGINAL)


def packages() -> dict[str, str]:
    """Return the versions of the installed packages that compute."""
    return {"python": platform.python_version(), **installed(PACKAGES)}


def package_version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def code_version() -> str:
    """Return this package's version and, in a checkout, its commit, with + for local changes."""
    root = Path(__file__).parent.parent
    commit = _git(root, "rev-parse", "--short=8", "HEAD")
    if not commit:
        return mixmae_bench.__version__
    changed = "+" if _git(root, "status", "--porcelain", "--untracked-files=no") else ""
    return f"{mixmae_bench.__version__} ({commit}{changed})"


DECIDING = ("backbones", "compat", "data", "methods", "transfer", "precision.py")
"""Sources of this package that decide the outcome of a run, beside its config."""


def code_hash(modules: Iterable[str] = ()) -> str:
    """Return the first 16 hex digits of the SHA-256 of the sources that decide outcomes.

    Comments, docstrings and layout do not count.

    Args:
        modules: Further modules that count, by name: what a config names in `custom_imports`.
    """
    package = Path(__file__).parent
    files = [file for name in DECIDING for file in sorted((package / name).rglob("*.py")) or [package / name]]
    for name in sorted({*modules} - {"mixmae_bench"}):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and Path(spec.origin).is_file():
            files.append(Path(spec.origin))
    text = "\n".join(_code(file.read_text(encoding="utf-8")) for file in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _code(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A string that stands alone documents.
            body[:] = [s for s in body if not (isinstance(s, ast.Expr) and _is_text(s.value))]
    return ast.unparse(tree)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    # Only Linux can tell the cores of one process from those of the machine.
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
