"""The subpackages and the imports between them (docs/architecture.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mixmae_bench

PACKAGE = Path(mixmae_bench.__file__).parent
LAYERS = (
    ("__main__",),
    ("cli",),
    ("finetune", "publish", "submissions"),
    ("validate", "verify", "suite", "report"),
    ("cost", "convert", "probes", "robustness"),
    ("engine", "timm_models"),
    ("methods", "transfer"),
    ("backbones", "datasets", "results"),
    ("system",),
    ("__init__",),
    ("compat",),
    ("errors", "registry"),
)
"""From the top: a subpackage imports from the layers below its own."""

BESIDE = {("transfer", "methods"), ("convert", "cost")}
"""Imports within a layer."""

LOOSE = {"__init__", "__main__", "errors", "registry", "timm_models"}


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Return the files of all modules by their names, such as 'suite.plan' or 'suite'."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of the package that a file imports, wherever in it, for typing too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, own = name.partition(".")
            if package == "mixmae_bench":
                yield own if own in known else own.rpartition(".")[0] or "__init__"


def arrows() -> dict[str, set[str]]:
    known = modules()
    return {name: {*imports(path, known)} - {name} for name, path in known.items()}


def subpackage(module: str) -> str:
    return module.partition(".")[0]


def layer(module: str) -> int:
    return next(number for number, subpackages in enumerate(LAYERS) if subpackage(module) in subpackages)


def test_every_module_is_in_a_subpackage_and_nothing_else_lies_loose() -> None:
    names = modules()
    assert {name for name in names if "." not in name and names[name].name != "__init__.py"} <= LOOSE
    assert {subpackage(name) for name in names} == {name for subpackages in LAYERS for name in subpackages}


def test_arrows_run_from_the_top_down() -> None:
    against = [
        f"{source} -> {target}"
        for source, targets in arrows().items()
        for target in targets
        if subpackage(source) != subpackage(target)
        and layer(target) <= layer(source)
        and (subpackage(source), subpackage(target)) not in BESIDE
    ]
    assert against == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = arrows()
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            pytest.fail(" -> ".join((*way[way.index(name) :], name)))
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_a_report_needs_results_alone() -> None:
    targets = {subpackage(t) for name, own in arrows().items() if subpackage(name) == "report" for t in own}
    assert targets <= {"report", "results", "system", "errors"}


def models() -> set[str]:
    """Return the modules of backbones and methods, with those beside them about their official code."""
    return {
        name
        for name, path in modules().items()
        if subpackage(name) in ("backbones", "methods")
        and ("@MODELS.register_module" in path.read_text(encoding="utf-8") or name.endswith("_official"))
    }


def test_encoders_share_layers_and_no_encoder_helps_another() -> None:
    """A subclass imports the class that it extends."""
    encoders = {name for name in models() if subpackage(name) == "backbones"}
    assert len(encoders) > 5
    extends = {("mixmae_swin", "swin")}
    beside = {
        tuple(module.removeprefix("backbones.").removesuffix("_official") for module in (name, target))
        for name, own in arrows().items()
        for target in own
        if name in encoders and target in encoders
    }
    assert {(name, target) for name, target in beside if name != target} == extends


def test_conversion_knows_no_single_model() -> None:
    """Each backbone and method registers what `convert` needs of it."""
    used = {target for name, own in arrows().items() if subpackage(name) == "convert" for target in own}
    assert not used & models()
