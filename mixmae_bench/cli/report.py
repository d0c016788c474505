"""write an HTML report of a suite or a file of records: tables, plots, all runs and their commands"""

import argparse
import sys
from pathlib import Path

from mixmae_bench.cli.sources import find_sources, the_one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "suite", metavar="SUITE|RECORDS", help="suite file or name, or a file of records (*.jsonl)"
    )
    parser.add_argument("--work-dir", type=Path, help="folder of all results (default: work_dirs/NAME)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="HTML file to write (default: report.html in the work folder, or beside the records)",
    )
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="folder to write the plots to as SVG and PNG"
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    source = the_one(find_sources(args.suite, args.work_dir), args.suite)
    from mixmae_bench.report.make import suite_records
    from mixmae_bench.report.page import write_plots, write_report

    for complaint in suite_records(source.outline, source.files)[1]:
        print(complaint, file=sys.stderr)
    if args.plots:
        write_plots(source.outline, source.folder, args.plots, source.files)
    print(write_report(source.outline, source.folder, args.out, source.files))
    return 0
