"""check submissions by the rules of the leaderboard"""

import argparse
import sys
from pathlib import Path

from mixmae_bench.cli.submit import add_suite_file
from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.system.collection import without_collection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("submissions", type=Path, nargs="+", metavar="SUBMISSION", help="its folder")
    add_suite_file(parser)


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status: 0 if all are accepted, else 2."""
    with quiet(), without_collection():
        # Imported here, as torch and mmengine take seconds to import.
        from mixmae_bench.submissions.check import check

    rejected = 0
    for folder in args.submissions:
        broken = check(folder, args.suite)
        rejected += bool(broken)
        for line in broken:
            print(f"{folder}: {line}", file=sys.stderr)
        if not broken:
            print(f"{folder}: accepted")
    return 2 if rejected else 0
