"""write records to TensorBoard, Weights & Biases or MLflow"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("tracker", help="tensorboard, wandb or mlflow")
    parser.add_argument("records", type=Path, nargs="+", metavar="FILE", help="records.jsonl of a suite")
    parser.add_argument(
        "--out", type=Path, default=Path("exported"), help="output folder (default: exported)"
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from mixmae_bench.engine.trackers import export

    print(f"{export(args.records, args.tracker, args.out)} records written to {args.out}")
    return 0
