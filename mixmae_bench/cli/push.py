"""write a finished run as a Hugging Face repository: weights, config and model card"""

import argparse
from pathlib import Path

from mixmae_bench.cli.sources import RECORDS, recorded
from mixmae_bench.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "run", metavar="RUN", help="folder of a finished run, or RECORDS:METHOD/seedN/TASK, as for compare"
    )
    parser.add_argument(
        "target", metavar="FOLDER|hf-hub:ORG/NAME", help="folder to write, or repository to upload to"
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    given = _in_records(Path(args.run)) if Path(args.run).is_dir() else args.run
    record = recorded(given)
    # Imported here, as torch and mmengine take seconds to import.
    from mixmae_bench.publish.run import push
    from mixmae_bench.results.comparison import name_of

    records = Path(given) if Path(given).is_file() else Path(given.rpartition(":")[0])
    push(record, records.parent / name_of(record), args.target)
    print(f"written: {args.target}")
    return 0


def _in_records(folder: Path) -> str:
    """Return RECORDS:METHOD/seedN/TASK of the folder of a run, or RECORDS of a folder of results."""
    folder = folder.resolve()
    if (folder / RECORDS).is_file():
        return str(folder / RECORDS)
    above = folder.parents[2] if len(folder.parents) > 2 else folder
    if not (above / RECORDS).is_file():
        raise UserError(f"{folder} is no finished run of a suite: {above / RECORDS} does not exist")
    return f"{above / RECORDS}:{folder.relative_to(above).as_posix()}"
