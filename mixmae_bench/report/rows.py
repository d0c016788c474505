"""Data of a suite's plots and summary: a row of numbers per method and backbone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mixmae_bench.report.suite import latest, metric_columns
from mixmae_bench.results.record import Record
from mixmae_bench.results.significance import Measured, measured


@dataclass(frozen=True)
class Row:
    """A method on a backbone.

    Attributes:
        name: Name of the method, and of the backbone if the suite has several.
        place: Index of the row, which selects colour and marker.
        records: Records of its runs.
        values: Mean and standard error by title of the metric, in the same order in all rows; None if not
            run. The standard error is over seeds; with one seed, over images.
        flops: FLOPs of the classifier, per image, or None.
        pretraining_flops: Total FLOPs of pretraining, forward and backward, mean over seeds: 0 for random
            weights, None if unknown, for example for a given checkpoint.
    """

    name: str
    place: int
    records: tuple[Record, ...]
    values: dict[str, Measured | None]
    flops: int | None
    pretraining_flops: float | None

    def of(self, metric: str) -> Measured | None:
        """Return mean and standard error of a metric of the classification runs."""
        return over_seeds([r for r in self.records if "top1" in r.metrics], metric)


def make_rows(records: Iterable[Record]) -> list[Row]:
    """Return a row per method and backbone: random weights first, then by name."""
    cells = latest(records)
    transfer = [r for r in cells if r.task != "pretraining"]
    columns = metric_columns(transfer)
    by_key = {r.key: r for r in cells}
    groups = sorted({(r.method, r.backbone) for r in transfer}, key=lambda g: (g[0] != "scratch", g))
    several = len({backbone for _, backbone in groups}) > 1
    rows = []
    for place, (method, backbone) in enumerate(groups):
        own = tuple(r for r in cells if (r.method, r.backbone) == (method, backbone))
        ends = [r for r in own if r.task != "pretraining"]
        values = {
            title.removesuffix(" ↑"): over_seeds([r for r in ends if r.task in tasks], metric)
            for title, (metric, tasks) in columns.items()
        }
        flops = [r.flops for r in ends if r.task == "classification" and r.flops is not None]
        costs = [pretraining_flops(r, by_key) for r in ends]
        rows.append(
            Row(
                f"{method}, {backbone}" if several else method,
                place,
                own,
                values,
                max(flops, default=None),
                None if None in costs else sum(costs) / len(costs),
            )
        )
    return rows


def over_seeds(records: Sequence[Record], metric: str) -> Measured | None:
    """Return the mean, with the standard error over seeds; with one seed, over images."""
    own = [r for r in records if metric in r.metrics]
    return measured([replace(r, stderr={}) for r in own] if len(own) > 1 else own, metric)


def pretraining_flops(record: Record, by_key: dict[str, Record]) -> float | None:
    """Return the total FLOPs of the pretraining of a run's initial weights.

    A training step counts as three forward passes: one forward, two backward. Return 0 for random weights,
    and None for a given checkpoint or if the record of the pretraining is missing or incomplete.
    """
    while record.task != "pretraining":
        if record.initialisation == "random":
            return 0.0
        if record.parent not in by_key:
            return None
        record = by_key[record.parent]
    if None in (record.flops, record.iterations, record.accumulation):
        return None
    return 3.0 * record.flops * record.iterations * record.effective_batch / record.accumulation
