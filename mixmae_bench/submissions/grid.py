"""Rules for the set of runs of a submission."""

import math
from collections.abc import Iterator
from dataclasses import asdict

from mixmae_bench.report.make import measured_files
from mixmae_bench.results.record import Record, read_records
from mixmae_bench.results.tuning import is_tuning
from mixmae_bench.submissions.folder import Submission

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


def one_method(submission: Submission) -> Iterator[str]:
    """All records are results of one method in one version of one suite; tuning runs are no results."""
    found = sorted({(r.suite, r.suite_version, r.method) for r in submission.records})
    if len(found) > 1:
        each = ", ".join(f"{method} of {suite} version {version}" for suite, version, method in found)
        yield f"records of {each}; make one submission of each"
    for run in submission.runs:
        if is_tuning(run.record):
            share = run.record.tuning_share
            yield f"{run.name} is a tuning run, evaluated on {share:.0%} of the training images"


def suite(submission: Submission) -> Iterator[str]:
    """The suite, its version and its method are known."""
    submission.suite  # noqa: B018  (raises a UserError)
    yield from ()


def seeds(submission: Submission) -> Iterator[str]:
    """Every seed of a task is recorded once, and no two seeds have the same losses."""
    for task, runs in submission.groups().items():
        known: dict[int, list[float]] = {}
        for run in runs:
            seed, losses = run.record.seed, run.record.losses
            if seed in known:
                yield f"{task}: seed {seed} is recorded twice"
            elif twins := [other for other, own in known.items() if losses and own == losses]:
                yield f"{task}: seed {seed} has exactly the losses of seed {twins[0]}"
            known[seed] = losses


def complete(submission: Submission) -> Iterator[str]:
    """Every seed has the pretraining and all tasks of the method in the suite, and nothing else."""
    planned, found = set(submission.planned), {run.name for run in submission.runs}
    yield from (f"{name} is missing" for name in sorted(planned - found))
    yield from (f"{name} is no run of the suite" for name in sorted(found - planned))


def new(submission: Submission) -> Iterator[str]:
    """No other run of the same method, task and seed is in the tables already; they show one of each."""
    known = {_place(r): (r.started, file) for file in measured_files() for r in read_records(file)[0]}
    for run in submission.runs:
        started, file = known.get(_place(run.record), (run.record.started, None))
        if started != run.record.started:
            yield f"{run.name} is in {file} already; submit other seeds"


def finite(submission: Submission) -> Iterator[str]:
    """All numbers of the records are finite."""
    for run in submission.runs:
        for field, value in asdict(run.record).items():
            if not all(map(math.isfinite, _floats(value))):
                yield f"{run.name}: {field} has a value that is NaN or infinite"


def precision(submission: Submission) -> Iterator[str]:
    """Every record states the precision of its training."""
    for run in submission.runs:
        if run.record.precision not in PRECISIONS:
            yield f"{run.name}: precision is {run.record.precision!r}, not one of {', '.join(PRECISIONS)}"


def _place(record: Record) -> tuple[str, int, str, str, int]:
    return record.suite, record.suite_version, record.method, record.task, record.seed


def _floats(node: object) -> Iterator[float]:
    if isinstance(node, float):
        yield node
    elif isinstance(node, dict):
        yield from _floats(list(node.values()))
    elif isinstance(node, list):
        for value in node:
            yield from _floats(value)
