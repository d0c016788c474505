"""print a table of published and measured values, of a suite, or of a file of records"""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path

from mixmae_bench.cli.sources import find_sources, the_one
from mixmae_bench.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME|SUITE|RECORDS",
        help="a name of `mixmae-bench ls tables` or `ls suites`, a suite file, or records (*.jsonl)",
    )
    parser.add_argument("--all", action="store_true", help="all tables, as in results/README.md (Markdown)")
    parser.add_argument(
        "--format",
        choices=["text", "md", "csv", "latex"],
        help="default: text for published values on a terminal, else md",
    )
    for option, about in FILTERS.items():
        parser.add_argument(
            f"--{option}", action="append", metavar="NAME", help=f"only rows with this {about}; repeatable"
        )
    parser.add_argument(
        "--records",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of records to use instead of those of this package or of the suite's work folder",
    )
    parser.add_argument(
        "--work-dir", type=Path, metavar="DIR", help="folder of a suite's results (default: work_dirs/NAME)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write instead of printing")


FILTERS = {
    "method": "method, such as MAE or 'iTPN*'",
    "backbone": "backbone, such as Swin-B or Swin-B/W14",
    "data": "data set of the evaluation or of the pretraining",
    "protocol": "protocol, such as 'Mask R-CNN*'",
}
"""Options that select rows of published values (see `report.select`), and their meaning."""


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from mixmae_bench.report.make import NAMES, make_table, read_results, results_page
    from mixmae_bench.report.text import FORMATS
    from mixmae_bench.suite.spec import shipped_outlines
    from mixmae_bench.system.files import write_atomically

    if args.all == bool(args.name):
        raise UserError(
            f"give the name of a table or --all, or a suite or a file of records; tables: {', '.join(NAMES)}"
        )
    if args.all and args.format not in (None, "md"):
        raise UserError("--all is Markdown; give the name of one table for another format")
    wanted = {option: names for option in FILTERS if (names := getattr(args, option))}
    if wanted and (args.all or _is_source(args.name)):
        raise UserError(f"--{next(iter(wanted))} selects rows of published values; give one of their tables")
    if args.all or not _is_source(args.name):
        results = read_results(shipped_outlines(), args.records)
        render = FORMATS[args.format or _default(args, results.published)]
        text = results_page(results) if args.all else render(make_table(args.name, results, wanted))
        complaints = results.complaints
    else:
        text, complaints = _of_suites(args)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if args.out:
        write_atomically(args.out, text)
    else:
        sys.stdout.write(text)
    return 0


def _default(args: argparse.Namespace, published: Collection[str]) -> str:
    """Return the format if none is given; `published` are the names of the tables of published values."""
    return "text" if args.name in published and not args.out and sys.stdout.isatty() else "md"


def _is_source(name: str) -> bool:
    """Return whether a name stands for suites: a file, or a suite without a table of the same name."""
    from mixmae_bench.report.make import NAMES, SUITES
    from mixmae_bench.system.shipped import names

    is_suite = name in SUITES or (name in names("suites") and name not in NAMES)
    return is_suite or name.endswith((".jsonl", ".yaml", ".yml")) or Path(name).is_file()


def _of_suites(args: argparse.Namespace) -> tuple[str, list[str]]:
    """Return the tables of the suites that the arguments name, and messages about records left out."""
    from mixmae_bench.report.make import read_results, suite_records, table_of_suite
    from mixmae_bench.report.text import FORMATS

    sources = find_sources(args.name, args.work_dir, args.records)
    if args.format == "csv":
        the_one(sources, args.name)
    known = read_results()
    texts, complaints = [], []
    for source in sources:
        records, own = suite_records(source.outline, source.files)
        texts.append(FORMATS[args.format or "md"](table_of_suite(source.outline, records, known)))
        complaints += own
    return "\n".join(texts), list(dict.fromkeys(complaints))
