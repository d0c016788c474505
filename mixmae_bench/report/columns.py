"""Columns of a suite's tables and panels of its plots: one per metric, data set and task."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mixmae_bench.results.metrics import METRICS, title
from mixmae_bench.results.outline import PRETRAINING, Outline
from mixmae_bench.results.record import Record
from mixmae_bench.results.tuning import is_tuning


@dataclass(frozen=True, order=True)
class Target:
    """What a method is transferred to: a data set, at whatever input size, and a task."""

    dataset: str
    task: str


@dataclass(frozen=True)
class Column:
    """A metric on a target.

    Attributes:
        title: Title, such as 'top-1', or 'top-1 (in1k)' if several targets have the metric.
        metric: Name of the metric.
        target: The target.
    """

    title: str
    metric: str
    target: Target

    @property
    def heading(self) -> str:
        """The title with an arrow after the metric's name if higher is better."""
        name = title(self.metric)
        return heading(self.metric) + self.title.removeprefix(name)

    def of(self, records: Iterable[Record]) -> list[Record]:
        """Return the records that have the metric on the target."""
        return [r for r in records if self.metric in r.metrics and target_of(r) == self.target]


def heading(metric: str) -> str:
    """Return the title of a metric, with an arrow if higher is better."""
    higher = metric not in METRICS or METRICS[metric].higher_is_better
    return f"{title(metric)} ↑" if higher else title(metric)


def data_set(name: str) -> str:
    """Return the name of a data set without the side of the images: 'in1k' for 'in1k-384px'."""
    return re.sub(r"-\d+px$", "", name)


def target_of(record: Record) -> Target:
    """Return the target of a record of a transfer."""
    return Target(data_set(record.dataset), record.task)


def transfers(records: Iterable[Record]) -> list[Record]:
    """Return the records of transfers, that is, all but those of pretraining."""
    return [r for r in records if r.task != PRETRAINING]


def columns(records: Sequence[Record], outline: Outline | None = None) -> list[Column]:
    """Return the columns of a suite: those with records and those that its outline announces.

    Metrics come in the order of the catalog, then by name; targets in the order of the outline, then by name.
    Two targets never share a column.
    """
    metrics = _metrics(records, outline)
    used = {name for names in metrics.values() for name in names}
    known = [m.name for m in METRICS.values() if m.of_transfer and m.name in used]
    found = []
    for metric in [*known, *sorted(used - METRICS.keys())]:
        own = [target for target, names in metrics.items() if metric in names]
        name = title(metric)
        labels = [f"{name} ({label})" for label in _labels(own)] if len(own) > 1 else [name]
        found += [Column(text, metric, target) for text, target in zip(labels, own, strict=True)]
    return found


def targets(records: Sequence[Record], outline: Outline | None = None) -> dict[Target, str]:
    """Return the titles of targets in columns of costs: that of its first metric, else its label."""
    known = list(_metrics(records, outline))
    titles = dict(zip(known, _labels(known), strict=True))
    first = {}
    for own in columns(records, outline):
        first.setdefault(own.target, own.title)
    return first | {target: label for target, label in titles.items() if target not in first}


def _metrics(records: Sequence[Record], outline: Outline | None) -> dict[Target, set[str]]:
    """Return the metrics of every target, in the order of the columns."""
    found: dict[Target, set[str]] = {}
    for method in outline.methods.values() if outline else ():
        for task in method.tasks:
            if task.name != PRETRAINING:
                found.setdefault(Target(data_set(task.dataset), task.name), set()).update(task.metrics)
    for record in sorted(transfers(records), key=target_of):
        found.setdefault(target_of(record), set()).update(record.metrics)
    return found


def _labels(own: Sequence[Target]) -> list[str]:
    """Return labels that tell targets apart: the data set, with the task where several tasks share it."""
    datasets = [target.dataset for target in own]
    labels = []
    for target in own:
        if datasets.count(target.dataset) == 1:
            labels.append(target.dataset)
        elif len(set(datasets)) == 1 or target.task.startswith(target.dataset):
            labels.append(target.task)
        else:
            labels.append(f"{target.dataset}, {target.task}")
    if len(set(labels)) < len(labels):
        return [f"{target.dataset}, {target.task}" for target in own]
    return labels


def latest(records: Iterable[Record]) -> list[Record]:
    """Return the last record of every run of a suite, without the runs of its tuning."""
    results = (r for r in records if not is_tuning(r))
    return list({(r.suite, r.method, r.backbone, r.task, r.dataset, r.seed): r for r in results}.values())


def runs_of(records: Sequence[Record], method: str, backbone: str) -> list[Record]:
    """Return the records of a method on a backbone: of its pretraining, then of its transfers.

    Pretraining may name the backbone otherwise, such as one of another window; it is left out only if the
    method has pretrained several.
    """
    own = [r for r in records if r.method == method]
    pretrained = [r for r in own if r.task == PRETRAINING]
    if len({r.backbone for r in pretrained}) > 1:
        pretrained = [r for r in pretrained if r.backbone == backbone]
    return [*pretrained, *(r for r in transfers(own) if r.backbone == backbone)]


def row_order(rows: Iterable[tuple[str, str]], outline: Outline | None) -> list[tuple[str, str]]:
    """Return pairs of method and backbone: the suite's methods in its order, then scratch, then by name."""
    planned = list(outline.methods) if outline else []

    def order(row: tuple[str, str]) -> tuple[object, ...]:
        place = planned.index(row[0]) if row[0] in planned else len(planned)
        return place, row[0] != "scratch", row

    return sorted(rows, key=order)
