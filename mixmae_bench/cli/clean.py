"""list or remove the folders of a suite's stale runs"""

import argparse

from mixmae_bench.cli.suite_arguments import add_suite, read_suite_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_suite(parser)
    parser.add_argument("--remove", action="store_true", help="remove the folders instead of listing them")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    suite, work_dir = read_suite_of(args)
    console = Console()
    with console.status("starting"):
        from mixmae_bench.suite.stale import clean

    clean(suite, work_dir, args.remove, console)
    return 0
