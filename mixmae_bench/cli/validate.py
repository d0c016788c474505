"""check that configs build, load, train and evaluate, on tiny data sets"""

import argparse
from pathlib import Path

from mixmae_bench.errors import UserError
from mixmae_bench.system.collection import without_collection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="configs, suites or folders of configs (default: all configs of this package)",
    )
    parser.add_argument("--full", action="store_true", help="use models at full width")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint to try in the backbone of every config")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    console = Console()
    with console.status("starting"), without_collection():
        from mixmae_bench.validate.run import validate

    return 1 if validate(find_configs(args.targets), args.full, args.checkpoint, console) else 0


def find_configs(targets: list[str]) -> list[Path]:
    """Return the configs given by files, names, suites and folders, without duplicates.

    Raises:
        UserError: If a target does not exist or has no config.
    """
    from mixmae_bench.suite.spec import read_suite
    from mixmae_bench.system.shipped import BASES, find_config, is_suite, shipped

    configs: list[Path] = []
    for target in map(str, targets or [shipped("configs")]):
        if is_suite(target):
            configs += [run.config for run in read_suite(target).runs()]
        elif Path(target).is_dir():
            configs += sorted(p for p in Path(target).rglob("*.py") if BASES not in p.parts)
        else:
            configs.append(find_config(target))
    if not configs:
        raise UserError(
            f"no config in {', '.join(map(str, targets))}; give configs, suites or folders of configs"
        )
    return list(dict.fromkeys(path.resolve() for path in configs))
