"""draw the masked input and the reconstruction of a pretrained model"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("config", type=Path, help="config of a pretraining method")
    parser.add_argument("checkpoint", type=Path, help="checkpoint of its run, or a converted one")
    parser.add_argument(
        "images", type=Path, nargs="*", help="image files (default: images of the training set)"
    )
    parser.add_argument("--out", type=Path, default=Path("reconstruction.png"), help="PNG to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mask (default: 0)")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from mixmae_bench.compat.openmmlab import quiet

    with quiet():
        from mixmae_bench.engine.reconstruct import reconstruct

    print(reconstruct(args.config, args.checkpoint, args.images, args.out, args.seed))
    return 0
