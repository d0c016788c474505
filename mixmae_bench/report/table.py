"""The table of a suite, as Markdown: one row per method, mean and standard error over seeds."""

from collections.abc import Iterable
from statistics import fmean, stdev

from mixmae_bench.record import METRICS, Record

COLUMNS = {"top1": "top-1 ↑", "box_ap": "box AP ↑", "mask_ap": "mask AP ↑", "miou": "mIoU ↑"}


def suite_table(name: str, records: Iterable[Record]) -> str:
    """Return the table of a suite: a row per method and backbone, a column per metric of transfer.

    A cell is the mean over seeds ± its standard error (sample standard deviation / sqrt(seeds)). With one
    seed there is no such error, and the cell says so by having none.
    """
    # A cell that was recorded twice counts once, by its last record.
    cells = {(r.method, r.backbone, r.task, r.seed): r for r in records}
    transfer = [r for r in cells.values() if not r.metrics.keys() <= {"loss"}]
    rows = {}
    for record in transfer:
        rows.setdefault((record.method, record.backbone), []).append(record)
    # Random weights first, then by name: the order does not depend on which cell finished first.
    order = sorted(rows, key=lambda row: (row[0] != "scratch", row))
    seeds = sorted({r.seed for r in transfer})
    lines = [
        f"# {name}",
        "",
        "| method | backbone | " + " | ".join(COLUMNS.values()) + " | seeds |",
        "| --- | --- |" + " ---: |" * (len(COLUMNS) + 1),
    ]
    for method, backbone in order:
        own = rows[method, backbone]
        values = [mean_and_error([r.metrics[m] for r in own if m in r.metrics]) for m in COLUMNS]
        lines.append(f"| {method} | {backbone} | {' | '.join(values)} | {len({r.seed for r in own})} |")
    lines += [
        "",
        f"Seeds: {', '.join(map(str, seeds))}. Mean ± standard error over seeds (none with one seed).",
    ]
    lines += [f"{title}: {METRICS[metric]}." for metric, title in COLUMNS.items()]
    return "\n".join(lines) + "\n"


def mean_and_error(values: list[float]) -> str:
    """Write values of several seeds as '81.23 ± 0.45', one value as '81.23', none as an empty cell."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{fmean(values):.2f} ± {stdev(values) / len(values) ** 0.5:.2f}"


def metrics_text(metrics: dict[str, float]) -> str:
    """Write the metrics of one record in one line."""
    return ", ".join(
        f"{COLUMNS.get(name, name).removesuffix(' ↑')} {value:.2f}" for name, value in metrics.items()
    )
