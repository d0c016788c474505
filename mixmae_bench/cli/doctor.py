"""print versions, device and ops, and report conflicts"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command (none)."""


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from mixmae_bench.engine.doctor import diagnose

    return diagnose()
