"""Data of a suite's plots and summary: a row of numbers per method and backbone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mixmae_bench.report.columns import columns, latest, row_order, runs_of, transfers
from mixmae_bench.results.outline import PRETRAINING, Outline
from mixmae_bench.results.record import Record
from mixmae_bench.results.significance import Measured, measured


@dataclass(frozen=True)
class Row:
    """A method on a backbone.

    Attributes:
        name: Name of the method, and of the backbone if the method has several.
        place: Index of the row, which selects colour and marker.
        family: Name that the sizes of one method share.
        records: Records of its runs.
        values: Mean and standard error by title of the column (see `report.columns`), in the same order in
            all rows; None if not run. The standard error is over seeds; with one seed, over images.
        flops: FLOPs of the whole model per image, by the same titles, or None.
        pretraining_flops: Total FLOPs of pretraining, forward and backward, mean over seeds: 0 for random
            weights, None if unknown, for example for a given checkpoint.
    """

    name: str
    place: int
    family: str
    records: tuple[Record, ...]
    values: dict[str, Measured | None]
    flops: dict[str, int | None]
    pretraining_flops: float | None


def make_rows(records: Iterable[Record], outline: Outline | None = None) -> list[Row]:
    """Return a row per method and backbone, in the order of `columns.row_order`.

    Args:
        records: Records of one suite.
        outline: The suite, for the families and the order of its methods, and the order of its columns.
    """
    cells = latest(records)
    scores = columns(cells, outline)
    by_key = {r.key: r for r in cells}
    groups = row_order({(r.method, r.backbone) for r in transfers(cells)}, outline)
    methods = [method for method, _ in groups]
    rows = []
    for place, (method, backbone) in enumerate(groups):
        own = runs_of(cells, method, backbone)
        costs = [pretraining_flops(r, by_key) for r in transfers(own)]
        rows.append(
            Row(
                f"{method}, {backbone}" if methods.count(method) > 1 else method,
                place,
                outline.family(method) if outline else method,
                tuple(own),
                {column.title: over_seeds(column.of(own), column.metric) for column in scores},
                {column.title: _most_flops(column.of(own)) for column in scores},
                None if None in costs else sum(costs) / len(costs),
            )
        )
    return rows


def _most_flops(records: Sequence[Record]) -> int | None:
    return max((r.flops for r in records if r.flops is not None), default=None)


def by_scores(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Return the rows several times, each time with the next `size` scores."""
    titles = list(rows[0].values) if rows else []
    return [
        [
            replace(row, values={t: row.values[t] for t in own}, flops={t: row.flops[t] for t in own})
            for row in rows
        ]
        for own in (titles[i : i + size] for i in range(0, len(titles), size))
    ]


def by_tasks(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Return the rows several times, each time with the records of the next `size` tasks."""
    tasks = list(dict.fromkeys(r.task for row in rows for r in row.records))
    return [
        [replace(row, records=tuple(r for r in row.records if r.task in own)) for row in rows]
        for own in (tasks[i : i + size] for i in range(0, len(tasks), size))
    ]


def over_seeds(records: Sequence[Record], metric: str) -> Measured | None:
    """Return the mean, with the standard error over seeds; with one seed, over images."""
    own = [r for r in records if metric in r.metrics]
    return measured([replace(r, stderr={}) for r in own] if len(own) > 1 else own, metric)


def pretraining_flops(record: Record, by_key: dict[str, Record]) -> float | None:
    """Return the total FLOPs of the pretraining of a run's initial weights.

    A training step counts as three forward passes: one forward, two backward. Return 0 for random weights,
    and None for a given checkpoint or if the record of the pretraining is missing or incomplete.
    """
    while record.task != PRETRAINING:
        if record.initialisation == "random":
            return 0.0
        if record.parent not in by_key:
            return None
        record = by_key[record.parent]
    if None in (record.flops, record.iterations, record.accumulation):
        return None
    return 3.0 * record.flops * record.iterations * record.effective_batch / record.accumulation
