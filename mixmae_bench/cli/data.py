"""check that a data set is complete and readable"""

import argparse
from importlib import import_module
from pathlib import Path

from mixmae_bench.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    commands = parser.add_subparsers(dest="data_command", required=True)
    check = commands.add_parser("check", help="compare a data set with the published one, and read all files")
    check.add_argument("name", help="name in `mixmae-bench ls datasets`, or of a data set added by --import")
    check.add_argument("folder", type=Path, help="folder of the data set, in the published layout")
    check.add_argument(
        "--import", dest="module", metavar="MODULE", help="module to import first, to add a data set"
    )
    check.add_argument(
        "--quick", action="store_true", help="check only that files exist, without decoding them"
    )
    check.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="file for the list of all problems (default: NAME_problems.txt)",
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    console = Console()
    with console.status("starting"):
        from mixmae_bench.datasets.check_folder import check_data

    if args.module:
        _import(args.module)
    listing = args.list or Path(f"{args.name}_problems.txt")
    return 1 if check_data(args.name, args.folder, args.quick, listing, console) else 0


def _import(module: str) -> None:
    """Import a module of the user.

    Raises:
        UserError: If the import fails.
    """
    try:
        import_module(module)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"--import {module}: {reason}; is its folder in PYTHONPATH?") from error
