"""convert checkpoints of other code to this package's names, or to those of another package"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "file", type=Path, help="checkpoint: official, mmpretrain, timm, or of a run of this package"
    )
    parser.add_argument("out", type=Path, help="file to write, .safetensors or .pth")
    parser.add_argument(
        "--to",
        choices=["official", "timm", "mmpretrain"],
        help="write the names of the official code, or the encoder with those of timm or mmpretrain",
    )
    parser.add_argument(
        "--fit", type=Path, metavar="CONFIG", help="resize position and bias tables to this config's backbone"
    )
    parser.add_argument(
        "--img-size", type=int, metavar="N", help="pixels per side, if only shift masks depend on it"
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from mixmae_bench.convert.run import convert

    report = convert(args.file, args.out, args.to, args.fit, args.img_size)
    print("\n".join([*report.lines(), f"wrote {args.out}"]))
    return 0
