"""list which runs of a suite are done, stale (and why), running, failed or missing"""

import argparse

from mixmae_bench.cli.suite_arguments import add_suite, read_suite_of
from mixmae_bench.system.collection import without_collection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_suite(parser, seeds=True)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="as given to run (default: 1)")
    parser.add_argument("--auto-scale-lr", action="store_true", help="as given to run")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    suite, work_dir = read_suite_of(args)
    console = Console()
    with console.status("starting"), without_collection():
        from mixmae_bench.suite.status import show_status

    show_status(suite, work_dir, args.auto_scale_lr, args.processes, console)
    return 0
