"""Command line `mixmae-bench`: one module per subcommand with lazy imports, so that --help is fast."""

import argparse
from importlib import import_module

from mixmae_bench.cli.exits import exits_on_user_error
from mixmae_bench.compat.openmmlab import require_family

COMMANDS = (
    "run",
    "finetune",
    "tune",
    "status",
    "clean",
    "report",
    "table",
    "compare",
    "probe",
    "evaluate",
    "validate",
    "verify",
    "convert",
    "push",
    "submit",
    "check",
    "reconstruct",
    "flops",
    "speed",
    "data",
    "export",
    "ls",
    "doctor",
)
"""Modules of this package, in the order of --help. Each has `add_arguments(parser)` and `main(args) -> int`;
its docstring is its line in --help."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of `mixmae-bench` with all commands."""
    parser = argparse.ArgumentParser(
        prog="mixmae-bench", description="Transfer benchmark for masked image modelling on hierarchical ViTs."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        module = import_module(f"mixmae_bench.cli.{name}")
        command = commands.add_parser(name, help=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(main=module.main)
    return parser


@exits_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run `mixmae-bench`; return its exit status."""
    args = make_parser().parse_args(argv)
    require_family()
    return args.main(args)
