"""Summary of a suite in sentences: verdicts on the best method of each metric, and run times."""

from collections.abc import Sequence

from mixmae_bench.results.metrics import title
from mixmae_bench.results.record import Record
from mixmae_bench.results.verdicts import BETTER, LEVEL_WITH, Matrix


def summary(matrices: Sequence[Matrix], records: Sequence[Record]) -> list[str]:
    """Return a text per matrix of verdicts, then the run times."""
    if not records:
        return ["Nothing has been recorded yet."]
    return [*map(_compared, matrices), _took(records)]


def _compared(matrix: Matrix) -> str:
    """Return what the verdicts say about the method with the best mean."""
    best, *others = matrix.methods
    text = f"{title(matrix.metric)}, {matrix.task} on {matrix.dataset}: {best} has the best mean, "
    text += f"{matrix.means[best]:.2f}."
    said = {name: matrix.comparisons[best, name].verdict for name in others}
    better, level, unknown = (
        [f"{name} ({matrix.means[name]:.2f})" for name in others if said[name] == verdict]
        for verdict in (BETTER, LEVEL_WITH, "")
    )
    text += f" It is better than {_joined(better)}." if better else ""
    text += f" It is not distinguishable from {_joined(level)}." if level else ""
    text += f" No verdict with fewer than two seeds: {_joined(unknown)}." if unknown else ""
    return text


def _joined(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _took(records: Sequence[Record]) -> str:
    spent = duration(sum(r.seconds for r in records))
    tasks = dict.fromkeys(r.task for r in records)
    parts = [f"{task} {duration(sum(r.seconds for r in records if r.task == task))}" for task in tasks]
    return f"{len(records)} runs took {spent}, added up as if one had followed the other: {', '.join(parts)}."


def duration(seconds: float) -> str:
    """Return seconds as '45 s', '12 min' or '3 h 05 min'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
