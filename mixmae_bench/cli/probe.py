"""measure a frozen backbone by k nearest neighbours, logistic regression, linear and attentive probes"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mixmae_bench.cli.progress import image_lines, left, tell
from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.system.collection import without_collection
from mixmae_bench.system.files import check_writable

if TYPE_CHECKING:
    from mixmae_bench.report.table import Table

FEATURES = "features of {} images"
"""Start of the lines about features."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "config",
        metavar="CONFIG|RUN|SUITE",
        help="classification config, by path or name; the folder of a run; or a suite, for the initial "
        "weights of all its methods",
    )
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
    parser.add_argument("--seeds", help="seeds (default: 0,1,2, or the suite's)")
    parser.add_argument("--probes", help="probes to run (default: all), such as knn,linear,efficient")
    parser.add_argument(
        "--stages", help="stages such as 1,last,all (default: every stage, and all of them together)"
    )
    parser.add_argument(
        "--epochs", type=int, default=90, help="epochs of linear and attentive probes (default: 90)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="append the records to a JSON Lines file (of a suite, by default probes.jsonl in its folder)",
    )
    parser.add_argument("--work-dir", type=Path, help="folder of a suite's results (default: work_dirs/NAME)")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from mixmae_bench.cli.suite_arguments import integers
    from mixmae_bench.system.shipped import is_suite

    seeds = None if args.seeds is None else integers(args.seeds)
    probes = probes_of(args.probes)
    if args.epochs < 1 or (seeds and (min(seeds) < 0 or len(set(seeds)) < len(seeds))):
        raise UserError("--epochs must be 1 or more, and --seeds different integers of 0 or more")
    if args.out and args.out.is_dir():
        raise UserError(f"--out {args.out} is a folder; give a file")
    suite = is_suite(args.config)
    if suite and (args.checkpoint or args.data):
        raise UserError("--checkpoint and --data cannot be given with a suite, which names both")
    if args.work_dir and not suite:
        raise UserError(f"--work-dir belongs to a suite; {args.config} is none")
    tell("starting")
    with without_collection():
        from mmengine.logging import MMLogger

        from mixmae_bench.compat.openmmlab import quiet

        with quiet():
            import mixmae_bench.probes.ladder  # noqa: F401
    MMLogger.get_current_instance().setLevel("WARNING")  # models log while they are built
    table = _of_suite(args, probes) if suite else _of_one(args, probes, seeds or [0, 1, 2])
    from mixmae_bench.report.text import text

    print(text(table), end="")
    return 0


def _of_one(args: argparse.Namespace, probes: list[str], seeds: list[int]) -> "Table":
    """Probe a config or a run; return its table."""
    from mixmae_bench.probes.frozen import Frozen
    from mixmae_bench.probes.ladder import climb
    from mixmae_bench.probes.source import find_source
    from mixmae_bench.report.probes import probe_table

    frozen = Frozen(find_source(args.config, args.data, args.checkpoint), image_lines(FEATURES))
    if args.out:
        check_writable(args.out.absolute().parent, "give another with --out")
    return probe_table(climb(frozen, probes, _stages(args), seeds, args.epochs, args.out, _probe_lines()))


def _of_suite(args: argparse.Namespace, probes: list[str]) -> "Table":
    """Probe the initial weights of every method and seed of a suite; return one table of all."""
    from mixmae_bench.cli.suite_arguments import integers
    from mixmae_bench.probes.frozen import Frozen
    from mixmae_bench.probes.ladder import climb
    from mixmae_bench.probes.source import find_source
    from mixmae_bench.report.probes import suite_probe_table
    from mixmae_bench.results.probes import FILE
    from mixmae_bench.suite.probing import initial_weights
    from mixmae_bench.suite.spec import read_suite

    suite = read_suite(args.config, integers(args.seeds) if args.seeds else None)
    work_dir = args.work_dir or Path("work_dirs") / suite.name
    all_weights = initial_weights(suite, work_dir)
    out = args.out or work_dir / FILE
    check_writable(out.absolute().parent, "give another with --out")
    records = []
    sources = [find_source(str(own.config), None, own.checkpoint) for own in all_weights]
    for number, (own, source) in enumerate(zip(all_weights, sources, strict=True), 1):
        tell(f"{number}/{len(sources)} {own.method}, seed {own.seed}")
        frozen = Frozen(source, image_lines(FEATURES))
        asked = (probes, _stages(args), [own.seed], args.epochs)
        records += climb(frozen, *asked, out, _probe_lines(), (suite.name, suite.version, own.method))
    return suite_probe_table(records)


def _stages(args: argparse.Namespace) -> list[str]:
    return args.stages.split(",") if args.stages else []


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
