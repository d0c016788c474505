"""The table of a suite: one row per method and backbone, mean and standard error over seeds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, stdev

from mixmae_bench.report.columns import (
    Column,
    Target,
    columns,
    data_set,
    heading,
    latest,
    row_order,
    runs_of,
    target_of,
    targets,
    transfers,
)
from mixmae_bench.report.joins import Key, PublishedRows, key_of, published_value, stem
from mixmae_bench.report.table import Section, Table, number
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.outline import PRETRAINING, Outline, OutlinedTask
from mixmae_bench.results.record import Record
from mixmae_bench.results.tuning import protocol_note

Row = tuple[str, str]
"""Method and backbone; the backbone of a method without records is ''."""

Own = Mapping[Row, list[Record]]
"""Records of every row."""

Cells = dict[str, list[str]]
"""Columns by their headings, with a text per row."""


UNITS = {"FLOPs": "FLOPs per image", "s": "Seconds of wall time"}
"""Titles of the sections of costs, by the first word of their columns."""


@dataclass(frozen=True)
class Context:
    """What is known about a suite besides its records.

    Attributes:
        outline: The suite, or None. Its methods, tasks and stated metrics are rows and columns without
            records too.
        published: Published rows (see `report.joins`); their values stand beside those of the records.
        flops: FLOPs per image by the name of a config, for models without records.
    """

    outline: Outline | None = None
    published: PublishedRows = field(default_factory=dict)
    flops: Mapping[str, int] = field(default_factory=dict)

    def task(self, method: str, target: Target | None) -> OutlinedTask | None:
        """Return the task of a method for a target, or its pretraining for None; None if it has none."""
        if not self.outline or method not in self.outline.methods:
            return None
        for task in self.outline.methods[method].tasks:
            own = None if task.name == PRETRAINING else Target(data_set(task.dataset), task.name)
            if own == target:
                return task
        return None

    def counted(self, method: str, target: Target | None) -> list[int | None]:
        """Return the FLOPs of the task's model as a list of one, or an empty list without the task."""
        task = self.task(method, target)
        return [self.flops.get(stem(task.config))] if task else []

    def key(self, method: str, target: Target) -> Key | None:
        """Return the configs that a published row must have to stand beside a cell."""
        task = self.task(method, target)
        made_by = self.outline.methods[method].pretrained_by if task else None
        return (stem(task.config), stem(made_by)) if made_by else None


def suite_table(name: str, records: Iterable[Record], context: Context | None = None) -> Table:
    """Return the table of a suite: a row per method and backbone, a column per metric, data set and task.

    A cell is the mean over seeds ± its standard error (sample standard deviation / sqrt(seeds)); with one
    seed, there is no standard error. Costs come after the metrics: parameters of the backbone, FLOPs and
    seconds of pretraining, FLOPs and seconds of every task. What is not recorded is an empty cell.
    """
    context = context or Context()
    cells = latest(records)
    own = {row: runs_of(cells, *row) for row in _rows(cells, context.outline)}
    scores = columns(cells, context.outline)
    known = targets(cells, context.outline)
    parts = [
        *(
            (heading(metric), _scores([c for c in scores if c.metric == metric], own, cells, context))
            for metric in dict.fromkeys(column.metric for column in scores)
        ),
        ("Backbone and pretraining", _pretraining(own, context)),
        ("FLOPs", _flops_of_tasks(own, known, context)),
        ("s", _seconds_of_tasks(own, known)),
    ]
    filled = {name: texts for _, part in parts for name, texts in part.items()}
    rows = [[*row, *(texts[i] for texts in filled.values())] for i, row in enumerate(own)]
    sections = [
        Section(UNITS.get(title, title), [_short(name, title) for name in part])
        for title, part in parts
        if part
    ]
    return Table(name, ["method", "backbone", *filled], rows, _notes(cells, scores), sections)


def _short(name: str, title: str) -> str:
    """Return the heading of a column in its section: 'in1k ↑' for 'top-1 ↑ (in1k)' in 'top-1 ↑'."""
    label = name.removeprefix(title).removeprefix(", ").removeprefix(" ")
    if label == name or not label:
        return name
    target, closed, rest = label.removeprefix("(").partition(")")
    arrow = " ↑" if "↑" in title and not rest else ""
    return f"{target}{rest}{arrow}" if label.startswith("(") and closed else label


