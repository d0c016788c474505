"""compare models with recorded outputs of the official implementations"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("folder", type=Path, help="folder with a manifest.json, such as tests/reference")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument("--compile", action="store_true", help="compile the transformer blocks")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="cases to compare, such as 'mixmae_*'")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    from mixmae_bench.verify.run import verify

    return 1 if verify(args.folder, args.device, args.only, Console(), args.compile) else 0
