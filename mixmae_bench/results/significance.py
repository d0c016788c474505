"""Means and standard errors over runs, and the rule that decides whether a published value is reproduced."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from statistics import fmean, stdev

from mixmae_bench.results.record import Record

REPRODUCED, WITHIN_NOISE, NOT_REPRODUCED, NOT_RUN = "reproduced", "within noise", "not reproduced", "not run"

RULE = (
    "Verdict, from the distance between published and measured value: reproduced: at most half a unit of "
    "the published value's last digit; within noise: at most that plus two standard errors; not reproduced: "
    "more, in either direction; not run: nothing measured. The standard error joins, as the root of the sum "
    "of squares, that over images (binomial or bootstrap; all seeds see the same images, so their mean) and, "
    "of two or more seeds, that over seeds (standard deviation / sqrt(seeds)). The published value's own is "
    "not known."
)


@dataclass(frozen=True)
class Measured:
    """Result of one or more seeds.

    Attributes:
        mean: Mean over seeds.
        error: Combined standard error, or None if the records have none.
    """

    mean: float
    error: float | None

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.error is None else f"{self.mean:.2f} ± {self.error:.2f}"


def measured(records: Sequence[Record], metric: str) -> Measured | None:
    """Return mean and standard error of a metric over the records that have it, one per seed (see `RULE`)."""
    own = [r for r in records if metric in r.metrics]
    if not own:
        return None
    values = [r.metrics[metric] for r in own]
    over_images = [r.stderr[metric] for r in own if metric in r.stderr]
    errors = [fmean(over_images)] if over_images else []
    if len(values) > 1:
        errors.append(stdev(values) / len(values) ** 0.5)
    return Measured(fmean(values), hypot(*errors) if errors else None)


def verdict(published: float | None, here: Measured | None) -> str:
    """Return the verdict of `RULE`, or '' without a published value."""
    if here is None:
        return NOT_RUN
    if published is None:
        return ""
    distance = abs(here.mean - published)
    rounding = half_unit(published)
    if distance <= rounding:
        return REPRODUCED
    return WITHIN_NOISE if distance <= rounding + 2 * (here.error or 0.0) else NOT_REPRODUCED


def half_unit(value: float) -> float:
    """Return half a unit of the last written digit of a value: 0.05 for 85.1."""
    # Slightly more, as 85.15 - 85.1 is not exactly 0.05.
    return 0.5 * 10.0 ** -len(repr(value).partition(".")[2]) + 1e-9
