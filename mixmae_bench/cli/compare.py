"""say whether a training is where reference runs were, at any point of it"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mixmae_bench.cli.sources import find_sources, recorded

if TYPE_CHECKING:
    from mixmae_bench.results.comparison import Comparison
    from mixmae_bench.results.record import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "run",
        metavar="RUN",
        help="folder of a running or finished training, or a recorded run as RECORDS:METHOD/seedN/TASK",
    )
    parser.add_argument(
        "reference", metavar="REFERENCE", help="suite file or name, or a file of records (*.jsonl)"
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status: 0 inside the band, 1 outside."""
    from mixmae_bench.results.comparison import compare, references_of, training_of
    from mixmae_bench.results.curves import TOLERANCE, read_training

    own = None if Path(args.run).is_dir() else recorded(args.run)
    training = read_training(Path(args.run)) if own is None else training_of(own)
    references = references_of(training, _references(args.reference), args.reference)
    found = compare(training, references)
    seeds = ", ".join(str(r.seed) for r in references)
    print(f"{training.name or args.run}: config {training.config}, reference runs of seeds {seeds}")
    if len(references) == 1:
        print(f"one reference run has no spread: the band is its value ± {TOLERANCE:.0%}")
    for line in found:
        print(_text(line))
    if not found:
        print("nothing to compare yet: no epoch is finished that the reference runs have recorded")
    return 1 if any(line.left for line in found) else 0


def _text(found: "Comparison") -> str:
    """Return the outcome of a comparison in one line."""
    from mixmae_bench.results.metrics import title

    epoch, value, band = found.left or found.last
    numbers = f"{value:.5g}, band {band.low:.5g} to {band.high:.5g}"
    if found.left:
        return f"outside  {title(found.metric)}: from epoch {epoch:g} on: {numbers}"
    return f"inside   {title(found.metric)}: up to epoch {epoch:g} ({found.points} points): {numbers}"


def _references(name: str) -> list["Record"]:
    """Return the records of the suites that a name stands for."""
    from mixmae_bench.report.make import suite_records

    return [r for source in find_sources(name) for r in suite_records(source.outline, source.files)[0]]
