"""The choice among the runs of a tuning: which settings are the best on the tuning split."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.record import Record, read_records

RESULTS_FILE, TUNING_FILE = "records.jsonl", "tuning.jsonl"
"""Files in the folder of a suite: records of results, and records of tuning runs."""

NEAR_TIE = 0.1
"""Largest difference from the best value, in the metric's unit (percentage points), that counts as a tie."""


def read_all_records(work_dir: Path) -> tuple[list[Record], list[str]]:
    """Read the records of results and of tuning runs in a suite's folder; see `record.read_records`."""
    results, complaints = read_records(work_dir / RESULTS_FILE)
    tuning, more = read_records(work_dir / TUNING_FILE)
    return results + tuning, complaints + more


def is_tuning(record: Record) -> bool:
    """Return whether a record is of a tuning run, which is not a result."""
    return record.tuning_share is not None


PROTOCOLS = {
    "published": "each method's own recipe",
    "shared": "one recipe for every initialisation",
    "tuned": "for every initialisation the best of the same grid of recipes, chosen on images held out of "
    "the training data, then trained on all of it",
}
"""Meaning of the protocols of suites, for tables."""


def protocol_note(records: Iterable[Record]) -> list[str]:
    """Return a note with the protocols behind some records; empty without records."""
    names = {record.protocol or "not recorded" for record in records}
    texts = [f"{name} ({PROTOCOLS[name]})" if name in PROTOCOLS else name for name in sorted(names)]
    return [f"Protocol: {'; '.join(texts)}."] if texts else []


def label(settings: Mapping[str, float]) -> str:
    """Return settings as text, such as 'lr=0.004,layer_decay=0.7'; 'config' without any."""
    return ",".join(f"{name}={value:g}" for name, value in settings.items()) or "config"


def main_metric(record: Record) -> str:
    """Return the metric that settings are chosen by: the record's first in the order of the catalog."""
    known = [name for name in METRICS if name in record.metrics]
    return known[0] if known else next(iter(record.metrics))


def best(records: Sequence[Record]) -> Record:
    """Return the best of the tuning runs of a task and an initialisation, by their main metric.

    Among runs within `NEAR_TIE` of the best, the first is returned.

    Args:
        records: Records in the order of the grid, at least one.
    """
    name = main_metric(records[0])
    sign = 1 if name not in METRICS or METRICS[name].higher_is_better else -1
    values = [sign * record.metrics[name] for record in records]
    return next(r for r, value in zip(records, values, strict=True) if value >= max(values) - NEAR_TIE)


def at_border(
    chosen: Mapping[str, float],
    points: Sequence[Mapping[str, float]],
    limits: Mapping[str, tuple[float, float | None]],
) -> list[str]:
    """Return the settings whose chosen value is the smallest or the largest of the grid.

    A value that could not be exceeded, such as no layer decay, is not at the border.

    Args:
        chosen: Chosen values by setting.
        points: All points of the grid.
        limits: Smallest and largest possible value of every setting; None without a largest.
    """
    found = []
    for name, value in chosen.items():
        values = {point[name] for point in points}
        ends = {min(values), max(values)} - set(limits[name])
        if len(values) > 1 and value in ends:
            found.append(name)
    return found