def _rows(cells: list[Record], outline: Outline | None) -> list[Row]:
    """Return the rows with records, and those of the suite's methods without."""
    found = {(r.method, r.backbone) for r in transfers(cells)}
    recorded = {method for method, _ in found}
    waiting = {(method, "") for method in outline.methods if method not in recorded} if outline else set()
    return row_order(found | waiting, outline)


def _pretraining(own: Own, context: Context) -> Cells:
    runs = {row: [r for r in records if r.task == PRETRAINING] for row, records in own.items()}
    return {
        "params": [
            parameters(max((r.backbone_params for r in transfers(records)), default=None))
            for records in own.values()
        ],
        "pretraining FLOPs": [
            flops([r.flops for r in rs] or context.counted(method, None)) for (method, _), rs in runs.items()
        ],
        "pretraining s": [_mean_seconds(rs) for rs in runs.values()],
        "seeds": [str(len({r.seed for r in transfers(records)})) for records in own.values()],
    }


def _flops_of_tasks(own: Own, known: Mapping[Target, str], context: Context) -> Cells:
    def cell(target: Target, row: Row) -> str:
        recorded = [r.flops for r in own[row] if target_of(r) == target]
        return flops(recorded or context.counted(row[0], target))

    return {_cost("FLOPs", t, known): [cell(t, row) for row in own] for t in known}


def _seconds_of_tasks(own: Own, known: Mapping[Target, str]) -> Cells:
    return {
        _cost("s", t, known): [_mean_seconds([r for r in runs if target_of(r) == t]) for runs in own.values()]
        for t in known
    }


def _cost(unit: str, target: Target, known: Mapping[Target, str]) -> str:
    return unit if len(known) == 1 else f"{unit}, {known[target]}"


def _scores(columns: list[Column], own: Own, cells: list[Record], context: Context) -> Cells:
    """Return the columns of one metric, each followed by the published values if there are any."""
    found = {}
    by_key = {r.key: r for r in cells}
    for column in columns:
        runs = {row: column.of(records) for row, records in own.items()}
        found[column.heading] = [_mean_over_seeds(rs, column.metric) for rs in runs.values()]
        values = []
        for (method, _), rs in runs.items():
            keys = [key_of(r, by_key) for r in rs] or [context.key(method, column.target)]
            values.append(number(published_value(context.published, keys, column.metric)))
        if any(values):
            found[f"{column.heading} published"] = values
    return found


def _mean_over_seeds(records: list[Record], metric: str) -> str:
    text = mean_and_error([record.metrics[metric] for record in records])
    return f"{text} *" if any(record.absent_classes for record in records) else text


def _mean_seconds(records: list[Record]) -> str:
    return f"{fmean(r.seconds for r in records):.0f}" if records else ""


def _notes(cells: list[Record], scores: list[Column]) -> list[str]:
    ends = transfers(cells)
    seeds = ", ".join(map(str, sorted({r.seed for r in ends})))
    metrics = dict.fromkeys(column.metric for column in scores)
    return [
        f"Seeds: {seeds}. Mean ± standard error over seeds (none with one seed)."
        if seeds
        else "Not run: there are no records of this suite.",
        *protocol_note(ends),
        "params: of the backbone. FLOPs: of the whole model; pretraining FLOPs: decoder included; both per "
        "image, a multiply-add is 1. s: seconds of wall time, evaluation included, mean over seeds.",
        *(f"{heading(name)}: {METRICS[name].meaning}." for name in metrics if name in METRICS),
        *_absent_classes(ends),
    ]


def _absent_classes(ends: list[Record]) -> list[str]:
    """Return notes with the classes that values with a star leave out."""
    absent: dict[str, set[str]] = {}
    for record in ends:
        absent.setdefault(record.task, set()).update(record.absent_classes)
    return [
        f"*: not over all classes: in {task} no validation image has {', '.join(sorted(names))}."
        for task, names in absent.items()
        if names
    ]


def mean_and_error(values: list[float]) -> str:
    """Return values of several seeds as '81.23 ± 0.45', one value as '81.23', no value as ''."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{fmean(values):.2f} ± {stdev(values) / len(values) ** 0.5:.2f}"


def parameters(number: int | None) -> str:
    """Return a number of parameters in millions, such as '88.34 M'; '' for None."""
    return "" if number is None else f"{number / 1e6:.2f} M"


def flops(numbers: Iterable[int | None]) -> str:
    """Return the largest of the FLOPs of one model (one per seed) in G or M; '' without any."""
    most = max((number for number in numbers if number is not None), default=None)
    if most is None:
        return ""
    return f"{most / 1e9:.2f} G" if most >= 1e9 else f"{most / 1e6:.1f} M"
