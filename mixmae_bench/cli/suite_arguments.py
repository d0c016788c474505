"""Arguments shared by the commands that take a suite."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mixmae_bench.errors import UserError

if TYPE_CHECKING:
    from mixmae_bench.suite.spec import Suite


def add_suite(parser: argparse.ArgumentParser, seeds: bool = False) -> None:
    """Add arguments for the suite, the folder of its results and, if `seeds`, its seeds."""
    parser.add_argument("suite", help="suite file, such as configs/suites/digits.yaml")
    parser.add_argument("--work-dir", type=Path, help="folder of all results (default: work_dirs/NAME)")
    if seeds:
        parser.add_argument("--seeds", help="seeds instead of the suite's, such as 0,1,2")


def read_suite_of(args: argparse.Namespace) -> tuple["Suite", Path]:
    """Return the suite given by the arguments, and the folder of its results.

    Raises:
        UserError: See `read_suite`.
    """
    from mixmae_bench.suite.spec import read_suite

    seeds, methods = getattr(args, "seeds", None), getattr(args, "methods", None)
    suite = read_suite(
        args.suite,
        None if seeds is None else _integers(seeds),
        methods.split(",") if methods else None,
    )
    return suite, args.work_dir or Path("work_dirs") / suite.name


def _integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds is '{text}'; give integers separated by commas, such as 0,1,2") from None
