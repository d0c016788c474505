"""pack all recorded runs of a method as a submission to the leaderboard, and check it"""

import argparse
import sys
from pathlib import Path

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.system.collection import without_collection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "run", type=Path, metavar="WORK_DIR/METHOD", help="folder of the method in the suite's work folder"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    add_suite_file(parser)


def add_suite_file(parser: argparse.ArgumentParser) -> None:
    """Add the argument for a suite that is not part of this package."""
    parser.add_argument(
        "--suite", type=Path, metavar="FILE", help="suite file, if the suite is not part of this package"
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status: 0 accepted and written, 2 otherwise."""
    with quiet(), without_collection():
        # Imported here, as torch and mmengine take seconds to import.
        from mixmae_bench.submissions.pack import submit

    broken = submit(args.run, args.out, args.suite)
    for line in broken:
        print(f"{args.run}: {line}", file=sys.stderr)
    print(f"not written, {len(broken)} rules are broken" if broken else f"accepted; written: {args.out}")
    return 2 if broken else 0
