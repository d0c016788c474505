"""measure a frozen backbone by k nearest neighbours, logistic regression, linear and attentive probes"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from mixmae_bench.cli.progress import image_lines, left, tell
from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.system.collection import without_collection
from mixmae_bench.system.files import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("config", help="classification config, by path or name, or the folder of a run")
    parser.add_argument(
        "--data",
        metavar="DIR|digits",
        help="folder of the data in the layout of the config, or digits for the embedded digits (default: "
        "the config's data)",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="checkpoint of the backbone, the folder of a run, timm:MODEL.TAG or hf-hub:REPO (default: the "
        "config's or the run's, else random weights)",
    )
    parser.add_argument("--seeds", default="0,1,2", help="seeds (default: 0,1,2)")
    parser.add_argument("--probes", help="probes to run (default: all), such as knn,linear,efficient")
    parser.add_argument(
        "--stages", help="stages such as 1,last,all (default: every stage, and all of them together)"
    )
    parser.add_argument(
        "--epochs", type=int, default=90, help="epochs of linear and attentive probes (default: 90)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="append the records to a JSON Lines file")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from mixmae_bench.cli.suite_arguments import integers
    from mixmae_bench.report.probes import probe_table
    from mixmae_bench.report.text import text

    seeds, probes = integers(args.seeds), probes_of(args.probes)
    if args.epochs < 1 or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UserError("--epochs must be 1 or more, and --seeds different integers of 0 or more")
    if args.out and args.out.is_dir():
        raise UserError(f"--out {args.out} is a folder; give a file")
    tell("starting")
    with without_collection():
        from mmengine.logging import MMLogger

        from mixmae_bench.compat.openmmlab import quiet

        with quiet():
            from mixmae_bench.probes.frozen import Frozen
            from mixmae_bench.probes.ladder import climb
            from mixmae_bench.probes.source import find_source

        MMLogger.get_current_instance().setLevel("WARNING")  # models log while they are built
        frozen = Frozen(
            find_source(args.config, args.data, args.checkpoint), image_lines("features of {} images")
        )
    if args.out:
        check_writable(args.out.absolute().parent, "give another with --out")
    stages = args.stages.split(",") if args.stages else []
    records = climb(frozen, probes, stages, seeds, args.epochs, args.out, _probe_lines())
    print(text(probe_table(records)), end="")
    return 0


def probes_of(given: str | None) -> list[str]:
    """Return the names of the probes in an argument, or of all.

    Raises:
        UserError: If one is unknown.
    """
    from mixmae_bench.results.probes import PROBES

    names = given.split(",") if given else list(PROBES)
    for name in names:
        if name not in PROBES:
            raise UserError(f"--probes has '{name}'; known: {', '.join(PROBES)}.{did_you_mean(name, PROBES)}")
    return list(dict.fromkeys(names))


def _probe_lines() -> Callable[[int, int, str], None]:
    """Return a function that prints every finished probe."""
    begun = time.monotonic()
    return lambda done, total, own: tell(f"{done}/{total} {own}{left(time.monotonic() - begun, done, total)}")
