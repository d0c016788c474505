"""run a suite: pretraining and transfers, with records, table and report"""

import argparse

from mixmae_bench.cli.suite_arguments import add_suite, read_suite_of
from mixmae_bench.errors import UserError

PLAIN = dict(soft_wrap=True, markup=False, highlight=False)
"""Arguments of `Console.print` for names and paths: no wrapping, no markup."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_suite(parser, seeds=True)
    parser.add_argument("--methods", help="methods to run (default: all), such as scratch,mixmae")
    parser.add_argument(
        "--jobs",
        type=int,
        help="number of concurrent runs, each on its own GPUs (default: as many as the GPUs allow; "
        "without GPUs one per core, at most 4; 16 on Slurm)",
    )
    parser.add_argument(
        "--executor",
        choices=["slurm"],
        help="submit runs as Slurm jobs, which outlive this process (default: local processes)",
    )
    parser.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="KEY=VALUE|FILE",
        help="for --executor slurm, repeated: partition=..., time=MINUTES, gpus_per_node=..., or a YAML file",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="processes per run, each with its own GPU if there are GPUs (default: 1)",
    )
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale learning rates to the effective batch size"
    )
    parser.add_argument(
        "--rerun",
        action="store_true",
        help="repeat finished runs whose configs have changed; the old folders are kept",
    )
    parser.add_argument(
        "--track", default="", metavar="NAME,...", help="also log to tensorboard, wandb or mlflow"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only print FLOPs and GPU hours of every run; needs no data"
    )
    parser.add_argument(
        "--flops-per-s",
        type=float,
        metavar="N",
        help="for --dry-run: multiply-adds per second of one GPU, such as 1.5e14",
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    from mixmae_bench.suite.slurm import read_parameters

    if args.slurm and args.executor != "slurm":
        raise UserError("--slurm requires --executor slurm")
    parameters = read_parameters(args.slurm)
    if args.jobs is not None and args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; give 1 or more")
    if args.processes < 1:
        raise UserError(f"--processes is {args.processes}; give 1 or more")
    if args.processes > 1 and args.executor:
        raise UserError(
            "--processes cannot be used with --executor slurm; give --slurm gpus_per_node=N instead"
        )
    suite, work_dir = read_suite_of(args)
    console = Console()
    if args.flops_per_s is not None and not (args.dry_run and args.flops_per_s > 0):
        raise UserError("--flops-per-s requires --dry-run and a number above 0")
    if args.dry_run:
        with console.status("starting"):
            from mixmae_bench.suite.estimate import show_estimate
        show_estimate(suite, args.flops_per_s, console)
        if args.executor == "slurm":
            from mixmae_bench.suite.cluster import show_scripts

            show_scripts(suite, work_dir, parameters)
        return 0
    with console.status("starting"):
        # Imported here, as torch and mmengine take seconds to import.
        from mixmae_bench.report.page import write_report
        from mixmae_bench.report.suite import suite_table
        from mixmae_bench.report.table import markdown
        from mixmae_bench.report.verdicts import verdicts_markdown
        from mixmae_bench.suite.run import run_suite
        from mixmae_bench.suite.workers import Workers
        from mixmae_bench.system.files import write_atomically

    trackers = tuple(args.track.split(",")) if args.track else ()
    if args.executor == "slurm":
        from mixmae_bench.suite.cluster import SlurmJobs

        executor = SlurmJobs(parameters)
    else:
        executor = Workers(args.processes)
    records, failed = run_suite(
        suite, work_dir, args.jobs, args.auto_scale_lr, trackers, console, executor, args.rerun
    )
    if records:
        table = markdown(suite_table(suite.name, records))
        write_atomically(work_dir / "table.md", table)
        console.print(table, **PLAIN)
        console.print(f"written: {work_dir / 'table.md'}, {work_dir / 'records.jsonl'}", **PLAIN)
        if verdicts := verdicts_markdown(records, [work_dir], "#").lstrip():
            write_atomically(work_dir / "verdicts.md", verdicts)
            console.print(f"verdicts: {work_dir / 'verdicts.md'}", **PLAIN)
        console.print(f"report: {write_report(suite.outline(), work_dir)}", **PLAIN)
    for name, why in failed.items():
        console.print(f"failed: {name}: {why}; log: {work_dir / name / 'log.txt'}", style="red", **PLAIN)
    return 1 if failed else 0
