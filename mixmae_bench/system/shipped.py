"""Configs, suites and results included in this package: beside it in a checkout, inside it in a wheel."""

from pathlib import Path

import mixmae_bench
from mixmae_bench.errors import UserError, did_you_mean

INSIDE = ".mim"
"""Folder inside a wheel that contains them; OpenMMLab's tools look for configs there too."""

RECIPES = ".recipes.yaml"
"""End of the names of files beside suites that contain settings chosen by tuning."""

BASES = "_base_"
"""Folder of base configs."""


def shipped(name: str) -> Path:
    """Return the path of the folder 'configs' or 'results'."""
    package = Path(mixmae_bench.__file__).parent
    inside = package / INSIDE / name
    return inside if inside.is_dir() else package.parent / name


def names(kind: str) -> dict[str, Path]:
    """Return the paths of the 'configs' or 'suites' of this package by name."""
    configs = shipped("configs")
    if kind == "suites":
        files = sorted((configs / "suites").glob("*.yaml"))
        return {path.stem: path for path in files if not path.name.endswith(RECIPES)}
    return {path.stem: path for path in sorted(configs.rglob("*.py")) if BASES not in path.parts}


def find_config(name: str | Path) -> Path:
    """Return the path of a config, given by path or by its name in this package.

    Raises:
        UserError: If neither exists.
    """
    return _find(Path(name), "config", ".py")


def find_suite(name: str | Path) -> Path:
    """Return the path of a suite, given by path or by its name in this package.

    Raises:
        UserError: If neither exists.
    """
    return _find(Path(name), "suite", ".yaml")


def is_suite(name: str) -> bool:
    """Return whether an argument that may also be a config or a folder is a suite, by its file or name."""
    return name.endswith(".yaml") or (name in names("suites") and not Path(name).exists())


def _find(path: Path, kind: str, suffix: str) -> Path:
    if path.is_file():
        return path
    known = names(f"{kind}s") if len(path.parts) == 1 else {}
    if path.name.removesuffix(suffix) in known:
        return known[path.name.removesuffix(suffix)]
    near = did_you_mean(path.name, [*(p.name for p in path.parent.glob(f"*{suffix}")), *known])
    raise UserError(
        f"{kind} {path} does not exist; check the path, or give a name of `mixmae-bench ls {kind}s`.{near}"
    )
