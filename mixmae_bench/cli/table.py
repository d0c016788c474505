"""print a table of published and measured values, or of a suite"""

import argparse
import sys
from pathlib import Path

from mixmae_bench.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "name",
        nargs="?",
        help="a name of `mixmae-bench ls tables`",
    )
    parser.add_argument("--all", action="store_true", help="all tables, as in results/README.md (Markdown)")
    parser.add_argument("--format", choices=["md", "csv", "latex"], default="md", help="default: md")
    parser.add_argument(
        "--records",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of records to use instead of results/measured",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write instead of printing")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from mixmae_bench.report.make import NAMES, make_table, read_results, results_page
    from mixmae_bench.report.table import FORMATS
    from mixmae_bench.suite.spec import shipped_outlines
    from mixmae_bench.system.files import write_atomically

    if args.all == bool(args.name):
        raise UserError(f"give the name of a table or --all; tables: {', '.join(NAMES)}")
    if args.all and args.format != "md":
        raise UserError("--all is Markdown; give the name of one table for another format")
    results = read_results(shipped_outlines(), args.records)
    text = results_page(results) if args.all else FORMATS[args.format](make_table(args.name, results))
    for complaint in results.complaints:
        print(complaint, file=sys.stderr)
    if args.out:
        write_atomically(args.out, text)
    else:
        sys.stdout.write(text)
    return 0
