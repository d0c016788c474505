"""Rules for the files of a submission."""

import re
from collections.abc import Iterator

from mixmae_bench.errors import UserError
from mixmae_bench.results.outcomes import FOLDER
from mixmae_bench.results.tuning import TUNING_FILE
from mixmae_bench.submissions.folder import MOST_BYTES, Submission, size_of
from mixmae_bench.suite.progress import FAILED
from mixmae_bench.suite.spec import NAME

POINT = re.compile(rf"[^/]+/seed\d+/[^/]+@[^/]+/{FAILED}")
"""Path of the note of a point of the tuning's grid that diverged."""

KEY = re.compile("[0-9a-f]{16}")


def links(submission: Submission) -> Iterator[str]:
    """The folder contains plain files and folders only, no links."""
    for path in sorted(submission.root.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            yield f"{path.relative_to(submission.root)} is a link or a special file; copy the file itself"


def size(submission: Submission) -> Iterator[str]:
    """All files together have at most 2,000,000 bytes."""
    sizes = size_of(submission.root)
    total = sum(sizes.values())
    if total > MOST_BYTES:
        largest = ", ".join(f"{name} {own:,}" for name, own in list(sizes.items())[:3])
        yield f"{total:,} bytes are more than {MOST_BYTES:,}; largest: {largest}"


def schema(submission: Submission) -> Iterator[str]:
    """Every line of `records.jsonl` and `tuning.jsonl` is a record of a known schema."""
    yield from submission.complaints
    yield from submission.tuning[1]
    if not submission.records and not submission.complaints:
        yield "records.jsonl has no record"


def paths(submission: Submission) -> Iterator[str]:
    """Methods, tasks and keys are plain names, so that no file outside the folder is read."""
    for run in submission.runs:
        record = run.record
        if not NAME.fullmatch(record.method) or not NAME.fullmatch(record.task):
            yield f"{run.name} is no METHOD/seedN/TASK of plain names"
        if not KEY.fullmatch(record.key):
            yield f"{run.name}: key {record.key!r} is not 16 hexadecimal digits"
        if record.outcomes not in (None, f"{FOLDER}/{record.key}.npz"):
            yield f"{run.name}: the outcomes are in {record.outcomes!r}, not {FOLDER}/{record.key}.npz"


def files(submission: Submission) -> Iterator[str]:
    """The files that the records name exist, and there are no others."""
    found = set(size_of(submission.root))
    wanted = set(submission.wanted_files())
    yield from (f"{name} is missing" for name in sorted(wanted - found))
    for name in sorted(found - wanted - {TUNING_FILE}):
        if not POINT.fullmatch(name):
            yield f"{name} belongs to no record; remove it"


def readable(submission: Submission) -> Iterator[str]:
    """Config, identity, curves and log of every run can be read as data; nothing is executed."""
    for run in submission.runs:
        for part in ("identity", "config", "training", "log"):
            try:
                getattr(run, part)
            except UserError as error:
                yield str(error)


def outcomes(submission: Submission) -> Iterator[str]:
    """The per-image outcomes are the file with the record's hash, without pickled objects."""
    for run in submission.runs:
        try:
            run.outcomes  # noqa: B018  (reads the file)
        except UserError as error:
            yield str(error)
