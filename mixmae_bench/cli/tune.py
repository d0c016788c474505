"""tune a suite: the same grid of recipes for every initialisation, chosen on a split of the training data"""

import argparse

from mixmae_bench.cli.suite_arguments import (
    add_execution,
    add_suite,
    check_execution,
    executor_of,
    read_suite_of,
    report_failures,
    trackers_of,
)
from mixmae_bench.system.collection import without_collection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_suite(parser)
    add_execution(parser)


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    parameters = check_execution(args)
    suite, work_dir = read_suite_of(args)
    console = Console()
    with console.status("starting"), without_collection():
        from mixmae_bench.suite.tune import tune_suite

    failed = tune_suite(
        suite,
        work_dir,
        args.jobs,
        args.auto_scale_lr,
        trackers_of(args),
        console,
        executor_of(args, parameters),
        args.rerun,
    )
    return report_failures(failed, work_dir, console)
