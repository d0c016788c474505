"""run a suite: pretraining and transfers, with records, table and report"""

import argparse

from mixmae_bench.cli.suite_arguments import (
    PLAIN,
    add_execution,
    add_suite,
    check_execution,
    executor_of,
    read_suite_of,
    report_failures,
    trackers_of,
)
from mixmae_bench.errors import UserError
from mixmae_bench.system.collection import without_collection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_suite(parser, seeds=True)
    parser.add_argument("--methods", help="methods to run (default: all), such as scratch,mixmae")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="NAME=SOURCE",
        help="add a method that starts from timm:MODEL.TAG, timm:MODEL@FILE, hf-hub:REPO[@REVISION] or "
        "local-dir:FOLDER, in the suite's generic tasks; repeat it for several",
    )
    add_execution(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="only print FLOPs and GPU hours of every run; needs no data"
    )
    parser.add_argument(
        "--flops-per-s",
        type=float,
        metavar="N",
        help="for --dry-run: multiply-adds per second of one GPU, such as 1.5e14",
    )
    parser.add_argument(
        "--gpu", metavar="NAME", help="for --dry-run: a GPU with recorded speeds (default: H100)"
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    parameters = check_execution(args)
    suite, work_dir = read_suite_of(args)
    console = Console()
    if args.flops_per_s is not None and not (args.dry_run and args.flops_per_s > 0):
        raise UserError("--flops-per-s requires --dry-run and a number above 0")
    if args.gpu and not args.dry_run:
        raise UserError(
            "--gpu names the GPU of an estimate and requires --dry-run; to choose GPUs for training, "
            "set CUDA_VISIBLE_DEVICES"
        )
    if args.dry_run:
        with console.status("starting"), without_collection():
            from mixmae_bench.suite.estimate import show_estimate
            from mixmae_bench.suite.gpu_speed import gpu_speed
        show_estimate(suite, gpu_speed(args.gpu, args.flops_per_s), console)
        if args.executor == "slurm":
            from mixmae_bench.suite.cluster import show_scripts

            show_scripts(suite, work_dir, parameters)
        return 0
    with console.status("starting"), without_collection():
        # Imported here, as torch and mmengine take seconds to import.
        from mixmae_bench.report.make import read_results, table_of_suite
        from mixmae_bench.report.page import write_report
        from mixmae_bench.report.table import markdown
        from mixmae_bench.report.verdicts import verdicts_markdown
        from mixmae_bench.suite.run import run_suite
        from mixmae_bench.system.files import write_atomically

    records, failed = run_suite(
        suite,
        work_dir,
        args.jobs,
        args.auto_scale_lr,
        trackers_of(args),
        console,
        executor_of(args, parameters),
        args.rerun,
    )
    if records:
        table = markdown(table_of_suite(suite.outline(), records, read_results()))
        write_atomically(work_dir / "table.md", table)
        console.print(table, **PLAIN)
        console.print(f"written: {work_dir / 'table.md'}, {work_dir / 'records.jsonl'}", **PLAIN)
        if verdicts := verdicts_markdown(records, [work_dir], "#").lstrip():
            write_atomically(work_dir / "verdicts.md", verdicts)
            console.print(f"verdicts: {work_dir / 'verdicts.md'}", **PLAIN)
        console.print(f"report: {write_report(suite.outline(), work_dir)}", **PLAIN)
    return report_failures(failed, work_dir, console)
