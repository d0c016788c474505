"""evaluate a classifier on ImageNet-V2, ReaL, A, R, Sketch and C"""

import argparse
from pathlib import Path

from mixmae_bench.cli.progress import image_lines, tell
from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.system.collection import without_collection
from mixmae_bench.system.files import check_writable

RECORDS = "robustness.jsonl"
"""Records in the folder of a run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("config", help="folder of a run, or a classification config, by path or name")
    parser.add_argument(
        "--on",
        required=True,
        metavar="NAME,...",
        help="data sets: imagenet-v2, imagenet-real, imagenet-a, imagenet-r, imagenet-sketch, imagenet-c",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="checkpoint of the whole classifier, or the folder of a run (default: the run's)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder that contains a folder per data set (default: data)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"append the records to a JSON Lines file (default: {RECORDS} in the folder of the run)",
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from mixmae_bench.report.robustness import robustness_table
    from mixmae_bench.report.text import text
    from mixmae_bench.results.robustness import of_same_weights, read_robustness

    names = set_names(args.on)
    out = args.out or (Path(args.config) / RECORDS if Path(args.config).is_dir() else None)
    if out and out.is_dir():
        raise UserError(f"--out {out} is a folder; give a file")
    tell("starting")
    with without_collection():
        from mmengine.logging import MMLogger

        from mixmae_bench.compat.openmmlab import quiet

        with quiet():
            from mixmae_bench.robustness.classifier import find_classifier
            from mixmae_bench.robustness.run import evaluate
            from mixmae_bench.robustness.sets import find_set

        MMLogger.get_current_instance().setLevel("WARNING")  # models log while they are built
        classifier = find_classifier(args.config, args.checkpoint)
        model = classifier.load()
        sets = []
        for name in names:
            tell(f"checking the files of {name}")
            sets.append(find_set(name, args.data))
    if out:
        check_writable(out.absolute().parent, "give another with --out")
    records = evaluate(classifier, model, sets, out, image_lines("{}"))
    recorded = of_same_weights(read_robustness(out)[0], records[0]) if out else records
    print(text(robustness_table(recorded)), end="")
    return 0


def set_names(given: str) -> list[str]:
    """Return the names in an argument, without duplicates.

    Raises:
        UserError: If one is unknown.
    """
    from mixmae_bench.results.robustness import SETS

    names = given.split(",")
    for name in names:
        if name not in SETS:
            raise UserError(f"--on has '{name}'; known: {', '.join(SETS)}.{did_you_mean(name, SETS)}")
    return list(dict.fromkeys(names))
