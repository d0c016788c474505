"""Arguments shared by the commands that take a suite."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mixmae_bench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from mixmae_bench.suite.executor import Executor
    from mixmae_bench.suite.spec import Suite

PLAIN = dict(soft_wrap=True, markup=False, highlight=False)
"""Arguments of `Console.print` for names and paths: no wrapping, no markup."""


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
        None if seeds is None else integers(seeds),
        methods.split(",") if methods else None,
        _named(getattr(args, "checkpoint", [])),
    )
    return suite, args.work_dir or Path("work_dirs") / suite.name


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how runs are executed."""
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


def check_execution(args: argparse.Namespace) -> dict[str, object]:
    """Check the arguments of `add_execution`; return the parameters of Slurm jobs.

    Raises:
        UserError: If an argument is out of range, or two do not go together.
    """
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
    return parameters


def executor_of(args: argparse.Namespace, parameters: dict[str, object]) -> "Executor":
    """Return the executor given by the arguments; `parameters` is the result of `check_execution`."""
    if args.executor == "slurm":
        from mixmae_bench.suite.cluster import SlurmJobs

        return SlurmJobs(parameters)
    from mixmae_bench.suite.workers import Workers

    return Workers(args.processes)


def trackers_of(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the names of the trackers given by the arguments."""
    return tuple(args.track.split(",")) if args.track else ()


def report_failures(failed: dict[str, str], work_dir: Path, console: "Console") -> int:
    """Print a line for every failed run with its log; return the exit status."""
    for name, why in failed.items():
        console.print(f"failed: {name}: {why}; log: {work_dir / name / 'log.txt'}", style="red", **PLAIN)
    return 1 if failed else 0


def _named(checkpoints: list[str]) -> dict[str, str]:
    sources: dict[str, str] = {}
    for given in checkpoints:
        name, equals, source = given.partition("=")
        if not (name and equals and source):
            raise UserError(
                f"--checkpoint is '{given}'; give NAME=SOURCE, such as hiera=timm:hiera_base_224.mae"
            )
        if name in sources:
            raise UserError(f"--checkpoint names '{name}' twice; give every checkpoint another name")
        sources[name] = source
    return sources


def integers(text: str) -> list[int]:
    """Return the seeds given as integers separated by commas.

    Raises:
        UserError: If they are not.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds is '{text}'; give integers separated by commas, such as 0,1,2") from None
