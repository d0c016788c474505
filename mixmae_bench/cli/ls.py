"""list configs, suites, models, data sets, metrics or tables by name"""

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

MOST_PARTS = 10
"""Parts of a data set that are listed one by one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("kind", nargs="?", choices=list(KINDS), help="what to list (default: everything)")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    for number, kind in enumerate([args.kind] if args.kind else KINDS):
        if not args.kind:
            print(f"{chr(10) if number else ''}{kind}:")
        rows = list(KINDS[kind]())
        width = max(len(name) for name, _ in rows)
        for name, about in rows:
            print(f"{'' if args.kind else '  '}{name:{width}}  {about}".rstrip())
    return 0


def _configs() -> Iterator[tuple[str, str]]:
    from mixmae_bench.system.shipped import names

    for name, path in names("configs").items():
        yield name, _first_line(path)


def _first_line(config: Path) -> str:
    doc = ast.get_docstring(ast.parse(config.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0]


def _suites() -> Iterator[tuple[str, str]]:
    from mixmae_bench.suite.spec import shipped_outlines

    for name, outline in shipped_outlines().items():
        tuning = f", after {outline.tuning_runs()} runs of tuning" if outline.grids else ""
        yield name, f"{len(outline.run_names())} runs of {', '.join(outline.methods)}{tuning}"


def _models() -> Iterator[tuple[str, str]]:
    from mixmae_bench.compat.openmmlab import quiet

    with quiet():
        import mixmae_bench.backbones
        import mixmae_bench.methods  # noqa: F401  (the classes register)
    from mixmae_bench.registry import MODELS

    for name, kind in MODELS.module_dict.items():
        yield f"mixmae_bench.{name}", (kind.__doc__ or "").partition("\n")[0]


def _datasets() -> Iterator[tuple[str, str]]:
    from mixmae_bench.datasets.catalog import CATALOG

    for name, entry in CATALOG.items():
        if len(entry.parts) > MOST_PARTS:
            yield name, f"{len(entry.parts)} parts, {sum(part.images for part in entry.parts):,} in all"
        else:
            yield name, ", ".join(f"{part.name} {part.images:,}" for part in entry.parts)


def _metrics() -> Iterator[tuple[str, str]]:
    from mixmae_bench.results.metrics import METRICS

    for name, metric in METRICS.items():
        yield name, metric.meaning


def _tables() -> Iterator[tuple[str, str]]:
    from mixmae_bench.report.make import TITLES

    yield from TITLES.items()


KINDS = {
    "configs": _configs,
    "suites": _suites,
    "models": _models,
    "datasets": _datasets,
    "metrics": _metrics,
    "tables": _tables,
}
"""Functions that yield names with a one-line description, by kind."""
