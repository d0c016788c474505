"""count parameters and FLOPs of models, module by module"""

import argparse
from pathlib import Path

from mixmae_bench.errors import UserError
from mixmae_bench.system.collection import without_collection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="config by path or name, or a model: timm:NAME, mmpretrain:NAME",
    )
    parser.add_argument(
        "--shape",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="image size (default: the model's; 800 1280 for detection)",
    )
    parser.add_argument(
        "--device",
        default="meta",
        help="meta (default; nothing is computed), or cpu or cuda for models that depend on tensor values",
    )
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the counts to a JSON Lines file")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from rich.console import Console

    if args.shape and min(args.shape) < 1:
        raise UserError(f"--shape is {args.shape[0]} {args.shape[1]}; give height and width in pixels")
    console = Console()
    with console.status("starting"), without_collection():
        from mmengine.logging import MMLogger

        from mixmae_bench.cost.table import show_cost
        from mixmae_bench.results.record import append_record

        MMLogger.get_current_instance().setLevel("WARNING")  # models log while they are built
    for model in args.models:
        count = show_cost(model, args.shape, args.device, console)
        if args.record:
            append_record(args.record, count)
    return 0
