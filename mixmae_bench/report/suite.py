"""The table of a suite: one row per method, mean and standard error over seeds."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from mixmae_bench.report.table import Table
from mixmae_bench.results.metrics import METRICS, title
from mixmae_bench.results.record import Record
from mixmae_bench.results.tuning import is_tuning, protocol_note


def column(name: str) -> str:
    """Return the column title of a metric, with an arrow if higher is better."""
    return f"{title(name)} ↑" if name not in METRICS or METRICS[name].higher_is_better else title(name)


@dataclass(frozen=True)
class Waiting:
    """A method without records, with the FLOPs per image of its models if counted."""

    method: str
    flops: int | None
    pretraining_flops: int | None


def suite_table(name: str, records: Iterable[Record], waiting: Iterable[Waiting] = ()) -> Table:
    """Return the table of a suite: a row per method and backbone, a column per metric of transfer.

    A cell is the mean over seeds ± its standard error (sample standard deviation / sqrt(seeds)); with one
    seed, there is no standard error. Costs come first: parameters of the backbone, FLOPs of the classifier,
    FLOPs and seconds of pretraining. Methods without records (`waiting`) are the last rows.
    """
    cells = latest(records)
    transfer = [r for r in cells if r.task != "pretraining"]
    rows: dict[tuple[str, str], list[Record]] = {}
    for record in transfer:
        rows.setdefault((record.method, record.backbone), []).append(record)
    columns = metric_columns(transfer)
    table = []
    # Random weights first, then by name, so the order does not depend on which run finished first.
    for method, backbone in sorted(rows, key=lambda row: (row[0] != "scratch", row)):
        own = rows[method, backbone]
        row = (method, backbone, "pretraining")
        pretraining = [r for r in cells if (r.method, r.backbone, r.task) == row]
        table.append(
            [
                method,
                backbone,
                parameters(max(r.backbone_params for r in own)),
                flops([r.flops for r in own if "top1" in r.metrics]),
                flops([r.flops for r in pretraining]),
                f"{fmean(r.seconds for r in pretraining):.0f}" if pretraining else "",
                *(
                    _mean_over_seeds([r for r in own if m in r.metrics and r.task in tasks], m)
                    for m, tasks in columns.values()
                ),
                str(len({r.seed for r in own})),
            ]
        )
    for method in waiting:
        costs = [flops([n]) for n in (method.flops, method.pretraining_flops)]
        table.append([method.method, "", "", *costs, "", *["not run"] * len(columns), "0"])
    costs = ["params", "FLOPs", "pretraining FLOPs", "pretraining s"]
    seeds = sorted({r.seed for r in transfer})
    notes = [
        f"Seeds: {', '.join(map(str, seeds))}. Mean ± standard error over seeds (none with one seed)."
        if seeds
        else "Not run: there are no records of this suite.",
        *protocol_note(transfer),
        "params: of the backbone. FLOPs: of the classifier; pretraining FLOPs: decoder included; both per "
        "image, a multiply-add is 1. pretraining s: wall time, mean over seeds.",
        *(
            f"{column(name)}: {METRICS[name].meaning}."
            for name in _transfer_metrics(transfer)
            if name in METRICS
        ),
        *_absent_classes(transfer),
    ]
    return Table(name, ["method", "backbone", *costs, *columns, "seeds"], table, notes)


def _mean_over_seeds(records: list[Record], metric: str) -> str:
    text = mean_and_error([record.metrics[metric] for record in records])
    return f"{text} *" if any(record.absent_classes for record in records) else text


def _absent_classes(transfer: list[Record]) -> list[str]:
    """Return notes with the classes that values with a star leave out."""
    absent: dict[str, set[str]] = {}
    for record in transfer:
        absent.setdefault(record.task, set()).update(record.absent_classes)
    return [
        f"*: not over all classes: in {task} no validation image has {', '.join(sorted(names))}."
        for task, names in absent.items()
        if names
    ]


def metric_columns(transfer: list[Record]) -> dict[str, tuple[str, set[str]]]:
    """Return title -> metric and tasks, with one column per task if several tasks have the metric."""
    columns = {}
    for metric in _transfer_metrics(transfer):
        tasks = sorted({r.task for r in transfer if metric in r.metrics})
        if len(tasks) < 2:
            columns[column(metric)] = (metric, set(tasks))
        else:
            columns |= {f"{column(metric)} ({task})": (metric, {task}) for task in tasks}
    return columns


def _transfer_metrics(transfer: list[Record]) -> list[str]:
    """Return the transfer metrics of the catalog, then metrics that occur in records only."""
    known = [metric.name for metric in METRICS.values() if metric.of_transfer]
    others = {name for r in transfer for name in r.metrics} - METRICS.keys()
    return [*known, *sorted(others)]


def latest(records: Iterable[Record]) -> list[Record]:
    """Return the last record of every run of a suite, without the runs of its tuning."""
    results = (r for r in records if not is_tuning(r))
    return list({(r.suite, r.method, r.backbone, r.task, r.dataset, r.seed): r for r in results}.values())


def mean_and_error(values: list[float]) -> str:
    """Return values of several seeds as '81.23 ± 0.45', one value as '81.23', no value as ''."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{fmean(values):.2f} ± {stdev(values) / len(values) ** 0.5:.2f}"


def parameters(number: int) -> str:
    """Return a number of parameters in millions, such as '88.34 M'."""
    return f"{number / 1e6:.2f} M"


def flops(numbers: Iterable[int | None]) -> str:
    """Return the largest of the FLOPs of one model (one per seed) in G or M; '' without any."""
    most = max((number for number in numbers if number is not None), default=None)
    if most is None:
        return ""
    return f"{most / 1e9:.2f} G" if most >= 1e9 else f"{most / 1e6:.1f} M"
