"""write an HTML report: table, plots, all runs and their commands"""

import argparse
import sys
from pathlib import Path

from mixmae_bench.cli.suite_arguments import add_suite, read_suite_of
from mixmae_bench.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_suite(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="HTML file to write (default: report.html in the work folder)",
    )
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="folder to write the plots to as SVG and PNG"
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    suite, work_dir = read_suite_of(args)
    if not (work_dir / "records.jsonl").is_file():
        raise UserError(f"{work_dir} has no records.jsonl; give --work-dir, or run the suite first")
    from mixmae_bench.report.page import suite_records, write_plots, write_report

    outline = suite.outline()
    for complaint in suite_records(outline, work_dir)[1]:
        print(complaint, file=sys.stderr)
    if args.plots:
        write_plots(outline, work_dir, args.plots)
    print(write_report(outline, work_dir, args.out))
    return 0
