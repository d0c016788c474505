"""Summary of a suite in sentences: differences between methods in standard errors, and run times."""

from collections.abc import Sequence
from math import hypot

from mixmae_bench.report.rows import Row
from mixmae_bench.results.record import Record

NOISE = 2.0
"""Differences of up to this many standard errors are called within noise."""


def summary(rows: Sequence[Row]) -> list[str]:
    """Return a text per metric, then the run times."""
    titles = list(rows[0].values) if rows else []
    sentences = [text for title in titles if (text := _compared(title, rows))]
    records = [record for row in rows for record in row.records]
    return [*sentences, _took(records)] if records else ["Nothing has been recorded yet."]


def _compared(title: str, rows: Sequence[Row]) -> str:
    known = [(row.name, value) for row in rows if (value := row.values[title])]
    known.sort(key=lambda item: (-item[1].mean, item[0]))
    if len(known) < 2:
        return f"{title}: only {known[0][0]} was run, {known[0][1]}." if known else ""
    (first, best), *others = known
    ahead, level, unknown = [], [], []
    for name, value in others:
        gap = best.mean - value.mean
        distance = hypot(best.error or 0.0, value.error or 0.0)
        if best.error is None or value.error is None:
            unknown.append(f"{name} ({value}) by {gap:.2f}")
        elif gap > NOISE * distance:
            errors = f"{gap / distance:.1f} standard errors" if distance else "without any spread"
            ahead.append(f"{name} ({value}) by {gap:.2f}, {errors}")
        else:
            level.append(f"{name} ({value}) by {gap:.2f}, {gap / distance if distance else 0:.1f}")
    text = f"{title}: {first} has the highest value, {best}."
    text += f" It is ahead of {'; '.join(ahead)}." if ahead else ""
    text += f" Within {NOISE:g} standard errors, so within noise: {'; '.join(level)}." if level else ""
    text += f" Ahead, but without an error to compare with: {'; '.join(unknown)}." if unknown else ""
    return text


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
