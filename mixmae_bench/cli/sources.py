"""Where the commands `table`, `report` and `compare` find a suite and its records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mixmae_bench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from mixmae_bench.results.outline import Outline
    from mixmae_bench.results.record import Record

RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Source:
    """A suite and the files of its records.

    Attributes:
        outline: The suite.
        folder: Folder of its runs.
        files: Files of records; records of other suites in them do not count.
    """

    outline: "Outline"
    folder: Path
    files: tuple[Path, ...]


def find_sources(name: str, work_dir: Path | None = None, files: Sequence[Path] = ()) -> list[Source]:
    """Return the suites that a name stands for.

    A records file (*.jsonl) stands for the suites that it has records of. A suite is given by its file or
    its name in this package; its records are in `files`, else in `work_dir`, else in work_dirs/NAME, else,
    if there are none, in the results of this package.

    Raises:
        UserError: If a file is missing, a records file has no record, or the suite is not known.
    """
    from mixmae_bench.suite.spec import read_suite

    for file in files:
        _check(file)
    if name.endswith(".jsonl"):
        return _of_records(Path(name))
    outline = read_suite(name).outline()
    folder = work_dir or Path("work_dirs") / outline.name
    if files:
        return [Source(outline, folder, tuple(files))]
    if work_dir and not (work_dir / RECORDS).is_file():
        raise UserError(f"{work_dir} has no {RECORDS}; give --work-dir, or run the suite first")
    if (folder / RECORDS).is_file():
        return [Source(outline, folder, (folder / RECORDS,))]
    from mixmae_bench.report.make import measured_files

    return [Source(outline, folder, measured_files())]


def _of_records(file: Path) -> list[Source]:
    from mixmae_bench.results.outline import outline_of
    from mixmae_bench.results.record import read_records

    _check(file)
    groups: dict[tuple[str, int], list[Record]] = {}
    for record in read_records(file)[0]:
        groups.setdefault((record.suite, record.suite_version), []).append(record)
    if not groups:
        raise UserError(f"records {file} hold no record; give the {RECORDS} of a run")
    return [Source(outline_of(records), file.parent, (file,)) for records in groups.values()]


def the_one(sources: list[Source], name: str) -> Source:
    """Return the only suite of a name.

    Raises:
        UserError: If a records file has several.
    """
    if len(sources) > 1:
        known = ", ".join(f"{s.outline.name} (version {s.outline.version})" for s in sources)
        raise UserError(
            f"{name} has records of several suites: {known}; give `table` a suite and --records {name}"
        )
    return sources[0]


def _check(file: Path) -> None:
    if not file.is_file():
        raise UserError(f"records {file} do not exist; give the {RECORDS} of a run")


def recorded(run: str) -> "Record":
    """Return the record that RECORDS:METHOD/seedN/TASK names, or the only one of RECORDS.

    Raises:
        UserError: If there is no such file or record.
    """
    from mixmae_bench.results.comparison import name_of
    from mixmae_bench.results.record import read_records

    path, _, name = (run, "", "") if Path(run).is_file() else run.rpartition(":")
    if not Path(path).is_file():
        raise UserError(f"{run} is no folder of a training and no RECORDS:METHOD/seedN/TASK; check the path")
    records = {name_of(record): record for record in read_records(Path(path))[0]}
    if not name and len(records) == 1:
        return next(iter(records.values()))
    if name not in records:
        near = did_you_mean(name, records)
        raise UserError(f"{path} has no run '{name}'; give {path}:METHOD/seedN/TASK.{near}")
    return records[name]
